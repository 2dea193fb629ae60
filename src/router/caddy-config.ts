import { isDeepStrictEqual } from 'node:util';
import type { Route } from './router.ts';

/** The parts of Caddy's JSON config that we write. Absent fields have Caddy's defaults. */
export interface CaddyServer {
  '@id'?: string;
  listen: string[];
  automatic_https: { disable: true };
  routes: CaddyRoute[];
}

export interface CaddyRoute {
  '@id'?: string;
  match?: { host: string[] }[];
  handle: CaddyHandler[];
  terminal?: true;
}

export type CaddyHandler =
  | { handler: 'static_response'; status_code: number; headers: Record<string, string[]>; body: string }
  | ReverseProxy;

interface ReverseProxy {
  handler: 'reverse_proxy';
  upstreams: { dial: string }[];
  load_balancing: {
    selection_policy: { policy: 'round_robin' };
    try_duration: string;
    try_interval: string;
    retry_match: { method: string[] }[];
  };
  health_checks?: { passive: { fail_duration: string; max_fails: number } };
}

/** Where host-based routes and the apps' stable ports listen. */
export interface Listening {
  /** Caddy network address of the host-based routes, `:80`; undefined: apps are reached by their ports only. */
  hosts: string | undefined;
  /** IP address that the apps' stable ports are bound to; `0.0.0.0` for all of IPv4, empty for all. */
  bind: string;
}

/** The server of the apps' stable port. */
export function portServer(prefix: string, route: Route, listening: Listening): CaddyServer {
  const bind = listening.bind.includes(':') ? `[${listening.bind}]` : listening.bind;
  return {
    '@id': `${prefix}-${route.app}-port`,
    listen: [`${bind}:${route.port}`],
    automatic_https: { disable: true },
    routes: [{ handle: [handlerOf(route)] }],
  };
}

/** The route of an app's host names in the shared server. */
export function hostRoute(prefix: string, route: Route): CaddyRoute {
  return {
    '@id': `${prefix}-${route.app}`,
    match: [{ host: route.hosts }],
    handle: [handlerOf(route)],
    terminal: true,
  };
}

/** The shared server: a route an app and, as the last, the answer for hosts that nobody has (Caddy's own is an empty 200). */
export function hostServer(prefix: string, listen: string, routes: CaddyRoute[]): CaddyServer {
  const unknown = text(404, {}, 'No app is deployed under this host name.\n');
  return {
    '@id': prefix,
    listen: [listen],
    automatic_https: { disable: true },
    routes: [...routes, { '@id': `${prefix}-unknown`, handle: [unknown] }],
  };
}

function handlerOf({ app, upstreams }: Route): CaddyHandler {
  if (upstreams.length === 0) return text(503, { 'Retry-After': ['30'] }, `${app} is stopped.\n`);
  return {
    handler: 'reverse_proxy',
    upstreams: upstreams.map((dial) => ({ dial })),
    load_balancing: {
      selection_policy: { policy: 'round_robin' },
      // A request waits this long for an instance that starts again, and tries the others meanwhile.
      try_duration: '5s',
      try_interval: '100ms',
      // Where the connection breaks after the request was sent, only what changes nothing is sent again.
      retry_match: [{ method: ['GET', 'HEAD', 'OPTIONS'] }],
    },
    // Asked of the only instance there is, it would turn a short failure into a longer one.
    ...(upstreams.length > 1 ? { health_checks: { passive: { fail_duration: '2s', max_fails: 1 } } } : {}),
  };
}

function text(status: number, headers: Record<string, string[]>, body: string): CaddyHandler {
  return {
    handler: 'static_response',
    status_code: status,
    headers: { 'Content-Type': ['text/plain; charset=utf-8'], ...headers },
    body,
  };
}

/** Reads a route back from what `portServer` and `hostRoute` wrote; undefined where it was not written by them. */
export function readRoute(prefix: string, server: CaddyServer, shared: CaddyServer | undefined): Route | undefined {
  const app = server['@id']?.startsWith(`${prefix}-`) ? server['@id'].slice(prefix.length + 1, -'-port'.length) : '';
  const port = Number(/:(\d+)$/.exec(server.listen[0] ?? '')?.[1]);
  const handler = server.routes[0]?.handle[0];
  if (app === '' || !Number.isInteger(port) || handler === undefined) return undefined;
  const byHost = shared?.routes.find((candidate) => candidate['@id'] === `${prefix}-${app}`);
  return {
    app,
    hosts: byHost?.match?.[0]?.host ?? [],
    port,
    upstreams: handler.handler === 'reverse_proxy' ? handler.upstreams.map(({ dial }) => dial) : [],
  };
}

/** Whether two pieces of config mean the same; the order of keys does not count. */
export function sameConfig(a: unknown, b: unknown): boolean {
  return isDeepStrictEqual(a, b);
}
