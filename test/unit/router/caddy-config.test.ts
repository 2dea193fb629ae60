import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  type CaddyApps,
  differingApps,
  type FoundRoute,
  type Layout,
  readRoutes,
  withRoutes,
} from '../../../src/router/caddy-config.ts';
import type { Route } from '../../../src/router/router.ts';
import type { TlsSettings } from '../../../src/router/tls.ts';

const withRoute = (to: Layout, apps: CaddyApps, one: Route) => withRoutes(to, apps, [one]);
const withoutRoute = (to: Layout, apps: CaddyApps, app: string) => withRoutes(to, apps, [], [app]);
const layout: Layout = { prefix: 'dinp', owner: 'me', hosts: ':80', bind: '0.0.0.0', tls: undefined };
const servers = (apps: CaddyApps) => apps.http!.servers!;
const route = ({ owner: _, ...rest }: FoundRoute): Route => rest;
const blog = { app: 'blog', hosts: ['blog.localhost'], port: 20_000, upstreams: ['127.0.0.1:20013'] };

test('an app becomes a server for its port and a route before the answer for unknown hosts', () => {
  const handle = [
    {
      handler: 'reverse_proxy',
      upstreams: [{ dial: '127.0.0.1:20013' }],
      load_balancing: {
        selection_policy: { policy: 'round_robin' },
        try_duration: '5s',
        try_interval: '100ms',
        retry_match: [{ method: ['GET', 'HEAD', 'OPTIONS'] }],
      },
      transport: { protocol: 'http', dial_timeout: '1s', keep_alive: { idle_timeout: '1s' } },
    },
  ];
  const headers = { 'Content-Type': ['text/plain; charset=utf-8'] };
  const body = 'No app is deployed under this host name.\n';
  assert.deepEqual(servers(withRoute(layout, {}, blog)), {
    'dinp-blog': {
      '@id': 'dinp.me.blog.port',
      listen: ['0.0.0.0:20000'],
      automatic_https: { disable: true },
      routes: [{ handle }],
    },
    dinp: {
      '@id': 'dinp',
      listen: [':80'],
      automatic_https: { disable: true },
      routes: [
        { '@id': 'dinp.me.blog.http', match: [{ host: ['blog.localhost'] }], handle, terminal: true },
        { '@id': 'dinp.unknown-host', handle: [{ handler: 'static_response', status_code: 404, headers, body }] },
      ],
    },
  });
});

test('what was written is read back, in any order of making it', () => {
  const shop = { ...blog, app: 'shop', hosts: ['*.localhost'], port: 20_001, upstreams: [] };
  const blogFirst = withRoute(layout, withRoute(layout, {}, blog), shop);
  assert.deepEqual(withRoute(layout, withRoute(layout, {}, shop), blog), blogFirst);
  assert.deepEqual(readRoutes(layout, blogFirst).map(route), [blog, shop]);
  const hosts = servers(blogFirst).dinp!.routes!.map(({ match }) => match?.[0]?.host[0]);
  assert.deepEqual(hosts, ['blog.localhost', '*.localhost', undefined], 'a wildcard hides nothing');
});

test('an exact name stands before the wildcard of another app, whatever else its app has', () => {
  const wild = { ...blog, hosts: ['*.b.example'] };
  const both = { ...blog, app: 'shop', hosts: ['*.z.example', 'c.b.example'], port: 20_001 };
  const { dinp } = servers(withRoute(layout, withRoute(layout, {}, wild), both));
  const order = dinp!.routes!.map(({ match }) => match?.[0]?.host[0]);
  assert.deepEqual(order, ['c.b.example', '*.b.example', '*.z.example', undefined]);
});

test('an IPv6 address is bound in brackets, the empty one binds all', () => {
  const listenOf = (bind: string) => servers(withRoute({ ...layout, bind }, {}, blog))['dinp-blog']!.listen;
  assert.deepEqual(listenOf('::1'), ['[::1]:20000']);
  assert.deepEqual(listenOf(''), [':20000']);
});

test('without hosts there is no shared server; servers of others and of another prefix stay and are not read', () => {
  const site = { listen: [':443'], routes: [] };
  const other = withRoute({ ...layout, prefix: 'dinp2' }, { http: { servers: { site } } }, blog);
  const both = withRoute({ ...layout, hosts: ':81' }, other, { ...blog, hosts: [] });
  assert.deepEqual(Object.keys(servers(both)).sort(), ['dinp-blog', 'dinp2', 'dinp2-blog', 'site']);
  assert.deepEqual(readRoutes(layout, both), [{ ...blog, hosts: [], owner: 'me' }]);
  assert.deepEqual(withoutRoute(layout, both, 'blog'), other);
  assert.deepEqual(withoutRoute(layout, other, 'blog'), other);
});

test('routes of before ids named their server are replaced by what belongs to somebody', () => {
  const handle = [{ handler: 'static_response' as const, status_code: 200, headers: {} }];
  const old: CaddyApps = {
    http: {
      servers: {
        'dinp-blog': { '@id': 'dinp-blog-port', listen: ['0.0.0.0:20000'], routes: [{ handle }] },
        dinp: {
          routes: [
            { '@id': 'dinp-blog', match: [{ host: ['blog.localhost'] }], handle, terminal: true },
            { '@id': 'dinp-unknown-host', handle },
          ],
        },
      },
    },
  };
  assert.deepEqual(
    readRoutes(layout, old).map(({ app, hosts, owner }) => ({ app, hosts, owner })),
    [{ app: 'blog', hosts: ['blog.localhost'], owner: undefined }],
  );
  assert.deepEqual(withRoute(layout, old, blog), withRoute(layout, {}, blog));
});

test('which apps a change is about', () => {
  const shop = { ...blog, app: 'shop', hosts: ['shop.localhost'], port: 20_001 };
  const before = withRoutes(layout, {}, [blog, shop]);
  assert.deepEqual(before, withRoute(layout, withRoute(layout, {}, shop), blog), 'all at once or one by one');
  assert.deepEqual(differingApps(layout, before, before), []);
  const moved = withRoute(layout, before, { ...shop, upstreams: ['127.0.0.1:1'] });
  assert.deepEqual(differingApps(layout, before, moved), ['shop']);
  const named = withRoute(layout, before, { ...blog, hosts: ['other.localhost'] });
  assert.deepEqual(differingApps(layout, before, named), ['blog']);
  assert.deepEqual(differingApps(layout, {}, before), ['blog', 'shop']);
});

test('several instances: one that fails is left out for a while', () => {
  const two = { ...blog, upstreams: ['127.0.0.1:1', '127.0.0.1:2'] };
  const [handler] = servers(withRoute(layout, {}, two))['dinp-blog']!.routes![0]!.handle;
  assert.ok(handler?.handler === 'reverse_proxy');
  assert.deepEqual(handler.health_checks, { passive: { fail_duration: '3s', max_fails: 1 } });
});

const acme: TlsSettings = {
  ...{ from: 'acme', listen: ':443', email: 'ops@example.org', ca: undefined, caRoot: undefined, certificates: [] },
};

test('with HTTPS names lead there and get certificates; those that cannot have one stay plain', () => {
  const hosts = ['blog.localhost', 'www.example.org', '*.example.org'];
  const apps = withRoute({ ...layout, tls: acme }, {}, { ...blog, hosts });
  const byId = (name: string) =>
    servers(apps)[name]!.routes!.map((each) => [each['@id'], each.match?.[0]?.host, each.handle[0]!.handler]);
  assert.deepEqual(byId('dinp'), [
    ['dinp.me.blog.http', ['blog.localhost'], 'reverse_proxy'],
    ['dinp.me.blog.redirect', ['www.example.org'], 'static_response'],
    ['dinp.me.blog.http-wild', ['*.example.org'], 'reverse_proxy'],
    ['dinp.unknown-host', undefined, 'static_response'],
  ]);
  assert.deepEqual(byId('dinp.https'), [
    ['dinp.me.blog.https', ['www.example.org'], 'reverse_proxy'],
    ['dinp.unknown-host', undefined, 'static_response'],
  ]);
  const issuers = [{ module: 'acme', email: 'ops@example.org' }];
  assert.deepEqual(apps.tls, {
    automation: { policies: [{ '@id': 'dinp.me.tls', subjects: ['www.example.org'], issuers }] },
  });
  assert.deepEqual(
    readRoutes(layout, apps).map((each) => each.hosts.sort()),
    [hosts.sort()],
  );
});

test('certificates of others stay as they are, and of ours there is no trace once the last name is gone', () => {
  const own = { subjects: ['mine.example'], issuers: [] };
  const before: CaddyApps = { tls: { automation: { policies: [own] } }, http: { servers: {} } };
  const file = { cert: '/c.pem', key: '/k.pem', names: ['*.example.org'], fingerprint: 'f' };
  const tls: TlsSettings = { ...acme, from: 'internal', certificates: [file] };
  const hosts = ['blog.localhost', 'www.example.org'];
  const there = withRoute({ ...layout, tls }, before, { ...blog, hosts });
  assert.deepEqual(there.tls, {
    automation: {
      policies: [
        { '@id': 'dinp.me.tls', subjects: ['blog.localhost'], issuers: [{ module: 'internal', ca: 'dinp' }] },
        own,
      ],
    },
    certificates: { load_files: [{ certificate: '/c.pem', key: '/k.pem', tags: ['dinp.me', 'f'] }] },
  });
  assert.deepEqual(there.pki?.certificate_authorities, { dinp: { name: 'dinp', install_trust: false } });
  assert.deepEqual(withoutRoute({ ...layout, tls }, there, 'blog').tls, before.tls);
  const off = withRoute(layout, there, { ...blog, hosts });
  assert.deepEqual([off.tls, Object.keys(servers(off)).sort()], [before.tls, ['dinp', 'dinp-blog']]);
});
