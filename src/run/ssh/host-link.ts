import type { Duplex } from 'node:stream';
import type { Client } from 'ssh2';
import { DinpError } from '../../domain/errors.ts';
import type { RunHost } from '../../domain/run-host.ts';
import { openReverseForward } from './reverse-forward.ts';
import { SshHost } from './ssh-host.ts';
import { SshSessions } from './ssh-sessions.ts';

export interface LinkOptions {
  /** Our key to hosts, in OpenSSH's format. */
  privateKey: string;
  /** Tells servers that share a host apart. */
  server: string;
  /** Our registry, and as whom to log in; undefined where hosts reach it by themselves. */
  registry: { host: string; port: number; login: { username: string; password: string } | undefined } | undefined;
  /** Takes connections that the host opens to the port of doorPort(). */
  door?: ((connection: Duplex) => void) | undefined;
  /** Called each time that the connection is there (again). */
  onOpen?: (() => void) | undefined;
}

/** The kept connection to one host: programs run over it, and the host pulls images through it. */
export class HostLink {
  readonly host: SshHost;
  readonly #known: Pick<RunHost, 'name' | 'docker' | 'registryPort'>;
  readonly #options: LinkOptions;
  readonly #sessions: SshSessions;
  #forward: { port: number } | { error: unknown } | undefined;
  #login: Promise<void> | undefined;
  #client: Client | undefined;
  #doorPort: Promise<number> | undefined;

  constructor(known: Pick<RunHost, 'name' | 'ssh' | 'hostKey' | 'docker' | 'registryPort'>, options: LinkOptions) {
    const { name, ssh: address, hostKey } = known;
    this.#known = known;
    this.#options = options;
    this.#sessions = new SshSessions({ name, address, hostKey, privateKey: options.privateKey });
    this.host = new SshHost(name, this.#sessions);
  }

  /** Connects, and keeps the connection from now on. @throws DinpError unavailable, denied */
  async open(): Promise<void> {
    await this.#sessions.keep((client) => this.#opened(client));
  }

  /**
   * Sees to it that the host can pull from our registry.
   * @returns the port of its loopback address that leads there; undefined where it needs none
   * @throws DinpError unavailable, denied
   */
  async registryPort(): Promise<number | undefined> {
    if (this.#options.registry === undefined) return undefined;
    if (this.#forward === undefined || 'error' in this.#forward) await this.host.run(['true']);
    const forward = this.#forward;
    if (forward === undefined) throw new DinpError('unavailable', `${this.#known.name} is not connected.`);
    if ('error' in forward) throw forward.error;
    this.#login ??= this.#logIn(forward.port).catch((error: unknown) => {
      this.#login = undefined;
      throw error;
    });
    await this.#login;
    return forward.port;
  }

  /**
   * The port of the host's loopback address that leads to our door, for as long as the connection lasts; where that is
   * lost and opened again, the same port is taken if it is still free.
   * @throws DinpError unavailable, denied
   */
  async doorPort(): Promise<number> {
    if (this.#client === undefined) await this.host.run(['true']);
    if (this.#client === undefined) throw new DinpError('unavailable', `${this.#known.name} is not connected.`);
    this.#doorPort ??= this.#openDoor(this.#client, 0);
    return await this.#doorPort;
  }

  /** Connects to a unix socket of the host. @throws DinpError unavailable, denied */
  async openSocket(path: string): Promise<Duplex> {
    return await this.#sessions.openSocket(path);
  }

  /** Lets the next who needs it connect at once, unless that was tried within the last `ageMs` milliseconds. */
  hurry(ageMs: number): void {
    this.#sessions.hurry(ageMs);
  }

  close(): void {
    this.#sessions.close();
  }

  async #opened(client: Client): Promise<void> {
    await this.#openForward(client);
    this.#client = client;
    client.once('close', () => {
      if (this.#client === client) this.#client = undefined;
    });
    await this.#reopenDoor(client);
    this.#options.onOpen?.();
  }

  async #reopenDoor(client: Client): Promise<void> {
    if (this.#doorPort === undefined) return;
    const port = await this.#doorPort.catch(() => 0);
    this.#doorPort = this.#openDoor(client, port).catch(() => this.#openDoor(client, 0));
    await this.#doorPort.catch(() => undefined);
  }

  async #openDoor(client: Client, port: number): Promise<number> {
    const { door, server } = this.#options;
    if (door === undefined) throw new Error('nobody is behind this door');
    try {
      return await openReverseForward(client, { port, to: door, name: `${server}-door` });
    } catch (error) {
      this.#doorPort = undefined;
      throw error;
    }
  }

  async #openForward(client: Client): Promise<void> {
    const { registry, server } = this.#options;
    if (registry === undefined) return;
    try {
      const options = { port: this.#known.registryPort, to: registry, name: server };
      this.#forward = { port: await openReverseForward(client, options) };
    } catch (error) {
      // The host is of use all the same: what runs there can be seen and stopped.
      this.#forward = { error };
    }
  }

  /** A registry that asks for a password gets it from the engine of the host, which keeps it for root alone. */
  async #logIn(port: number): Promise<void> {
    const login = this.#options.registry?.login;
    if (login === undefined) return;
    const argv = [this.#known.docker, 'login', '--username', login.username, '--password-stdin', `127.0.0.1:${port}`];
    const { code, stderr } = await this.host.run(argv, { stdin: login.password });
    if (code === 0) return;
    throw new DinpError('denied', `${this.#known.name} cannot log in to the registry.`, { detail: stderr.trim() });
  }
}
