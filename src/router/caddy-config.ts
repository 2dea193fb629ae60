import { isDeepStrictEqual } from 'node:util';
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

/** The config with routes of apps made or changed, and without those of other apps. */
export function withRoutes(layout: Layout, apps: CaddyApps, routes: Route[], without: string[] = []): CaddyApps {
  const names = new Set([...routes.map(({ app }) => app), ...without]);
  const servers = apps.http?.servers ?? {};
  const gone = new Set(without.map((app) => nameOf(layout, app)));
  const others = Object.entries(servers).filter(([name]) => !gone.has(name));
  const own = routes.map((route) => [nameOf(layout, route.app), portServer(layout, route)] as const);
  const next = withHosts(layout, Object.fromEntries([...others, ...own]), routes, names);
  const https = next[httpsName(layout)]?.routes ?? [];
  const ours = https.filter((route) => parseId(layout.prefix, route['@id'])?.owner === layout.owner);
  const hosts = [...new Set(ours.flatMap(({ match }) => match?.[0]?.host ?? []))].sort();
  return withCertificates(layout, { ...apps, http: { ...apps.http, servers: next } }, hosts);
}

/** Apps whose own part of the config differs. */
export function differingApps(layout: Layout, before: CaddyApps, after: CaddyApps): string[] {
  const [old, wanted] = [partsByApp(layout, before), partsByApp(layout, after)];
  return [...wanted.keys()].filter((app) => !isDeepStrictEqual(old.get(app), wanted.get(app)));
}

/** An app's server and its routes in the shared ones. */
function partsByApp(layout: Layout, apps: CaddyApps): Map<string, unknown[]> {
  const servers = apps.http?.servers ?? {};
  const begin = nameOf(layout, '');
  const parts = new Map<string, unknown[]>();
  for (const [name, server] of Object.entries(servers))
    if (name.startsWith(begin)) parts.set(name.slice(begin.length), [server]);
  for (const name of [layout.prefix, httpsName(layout)]) {
    for (const route of servers[name]?.routes ?? [])
      parts.get(parseId(layout.prefix, route['@id'])?.app ?? '')?.push([name, route]);
  }
  return parts;
}

/** The routes of all dinp servers that use this prefix, as `withRoute` wrote them. */
export function readRoutes({ prefix }: Pick<Layout, 'prefix'>, apps: CaddyApps): FoundRoute[] {
  const servers = apps.http?.servers ?? {};
  const hosts = new Map<string, string[]>();
  for (const { '@id': id, match } of servers[prefix]?.routes ?? []) {
    const app = parseId(prefix, id)?.app ?? '';
    hosts.set(app, [...(hosts.get(app) ?? []), ...(match?.[0]?.host ?? [])]);
  }
  return Object.entries(servers)
    .filter(([name]) => name.startsWith(`${prefix}-`))
    .map(([name, server]) => {
      const app = name.slice(prefix.length + 1);
      return readRoute(prefix, app, server, hosts.get(app) ?? []);
    })
    .filter((route) => route !== undefined);
}

function readRoute(prefix: string, app: string, server: CaddyServer, hosts: string[]): FoundRoute | undefined {
  const port = Number(/:(\d+)$/.exec(server.listen?.[0] ?? '')?.[1]);
  const handler = server.routes?.[0]?.handle[0];
  if (!Number.isInteger(port) || handler === undefined) return undefined;
  return {
    ...{ app, hosts, port },
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

function portServer(layout: Layout, route: Route): CaddyServer {
  const bind = layout.bind.includes(':') ? `[${layout.bind}]` : layout.bind;
  return {
    '@id': idOf(layout, route.app, 'port'),
    listen: [`${bind}:${route.port}`],
    automatic_https: { disable: true },
    routes: [{ handle: [handlerOf(route)] }],
  };
}

/** Puts the hosts of routes into the shared servers in place of those that the named apps had. */
function withHosts(layout: Layout, servers: CaddyServers, routes: Route[], names: Set<string>): CaddyServers {
  const { prefix, hosts: listen, tls } = layout;
  if (listen === undefined) return servers;
  const isSecure = (host: string) => hasHttps(tls, host);
  const own = routes.flatMap((route) => [
    ...routesFor(
      layout,
      route.app,
      'http',
      route.hosts.filter((host) => !isSecure(host)),
      handlerOf(route),
    ),
    ...routesFor(layout, route.app, 'redirect', route.hosts.filter(isSecure), redirect(tls)),
  ]);
  const http: CaddyServer = { '@id': prefix, listen: [listen], automatic_https: { disable: true } };
  const withHttp =
    own.length === 0 && !(prefix in servers) ? servers : withShared(layout, servers, prefix, http, names, own);
  const name = httpsName(layout);
  const secure = routes.flatMap((route) =>
    routesFor(layout, route.app, 'https', route.hosts.filter(isSecure), handlerOf(route)),
  );
  if (secure.length === 0 && !(name in withHttp)) return withHttp;
  const https: CaddyServer = {
    '@id': name,
    listen: [tls?.listen ?? servers[name]!.listen![0]!],
    // Connections of HTTP/3 do not outlive a change of the config.
    protocols: ['h1', 'h2'],
    automatic_https: { disable_redirects: true },
    tls_connection_policies: [{}],
  };
  return withShared(layout, withHttp, name, https, names, secure);
}

/** Name of the server that has the same host names by HTTPS; no app's server is called that. */
function httpsName({ prefix }: Layout): string {
  return `${prefix}.https`;
}

/**
 * A shared server with routes in place of those that the named apps had. The last route answers for hosts that nobody has,
 * to which Caddy itself would say an empty 200.
 */
function withShared(
  layout: Layout,
  servers: CaddyServers,
  name: string,
  frame: CaddyServer,
  names: Set<string>,
  own: CaddyRoute[],
): CaddyServers {
  const { prefix } = layout;
  const unknownId = `${prefix}.unknown-host`;
  const before = servers[name]?.routes ?? [];
  // The one for unknown hosts has no match; those of before ids named their server are gone with this as well.
  const isOther = ({ '@id': id, match }: CaddyRoute) =>
    match !== undefined && !names.has(parseId(prefix, id)?.app ?? '');
  const others = before.filter(isOther);
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
