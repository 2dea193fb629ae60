import { DinpError } from '../domain/errors.ts';
import { appNameProblem } from '../domain/names.ts';
import { type AdminAnswer, CaddyAdmin } from './caddy-admin.ts';
import {
  type CaddyRoute,
  type CaddyServer,
  hostRoute,
  hostServer,
  type Listening,
  portServer,
  readRoute,
  sameConfig,
} from './caddy-config.ts';
import { waitDrained } from './drain.ts';
import type { Route, Router } from './router.ts';

export interface CaddyOptions {
  /** Caddy's admin API: `http://127.0.0.1:2019` or `unix:/run/caddy/admin.sock`. */
  admin: string;
  /** Where host-based routes listen, `:80` or `127.0.0.1:8080`; undefined: no routes by host. */
  listen: string | undefined;
  /** IP address that the apps' stable ports are bound to, `127.0.0.1` or `0.0.0.0`; empty for all. */
  bind: string;
  /** Names of our servers in Caddy's config begin with it: letters and digits. Servers that share a Caddy need different ones. */
  prefix?: string;
}

const SERVERS = '/apps/http/servers';
const HOST = /^(?:\*\.)?[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$/;
const ATTEMPTS = 5;

/**
 * Routes in a running Caddy, changed over its admin API. They live in Caddy: it must run with `--resume`, so that it
 * finds them again after a restart. All of ours are servers named by our prefix; nothing else in its config is touched.
 *
 * An app has a server of its own for its stable port and a route in the shared server for its host names. Caddy
 * loads each change as a whole beside the old config, which finishes the requests that it has.
 */
export class CaddyRouter implements Router {
  readonly #admin: CaddyAdmin;
  readonly #listening: Listening;
  readonly #prefix: string;
  /** Changes are made one after another: each reads, decides and writes. */
  #last: Promise<unknown> = Promise.resolve();

  constructor({ admin, listen, bind, prefix = 'dinp' }: CaddyOptions) {
    // With a hyphen, `a-b` of prefix `a` and app `b` could be meant.
    if (!/^[a-z0-9]+$/.test(prefix))
      throw new DinpError('config', `"${prefix}" cannot be a prefix: only letters and digits.`);
    this.#admin = new CaddyAdmin(admin);
    this.#listening = { hosts: listen, bind };
    this.#prefix = prefix;
  }

  /** @throws DinpError unavailable; usage for a route that cannot be; exists where another app has the host or port; config where Caddy cannot listen there */
  async setRoute(wanted: Route): Promise<void> {
    const route = checked(wanted);
    await this.#oneAtATime(async () => {
      const routes = await this.listRoutes();
      refuseConflicts(route, routes);
      await this.#change(`${this.#prefix}-${route.app}`, () => portServer(this.#prefix, route, this.#listening));
      await this.#setHosts(route);
    });
  }

  async removeRoute(app: string): Promise<void> {
    await this.#oneAtATime(async () => {
      await this.#setHosts({ app, hosts: [], port: 0, upstreams: [] });
      const path = `${SERVERS}/${this.#prefix}-${app}`;
      if ((await this.#admin.get(path)).value !== undefined) await this.#admin.delete(path);
    });
  }

  async listRoutes(): Promise<Route[]> {
    const servers = ((await this.#admin.get(SERVERS)).value ?? {}) as Record<string, CaddyServer>;
    return Object.entries(servers)
      .filter(([name]) => name.startsWith(`${this.#prefix}-`))
      .map(([, server]) => readRoute(this.#prefix, server, servers[this.#prefix]))
      .filter((route) => route !== undefined);
  }

  async drain(upstreams: string[], options: { maxMs: number; signal: AbortSignal }): Promise<boolean> {
    return await waitDrained(upstreams, options);
  }

  /** Puts the app's hosts into the shared server, or takes them out; makes the server when the first app has hosts. */
  async #setHosts(route: Route): Promise<void> {
    const { hosts: listen } = this.#listening;
    if (listen === undefined) return;
    await this.#change(this.#prefix, (server) => {
      const others = (server?.routes ?? []).filter(({ '@id': id }) => !this.#isOwnRoute(id, route.app));
      const own: CaddyRoute[] = route.hosts.length === 0 ? [] : [hostRoute(this.#prefix, route)];
      return hostServer(this.#prefix, listen, [...others, ...own].sort(byId));
    });
  }

  /** The app's own route, and the last one, which is written anew each time. */
  #isOwnRoute(id: string | undefined, app: string): boolean {
    return id === undefined || id === `${this.#prefix}-${app}` || id === `${this.#prefix}-unknown`;
  }

  /** Reads a server, decides what it should be and writes that if it differs; again when somebody else was faster. */
  async #change(name: string, decide: (server: CaddyServer | undefined) => CaddyServer): Promise<void> {
    const path = `${SERVERS}/${name}`;
    for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
      const before: AdminAnswer = await this.#admin.get(path);
      const wanted = decide(before.value as CaddyServer | undefined);
      if (sameConfig(before.value, wanted) || (await this.#admin.set(path, wanted, before))) return;
    }
    throw new DinpError('unavailable', `Something else keeps changing Caddy's server ${name}.`, {
      hint: 'Two dinp servers must not share a Caddy without different names.',
    });
  }

  #oneAtATime<T>(work: () => Promise<T>): Promise<T> {
    const run = this.#last.then(work, work);
    this.#last = run.catch(() => undefined);
    return run;
  }
}

/** Caddy takes a bad upstream and answers 502 for ever: refused here. */
function checked(route: Route): Route {
  const problem = appNameProblem(route.app);
  if (problem !== undefined) throw bad(`"${route.app}" cannot have a route: ${problem}.`);
  if (!isPort(route.port)) throw bad(`${route.port} is not a port for ${route.app}.`);
  const hosts = [...new Set(route.hosts.map((host) => host.toLowerCase()))];
  for (const host of hosts) if (!HOST.test(host) || host.length > 253) throw bad(`"${host}" is not a host name.`);
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

/** Exact host names before wildcards, which would hide them. */
function byId(a: CaddyRoute, b: CaddyRoute): number {
  const isWild = (route: CaddyRoute) => (route.match?.[0]?.host.some((host) => host.startsWith('*')) ? 1 : 0);
  return isWild(a) - isWild(b) || (a['@id']! < b['@id']! ? -1 : 1);
}
