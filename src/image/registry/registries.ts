import { isLoopback } from '../image-name.ts';
import { RegistryClient } from './registry.ts';
import type { Credentials } from './registry-auth.ts';
import type { RegistryOptions } from './registry-connection.ts';

export interface RegistriesOptions {
  /** Ours, where images are pushed; its `address` is the one that this machine and its engine use. */
  own: RegistryOptions;
  /** Where hosts pull from, when that is another address of the same registry. */
  pullAddress?: string | undefined;
  /** Registries with private base images. */
  others?: readonly RegistryOptions[] | undefined;
}

const HUB = 'docker.io';
const HUB_API = 'registry-1.docker.io';

/** The registries that are known by configuration: our own, and those of private bases. */
export class Registries {
  readonly own: RegistryClient;
  readonly pullAddress: string;
  readonly #clients = new Map<string, RegistryClient>();
  readonly #credentials = new Map<string, Credentials>();

  constructor(options: RegistriesOptions) {
    this.own = new RegistryClient(options.own);
    this.pullAddress = options.pullAddress ?? options.own.address;
    this.#clients.set(this.own.address, this.own);
    for (const other of [...(options.others ?? []), options.own]) {
      // Docker Hub's API has another host than its name, which the engine knows: it only needs the credentials.
      if (other.address !== HUB && other !== options.own) this.#clients.set(other.address, new RegistryClient(other));
      if (other.credentials !== undefined) this.#credentials.set(other.address, other.credentials);
    }
  }

  /** A client for a host that is configured or on this machine; others (public hubs) are left to the engine. */
  find(host: string): RegistryClient | undefined {
    if (host === this.pullAddress) return this.own;
    const known = this.#clients.get(host);
    if (host === HUB || known !== undefined || !isLoopback(host)) return known;
    const client = new RegistryClient({ address: host });
    this.#clients.set(host, client);
    return client;
  }

  /**
   * A client for any host. Of hosts that are not configured only what everyone may read can be read; Docker Hub's API has another address
   * than its name.
   */
  reach(host: string): RegistryClient {
    const known = this.find(host);
    if (known !== undefined) return known;
    const address = host === HUB ? HUB_API : host;
    const client =
      this.#clients.get(address) ?? new RegistryClient({ address, credentials: this.#credentials.get(host) });
    this.#clients.set(address, client);
    return client;
  }

  /** What the engine is told for a pull from, or a push to, that host. */
  credentialsFor(host: string): Credentials | undefined {
    return this.#credentials.get(host === this.pullAddress ? this.own.address : host);
  }

  /** All credentials by host, as X-Registry-Config takes them. */
  credentials(): Record<string, Credentials> {
    return Object.fromEntries(
      [...this.#credentials].map(([host, each]) => [host === HUB ? 'https://index.docker.io/v1/' : host, each]),
    );
  }

  /** Ends the kept connections. */
  async close(): Promise<void> {
    await Promise.all([...this.#clients.values()].map((client) => client.close()));
  }
}
