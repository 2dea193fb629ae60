import { isDeepStrictEqual } from 'node:util';
import { DinpError } from '../domain/errors.ts';
import { appNameProblem } from '../domain/names.ts';
import { CaddyAdmin } from './caddy-admin.ts';
import { type CaddyServers, type Layout, readRoutes, withoutRoute, withRoute } from './caddy-config.ts';
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
const ATTEMPTS = 10;

/**
 * Routes in a running Caddy, changed over its admin API. They live in Caddy: it must run with `--resume`, so that it
 * finds them again after a restart. All of ours are servers named by our prefix; nothing else in its config is touched.
 *
 * An app has a server of its own for its stable port and a route in the shared server for its host names. Both change
 * in one step: Caddy loads the new config beside the old one, which finishes the requests that it has.
 *
 * While it does so, Caddy has two listening sockets a port (SO_REUSEPORT), and Linux resets connections that wait in
 * the old one when it closes, unless `net.ipv4.tcp_migrate_req` is 1 (Linux 5.14): set it where no connection may fail.
 */
export class CaddyRouter implements Router {
  readonly #admin: CaddyAdmin;
  readonly #layout: Layout;
  /** Changes are made one after another: each reads, decides and writes. */
  #last: Promise<unknown> = Promise.resolve();

  constructor({ admin, listen, bind, prefix = 'dinp' }: CaddyOptions) {
    // With a hyphen, `a-b` of prefix `a` and app `b` could be meant.
    if (!/^[a-z0-9]+$/.test(prefix))
      throw new DinpError('config', `"${prefix}" cannot be a prefix: only letters and digits.`);
    this.#admin = new CaddyAdmin(admin);
    this.#layout = { prefix, hosts: listen, bind };
  }

  /** @throws DinpError unavailable; usage for a route that cannot be; exists where another app has the host or port; config where Caddy cannot listen there */
  async setRoute(wanted: Route): Promise<void> {
    const route = checked(wanted);
    await this.#change((servers) => {
      refuseConflicts(route, readRoutes(this.#layout, servers));
      return withRoute(this.#layout, servers, route);
    });
  }

  async removeRoute(app: string): Promise<void> {
    await this.#change((servers) => withoutRoute(this.#layout, servers, app));
  }

  async listRoutes(): Promise<Route[]> {
    const { value } = await this.#admin.get(SERVERS);
    return readRoutes(this.#layout, (value ?? {}) as CaddyServers);
  }

  async drain(upstreams: string[], options: { maxMs: number; signal: AbortSignal }): Promise<boolean> {
    return await waitDrained(upstreams, options);
  }

  /** Reads the servers, decides what they should be and writes that if it differs; again when somebody else was faster. */
  async #change(decide: (servers: CaddyServers) => CaddyServers): Promise<void> {
    const run = this.#last.then(async () => {
      for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
        const before = await this.#admin.get(SERVERS);
        const servers = (before.value ?? {}) as CaddyServers;
        const wanted = decide(servers);
        if (isDeepStrictEqual(servers, wanted) || (await this.#admin.set(SERVERS, wanted, before))) return;
      }
      throw new DinpError('unavailable', "Something else keeps changing Caddy's configuration.", {
        hint: 'See what it is, and deploy again when it has stopped.',
      });
    });
    this.#last = run.catch(() => undefined);
    await run;
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
