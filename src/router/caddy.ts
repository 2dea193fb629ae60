import { isDeepStrictEqual } from 'node:util';
import { DinpError } from '../domain/errors.ts';
import { hostNameProblem } from '../domain/host-names.ts';
import { appNameProblem } from '../domain/names.ts';
import { CaddyAdmin } from './caddy-admin.ts';
import { type CaddyApps, differingApps, type FoundRoute, type Layout, readRoutes, withRoutes } from './caddy-config.ts';
import type { Route, RouteSync, WantedRoutes } from './router.ts';
import type { TlsSettings } from './tls.ts';

export interface CaddyOptions {
  /** Caddy's admin API: `http://127.0.0.1:2019` or `unix:/run/caddy/admin.sock`. */
  admin: string;
  /** Id of this dinp server: letters and digits. Servers that share aDdy are told apart by it. */
  owner: string;
  /** Where host-based routes listen, `:80` or `127.0.0.1:8080`; undefined: no routes by host. */
  listen: string | undefined;
  /** IP address that the apps' stable ports are bound to, `127.0.0.1` or `0.0.0.0`; empty for all. */
  bind: string;
  /** undefined: host names are served by plain HTTP. */
  tls?: TlsSettings | undefined;
  /** Names of our servers in Caddy's config begin with it: letters and digits. */
  prefix?: string;
}

const APPS = '/apps';
const ATTEMPTS = 10;

/**
 * Routes in a running Caddy, changed over its admin API. They live in Caddy: it must run with `--resume`, so that it
 * finds them again after a restart. All of ours are servers named by our prefix; nothing else in its config is touched.
 *
 * An app has a server of its own for its stable port and a route in the shared servers for its host names. All change
 * in one step: Caddy loads the new config beside the old one, which finishes the requests that it has.
 *
 * While it does so, Caddy has two listening sockets a port (SO_REUSEPORT), and Linux resets connections that wait in
 * the old one when it closes, unless `net.ipv4.tcp_migrate_req` is 1 (Linux 5.14): set it where no connection may fail.
 */
export class CaddyRouter {
  /** Its admin address. */
  readonly name: string;
  /** Whether the connections that it has to instances are connections of this machine. */
  readonly isHere: boolean;
  readonly #admin: CaddyAdmin;
  readonly #layout: Layout;
  /** Changes are made one after another: each reads, decides and writes. */
  #last: Promise<unknown> = Promise.resolve();

  constructor({ admin, owner, listen, bind, tls, prefix = 'dinp' }: CaddyOptions) {
    // With a hyphen or dot, what is another's could be meant.
    for (const word of [prefix, owner])
      if (!/^[a-z0-9]+$/.test(word))
        throw new DinpError('config', `"${word}" cannot mark routes: only letters and digits.`);
    this.name = admin;
    this.#admin = new CaddyAdmin(admin);
    this.isHere = this.#admin.isHere;
    this.#layout = { prefix, owner, hosts: listen, bind, tls };
  }

  /**
   * Sets routes of apps, and removes those of apps that have none, in one step.
   * @throws DinpError unavailable; usage for a route that cannot be; exists where another app has the host or port;
   * config where Caddy cannot listen there
   */
  async change(routes: ReadonlyMap<string, Route | undefined>): Promise<void> {
    const wanted = [...routes].map(([app, route]) => ({ app, route: route && checked(route) }));
    await this.#change((apps) => {
      const found = readRoutes(this.#layout, apps);
      const gone = wanted.flatMap(({ app, route }) => (route === undefined ? app : []));
      const own = gone.filter((app) => found.some((each) => each.app === app && this.#isOurs(each)));
      let others = found.filter(({ app }) => !own.includes(app));
      const set = wanted.flatMap(({ route }) => route ?? []);
      for (const route of set) others = this.#claimed(route, others);
      return own.length + set.length === 0 ? apps : withRoutes(this.#layout, apps, set, own);
    });
  }

  /** See Router.syncRoutes. @throws DinpError unavailable */
  async sync(wanted: () => WantedRoutes, { dryRun } = { dryRun: false }): Promise<Omit<RouteSync, 'router'>> {
    try {
      return await this.#syncSome(wanted, () => true, dryRun);
    } catch (error) {
      if (!isRefusal(error)) throw error;
    }
    // One of them cannot be had, and Caddy takes all or none: each for itself.
    const reports = [await this.#syncSome(wanted, () => false)];
    for (const { app } of wanted().routes) {
      const report = this.#syncSome(wanted, (each) => each === app);
      reports.push(
        await report.catch((error: unknown) => {
          if (!isRefusal(error)) throw error;
          return { set: [], removed: [], problems: [error] };
        }),
      );
    }
    return {
      set: reports.flatMap(({ set }) => set),
      removed: reports.flatMap(({ removed }) => removed),
      problems: reports.flatMap(({ problems }) => problems),
    };
  }

  /** The routes of this server, and those that do not say whose they are. @throws DinpError unavailable */
  async listRoutes(): Promise<Route[]> {
    const { value } = await this.#admin.get(APPS);
    return readRoutes(this.#layout, (value ?? {}) as CaddyApps)
      .filter((route) => this.#isOurs(route))
      .map(({ owner: _, ...route }) => route);
  }

  #isOurs({ owner }: FoundRoute): boolean {
    return owner === undefined || owner === this.#layout.owner;
  }

  /** The routes that are there once this one is. @throws DinpError exists where it cannot be beside them */
  #claimed(route: Route, found: FoundRoute[]): FoundRoute[] {
    const before = found.find(({ app }) => app === route.app);
    if (before !== undefined && !this.#isOurs(before))
      throw new DinpError('exists', `${this.name} has an app ${route.app} of another dinp server.`, {
        hint: `Give yours another name: dinp apps rename ${route.app} NAME`,
      });
    const others = found.filter(({ app }) => app !== route.app);
    refuseConflicts(route, others);
    return [...others, { ...route, owner: this.#layout.owner }];
  }

  /** Removes what should not be there, and sets the routes of chosen apps. */
  async #syncSome(
    wanted: () => WantedRoutes,
    isChosen: (app: string) => boolean,
    dryRun = false,
  ): Promise<Omit<RouteSync, 'router'>> {
    let report: Omit<RouteSync, 'router'> = { set: [], removed: [], problems: [] };
    await this.#change((before) => {
      const { routes, leave } = wanted();
      const names = new Set(routes.map(({ app }) => app));
      let found = readRoutes(this.#layout, before);
      const stale = found
        .filter(({ app, owner }) => owner === this.#layout.owner && !names.has(app) && !leave.has(app))
        .map(({ app }) => app);
      found = found.filter(({ app }) => !stale.includes(app));
      report = { set: [], removed: stale, problems: [] };
      const taken: Route[] = [];
      for (const route of routes.filter(({ app }) => isChosen(app) && !leave.has(app))) {
        try {
          const good = checked(route);
          found = this.#claimed(good, found);
          taken.push(good);
        } catch (error) {
          if (!(error instanceof DinpError)) throw error;
          report.problems.push(error);
        }
      }
      if (taken.length + stale.length === 0) return before;
      const after = withRoutes(this.#layout, before, taken, stale);
      report.set = differingApps(this.#layout, before, after);
      return dryRun ? before : after;
    });
    return report;
  }

  /** Reads the apps, decides what they should be and writes that if it differs; again when somebody else was faster. */
  async #change(decide: (apps: CaddyApps) => CaddyApps): Promise<void> {
    const run = this.#last.then(async () => {
      for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
        const before = await this.#admin.get(APPS);
        const apps = (before.value ?? {}) as CaddyApps;
        const wanted = decide(apps);
        if (isDeepStrictEqual(apps, wanted) || (await this.#admin.set(APPS, wanted, before))) return;
      }
      throw new DinpError('unavailable', "Something else keeps changing Caddy's configuration.", {
        hint: 'See what it is, and deploy again when it has stopped.',
      });
    });
    this.#last = run.catch(() => undefined);
    await run;
  }
}

/** It answers, and does not want it. */
export function isRefusal(error: unknown): error is DinpError {
  return error instanceof DinpError && error.code !== 'unavailable';
}

/** Caddy takes a bad upstream and answers 502 for ever: refused here. */
function checked(route: Route): Route {
  const problem = appNameProblem(route.app);
  if (problem !== undefined) throw bad(`"${route.app}" cannot have a route: ${problem}.`);
  if (!isPort(route.port)) throw bad(`${route.port} is not a port for ${route.app}.`);
  const hosts = [...new Set(route.hosts.map((host) => host.toLowerCase()))];
  for (const host of hosts) if (hostNameProblem(host) !== undefined) throw bad(`"${host}" is not a host name.`);
  const upstreams = [...new Set(route.upstreams)];
  for (const upstream of upstreams) if (!isDial(upstream)) throw bad(`"${upstream}" is not an address:port.`);
  return { ...route, hosts, upstreams };
}

function isDial(text: string): boolean {
  const match = /^(?:\[[0-9a-f:]+\]|[a-z0-9.-]+):(\d{1,5})$/i.exec(text);
  return match !== null && isPort(Number(match[1]));
}

function isPort(port: number): boolean {
  return Number.isInteger(port) && port >= 1 && port <= 65535;
}

function bad(message: string): DinpError {
  return new DinpError('usage', message);
}

/** Of two routes with the same host Caddy silently takes the first. */
function refuseConflicts(route: Route, routes: Route[]): void {
  for (const other of routes.filter(({ app }) => app !== route.app)) {
    if (other.port === route.port)
      throw new DinpError('exists', `Port ${route.port} is the address of ${other.app} already.`);
    const host = route.hosts.find((name) => other.hosts.includes(name));
    if (host !== undefined) throw new DinpError('exists', `${host} is the address of ${other.app} already.`);
  }
}
