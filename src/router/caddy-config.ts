import { type CaddyPki, type CaddyTls, withCertificates } from './caddy-tls.ts';
import type { Route } from './router.ts';
import { hasHttps, portOf, type TlsSettings } from './tls.ts';

/** The parts of Caddy's JSON config that we write. Absent fields have Caddy's defaults. */
interface CaddyServer {
  '@id'?: string;
  listen?: string[];
  protocols?: string[];
  automatic_https?: { disable: true } | { disable_redirects: true };
  tls_connection_policies?: object[];
  routes?: CaddyRoute[];
}

interface CaddyRoute {
  '@id'?: string;
  match?: { host: string[] }[];
  handle: CaddyHandler[];
  terminal?: true;
}

type CaddyHandler =
  | { handler: 'static_response'; status_code: number; headers: Record<string, string[]>; body?: string }
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
  transport: { protocol: 'http'; dial_timeout: string; keep_alive: { idle_timeout: string } };
  health_checks?: { passive: { fail_duration: string; max_fails: number } };
}

type CaddyServers = Record<string, CaddyServer>;

/** All of `apps`: what is ours is told by its names and ids, all else is passed on as it is. */
export interface CaddyApps {
  http?: { servers?: CaddyServers };
  tls?: CaddyTls;
  pki?: CaddyPki;
}

/** How our part of Caddy's config is named and where it listens. */
export interface Layout {
  /** Name of the shared server; an app's is `PREFIX-APP`. */
  prefix: string;
  /** Id of this dinp server: begins the ids of its routes, where several have routes in one Caddy. */
  owner: string;
  /** Caddy network address of the host-based routes, `:80`; undefined: apps are reached by their ports only. */
  hosts: string | undefined;
  /** IP address that the apps' stable ports are bound to; `0.0.0.0` for all of IPv4, empty for all. */
  bind: string;
  /** undefined: host names are served by plain HTTP. */
  tls: TlsSettings | undefined;
}

/** A route as Caddy has it. */
export interface FoundRoute extends Route {
  /** Id of the dinp server that it belongs to; undefined: made by one that did not say so yet. */
  owner: string | undefined;
}

/** The config with an app's route made or changed. */
export function withRoute(layout: Layout, apps: CaddyApps, route: Route): CaddyApps {
  const servers = apps.http?.servers ?? {};
  const own = { ...servers, [nameOf(layout, route.app)]: portServer(layout, route) };
  return withServers(layout, apps, withHosts(layout, own, route));
}

/** The config without an app's route. */
export function withoutRoute(layout: Layout, apps: CaddyApps, app: string): CaddyApps {
  const name = nameOf(layout, app);
  const servers = apps.http?.servers ?? {};
  if (!(name in servers)) return apps;
  const { [name]: _, ...others } = servers;
  return withServers(layout, apps, withHosts(layout, others, { app, hosts: [], port: 0, upstreams: [] }));
}

/** The routes of all dinp servers that use this prefix, as `withRoute` wrote them. */
export function readRoutes({ prefix }: Pick<Layout, 'prefix'>, apps: CaddyApps): FoundRoute[] {
  const servers = apps.http?.servers ?? {};
  const shared = servers[prefix]?.routes ?? [];
  return Object.entries(servers)
    .filter(([name]) => name.startsWith(`${prefix}-`))
    .map(([name, server]) => readRoute(prefix, name.slice(prefix.length + 1), server, shared))
    .filter((route) => route !== undefined);
}

function readRoute(prefix: string, app: string, server: CaddyServer, shared: CaddyRoute[]): FoundRoute | undefined {
  const port = Number(/:(\d+)$/.exec(server.listen?.[0] ?? '')?.[1]);
  const handler = server.routes?.[0]?.handle[0];
  if (!Number.isInteger(port) || handler === undefined) return undefined;
  const byHost = shared.filter((candidate) => parseId(prefix, candidate['@id'])?.app === app);
  return {
    app,
    hosts: byHost.flatMap(({ match }) => match?.[0]?.host ?? []),
    port,
    upstreams: handler.handler === 'reverse_proxy' ? handler.upstreams.map(({ dial }) => dial) : [],
    owner: parseId(prefix, server['@id'])?.owner,
  };
}

/** Name of an app's server. */
function nameOf({ prefix }: Layout, app: string): string {
  return `${prefix}-${app}`;
}

/** `dinp.SERVER.APP` and what it is there for: neither names of apps nor ids of servers have dots. */
function idOf({ prefix, owner }: Layout, app: string, part: string): string {
  return [prefix, owner, app, part].join('.');
}

/** Whose an id is; before ids named their server they were `dinp-APP`. */
function parseId(prefix: string, id = ''): { owner: string | undefined; app: string } | undefined {
  const [first, owner, app] = id.split('.');
  if (first === prefix && app !== undefined) return { owner, app };
  return id.startsWith(`${prefix}-`) ? { owner: undefined, app: id.slice(prefix.length + 1) } : undefined;
}

function withServers(layout: Layout, apps: CaddyApps, servers: CaddyServers): CaddyApps {
  const https = servers[httpsName(layout)]?.routes ?? [];
  const ours = https.filter((route) => parseId(layout.prefix, route['@id'])?.owner === layout.owner);
  const hosts = [...new Set(ours.flatMap(({ match }) => match?.[0]?.host ?? []))].sort();
  return withCertificates(layout, { ...apps, http: { ...apps.http, servers } }, hosts);
}

function portServer(layout: Layout, route: Route): CaddyServer {
  const bind = layout.bind.includes(':') ? `[${layout.bind}]` : layout.bind;
  return {
    '@id': idOf(layout, route.app, 'port'),
    listen: [`${bind}:${route.port}`],
    automatic_https: { disable: true },
    routes: [{ handle: [handlerOf(route)] }],
  };
}

/** Puts an app's hosts into the shared servers, or takes them out where it has none. */
function withHosts(layout: Layout, servers: CaddyServers, route: Route): CaddyServers {
  const { prefix, hosts: listen, tls } = layout;
  if (listen === undefined) return servers;
  const secure = route.hosts.filter((host) => hasHttps(tls, host));
  const plain = route.hosts.filter((host) => !secure.includes(host));
  const own = [
    ...routesFor(layout, route.app, 'http', plain, handlerOf(route)),
    ...routesFor(layout, route.app, 'redirect', secure, redirect(tls)),
  ];
  const http: CaddyServer = { '@id': prefix, listen: [listen], automatic_https: { disable: true } };
  const withHttp =
    own.length === 0 && !(prefix in servers) ? servers : withShared(layout, servers, prefix, http, route.app, own);
  const name = httpsName(layout);
  const ownSecure = routesFor(layout, route.app, 'https', secure, handlerOf(route));
  if (ownSecure.length === 0 && !(name in withHttp)) return withHttp;
  const https: CaddyServer = {
    '@id': name,
    listen: [tls?.listen ?? servers[name]!.listen![0]!],
    // Connections of HTTP/3 do not outlive a change of the config.
    protocols: ['h1', 'h2'],
    automatic_https: { disable_redirects: true },
    tls_connection_policies: [{}],
  };
  return withShared(layout, withHttp, name, https, route.app, ownSecure);
}

/** Name of the server that has the same host names by HTTPS; no app's server is called that. */
function httpsName({ prefix }: Layout): string {
  return `${prefix}.https`;
}

/**
 * A shared server with an app's routes in place of those that it had. The last route answers for hosts that nobody has,
 * to which Caddy itself would say an empty 200.
 */
function withShared(
  layout: Layout,
  servers: CaddyServers,
  name: string,
  frame: CaddyServer,
  app: string,
  own: CaddyRoute[],
): CaddyServers {
  const { prefix } = layout;
  const unknownId = `${prefix}.unknown-host`;
  const before = servers[name]?.routes ?? [];
  // Those of an app before ids named their server are gone with this as well.
  const others = before.filter((other) => other.match !== undefined && parseId(prefix, other['@id'])?.app !== app);
  if (name !== prefix && others.length + own.length === 0) {
    const { [name]: _, ...rest } = servers;
    return rest;
  }
  const unknown = { '@id': unknownId, handle: [text(404, {}, 'No app is deployed under this host name.\n')] };
  return { ...servers, [name]: { ...frame, routes: [...[...others, ...own].sort(exactFirst), unknown] } };
}

/** Wildcards have a route of their own, so that exact names of other apps can stand before it. */
function routesFor(layout: Layout, app: string, part: string, hosts: string[], handler: CaddyHandler): CaddyRoute[] {
  const isWild = (host: string) => host.startsWith('*');
  const groups = [
    { id: idOf(layout, app, part), host: hosts.filter((host) => !isWild(host)) },
    { id: idOf(layout, app, `${part}-wild`), host: hosts.filter(isWild) },
  ];
  return groups
    .filter(({ host }) => host.length > 0)
    .map(({ id, host }) => ({ '@id': id, match: [{ host }], handle: [handler], terminal: true }));
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
      // Where the connection breaks after the request was sent, only what changes nothing is sent again. One that could
      // not be made is tried elsewhere in any case.
      retry_match: [{ method: ['GET', 'HEAD', 'OPTIONS'] }],
    },
    // Idle: shorter than apps keep connections (gunicorn 2 s, Node 5 s): a request must not meet one that the app is
    // closing. It also lets the connections of an old release end soon. Dial: a host that is gone says nothing, and
    // what was meant for it has to find another within try_duration.
    transport: { protocol: 'http', dial_timeout: '1s', keep_alive: { idle_timeout: '1s' } },
    // Asked of the only instance there is, it would turn a short failure into a longer one. Shorter than try_duration,
    // so that a request finds one again where all failed for a moment.
    ...(upstreams.length > 1 ? { health_checks: { passive: { fail_duration: '3s', max_fails: 1 } } } : {}),
  };
}

/** Leads to the same address by HTTPS; 308 keeps method and body. */
function redirect(tls: TlsSettings | undefined): CaddyHandler {
  const port = tls === undefined ? 443 : portOf(tls.listen);
  const location = `https://{http.request.host}${port === 443 ? '' : `:${port}`}{http.request.uri}`;
  return { handler: 'static_response', status_code: 308, headers: { Location: [location] } };
}

function text(status: number, headers: Record<string, string[]>, body: string): CaddyHandler {
  return {
    handler: 'static_response',
    status_code: status,
    headers: { 'Content-Type': ['text/plain; charset=utf-8'], ...headers },
    body,
  };
}
