import type { Route } from './router.ts';

/** The parts of Caddy's JSON config that we write. Absent fields have Caddy's defaults. */
interface CaddyServer {
  '@id'?: string;
  listen?: string[];
  automatic_https?: { disable: true };
  routes?: CaddyRoute[];
}

interface CaddyRoute {
  '@id'?: string;
  match?: { host: string[] }[];
  handle: CaddyHandler[];
  terminal?: true;
}

type CaddyHandler =
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
  transport: { protocol: 'http'; keep_alive: { idle_timeout: string } };
  health_checks?: { passive: { fail_duration: string; max_fails: number } };
}

/** How our part of Caddy's config is named and where it listens. */
export interface Layout {
  /** Name of the shared server; an app's is `PREFIX-APP`. */
  prefix: string;
  /** Caddy network address of the host-based routes, `:80`; undefined: apps are reached by their ports only. */
  hosts: string | undefined;
  /** IP address that the apps' stable ports are bound to; `0.0.0.0` for all of IPv4, empty for all. */
  bind: string;
}

/** All of `apps/http/servers`: ours are named by the prefix, others are passed on as they are. */
export type CaddyServers = Record<string, CaddyServer>;

/** The servers with an app's route made or changed. */
export function withRoute(layout: Layout, servers: CaddyServers, route: Route): CaddyServers {
  return withHosts(layout, { ...servers, [nameOf(layout, route.app)]: portServer(layout, route) }, route);
}

/** The servers without an app's route. */
export function withoutRoute(layout: Layout, servers: CaddyServers, app: string): CaddyServers {
  const name = nameOf(layout, app);
  if (!(name in servers)) return servers;
  const { [name]: _, ...others } = servers;
  return withHosts(layout, others, { app, hosts: [], port: 0, upstreams: [] });
}

/** Reads back what `withRoute` wrote. */
export function readRoutes({ prefix }: Layout, servers: CaddyServers): Route[] {
  return Object.entries(servers)
    .filter(([name]) => name.startsWith(`${prefix}-`))
    .map(([name, server]) => readRoute(name, name.slice(prefix.length + 1), server, servers[prefix]))
    .filter((route) => route !== undefined);
}

function readRoute(id: string, app: string, server: CaddyServer, shared: CaddyServer | undefined): Route | undefined {
  const port = Number(/:(\d+)$/.exec(server.listen?.[0] ?? '')?.[1]);
  const handler = server.routes?.[0]?.handle[0];
  if (!Number.isInteger(port) || handler === undefined) return undefined;
  const byHost = shared?.routes?.find((candidate) => candidate['@id'] === id);
  return {
    app,
    hosts: byHost?.match?.[0]?.host ?? [],
    port,
    upstreams: handler.handler === 'reverse_proxy' ? handler.upstreams.map(({ dial }) => dial) : [],
  };
}

/** Name of an app's server, and id of its route by host. */
function nameOf({ prefix }: Layout, app: string): string {
  return `${prefix}-${app}`;
}

function portServer(layout: Layout, route: Route): CaddyServer {
  const bind = layout.bind.includes(':') ? `[${layout.bind}]` : layout.bind;
  return {
    '@id': `${nameOf(layout, route.app)}-port`,
    listen: [`${bind}:${route.port}`],
    automatic_https: { disable: true },
    routes: [{ handle: [handlerOf(route)] }],
  };
}

/**
 * Puts an app's hosts into the shared server, or takes them out where it has none. The last route answers for hosts
 * that nobody has, to which Caddy itself would say an empty 200.
 */
function withHosts(layout: Layout, servers: CaddyServers, route: Route): CaddyServers {
  const { prefix, hosts: listen } = layout;
  if (listen === undefined) return servers;
  const id = nameOf(layout, route.app);
  const unknownId = `${prefix}-unknown-host`;
  const others = (servers[prefix]?.routes ?? []).filter((other) => other['@id'] !== id && other['@id'] !== unknownId);
  const own: CaddyRoute[] =
    route.hosts.length === 0
      ? []
      : [{ '@id': id, match: [{ host: route.hosts }], handle: [handlerOf(route)], terminal: true }];
  if (own.length === 0 && !(prefix in servers)) return servers;
  const unknown = { '@id': unknownId, handle: [text(404, {}, 'No app is deployed under this host name.\n')] };
  const routes = [...[...others, ...own].sort(exactFirst), unknown];
  return { ...servers, [prefix]: { '@id': prefix, listen: [listen], automatic_https: { disable: true }, routes } };
}

/** Exact host names before wildcards, which would hide them; else by name, so that equal routes are equal configs. */
function exactFirst(a: CaddyRoute, b: CaddyRoute): number {
  const isWild = (route: CaddyRoute) => Number(route.match?.[0]?.host.some((host) => host.startsWith('*')) ?? false);
  return isWild(a) - isWild(b) || ((a['@id'] ?? '') < (b['@id'] ?? '') ? -1 : 1);
}

function handlerOf({ app, upstreams, idle = `${app} is stopped.` }: Route): CaddyHandler {
  if (upstreams.length === 0) return text(503, { 'Retry-After': ['30'] }, `${idle}\n`);
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
    // Shorter than apps keep idle connections (gunicorn 2 s, Node 5 s): a request must not meet one that the app is
    // closing. It also lets the connections of an old release end soon.
    transport: { protocol: 'http', keep_alive: { idle_timeout: '1s' } },
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
