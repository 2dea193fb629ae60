import { createServer } from 'node:net';
import type { App } from '../domain/app.ts';
import { DinpError } from '../domain/errors.ts';
import { instanceName } from '../domain/instance.ts';
import type { Release } from '../domain/release.ts';
import type { Store } from '../store/store.ts';
import { WEB } from './instances.ts';

export interface AddressSettings {
  /** This machine as visitors reach it. */
  address: string;
  /** `localhost` for `http://blog.localhost`. */
  domain: string | undefined;
  /** Port where the router serves host names; undefined without a router. */
  routerPort: number | undefined;
  /** Port where the router serves a host name by HTTPS; undefined where it does not. */
  httpsPort?(host: string): number | undefined;
  /** false of a target that only writes files: whoever takes them decides where its apps are reached. */
  isReached?(target: string): boolean;
  /** Inclusive. */
  appPorts: [number, number];
  /** Inclusive. */
  instancePorts: [number, number];
  /** IP address of the host that an instance of a release was given; undefined: this machine. */
  placeOf(release: Release, instance: string): string | undefined;
}

/** Where apps are reached, and which ports of the host they hold. */
export class Addresses {
  readonly #store: Store;
  readonly #settings: AddressSettings;

  constructor(store: Store, settings: AddressSettings) {
    this.#store = store;
    this.#settings = settings;
  }

  /** Host names of an app: under the server's domain first, then those that were added, then those of the release. */
  hosts(app: App, release: Release | undefined): string[] {
    const { domain } = this.#settings;
    const added = this.#store.domains.list(app.id).flatMap((each) => (each.added ? [each.name] : []));
    const own = domain === undefined ? [] : [`${app.name}.${domain}`];
    return [...new Set([...own, ...added, ...(release?.domains ?? [])])];
  }

  /** `https://www.example.org`; undefined without a router. */
  urlOf(host: string): string | undefined {
    const { routerPort, httpsPort } = this.#settings;
    if (routerPort === undefined) return undefined;
    const secure = httpsPort?.(host);
    if (secure !== undefined) return `https://${host}${secure === 443 ? '' : `:${secure}`}`;
    return `http://${host}${routerPort === 80 ? '' : `:${routerPort}`}`;
  }

  /** Addresses for people, best first; empty where the app has no web process, or something else runs it. */
  list(app: App, release: Release): string[] {
    const web = release.services
      .flatMap((service) => service.processes)
      .some((process) => process.name === WEB && process.port !== undefined);
    if (!web || this.#settings.isReached?.(release.target) === false) return [];
    const { routerPort, address } = this.#settings;
    if (routerPort === undefined) {
      const first = this.#firstWeb(release);
      const port = this.#store.ports.find(first);
      const host = this.#settings.placeOf(release, first) ?? '127.0.0.1';
      return port === undefined ? [] : [`http://${host}:${port}`];
    }
    const own = app.port === undefined ? [] : [`http://${address}:${app.port}`];
    return [...this.hosts(app, release).map((host) => this.urlOf(host)!), ...own];
  }

  /** Whether a host name is (or will be) an app's own, so that no other app may take it. */
  isReserved(host: string): boolean {
    const { domain } = this.#settings;
    return domain !== undefined && (host === domain || host.endsWith(`.${domain}`));
  }

  /** true: the address stays the same from release to release. */
  get stable(): boolean {
    return this.#settings.routerPort !== undefined;
  }

  /** Gives the app its stable port, once and for good. @throws DinpError unavailable when the range is used up */
  async ensureAppPort(app: App): Promise<number> {
    if (app.port !== undefined) return app.port;
    return await takePort(this.#settings.appPorts, 'ports.apps', canListen, (port) => {
      if (this.#store.apps.list().some((other) => other.port === port)) return false;
      this.#store.apps.setPort(app.id, port);
      return true;
    });
  }

  /**
   * Gives each instance a port that nothing else has; those that have one keep it, but for one that somebody has on
   * the host that the instance was given now.
   * @param held ports that are in use there, for instances that were given another machine than this one
   */
  async ensureInstancePorts(
    app: App,
    instances: string[],
    held: ReadonlyMap<string, ReadonlySet<number>> = new Map(),
  ): Promise<void> {
    const { ports } = this.#store;
    for (const instance of instances) {
      const there = held.get(instance);
      const before = ports.find(instance);
      if (before !== undefined && !there?.has(before)) continue;
      const isFree = (port: number) => (there === undefined ? canListen(port) : !there.has(port));
      await takePort(this.#settings.instancePorts, 'ports.instances', isFree, (port) => {
        if (ports.taken().has(port)) return false;
        ports.release([instance]);
        ports.take(app.id, instance, port);
        return true;
      });
    }
  }

  #firstWeb(release: Release): string {
    const service = release.services.find((candidate) => candidate.processes.some((process) => process.name === WEB))!;
    return instanceName(release.app, service.service, WEB, release.number, 1);
  }
}

/** The first port that `isFree` and that `take` could record: another app may be faster while one is looked at. */
async function takePort(
  [low, high]: [number, number],
  setting: string,
  isFree: (port: number) => boolean | Promise<boolean>,
  take: (port: number) => boolean,
): Promise<number> {
  for (let port = low; port <= high; port++) {
    if ((await isFree(port)) && take(port)) return port;
  }
  throw new DinpError('unavailable', `all ports from ${low} to ${high} are in use.`, {
    hint: `Widen ${setting} in the config and restart the server.`,
  });
}

function canListen(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createServer();
    probe.once('error', () => resolve(false));
    probe.listen({ port, exclusive: true }, () => probe.close(() => resolve(true)));
  });
}
