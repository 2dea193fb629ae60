import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Layout, readRoutes, withoutRoute, withRoute } from '../../../src/router/caddy-config.ts';

const layout: Layout = { prefix: 'dinp', hosts: ':80', bind: '0.0.0.0' };
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
      transport: { protocol: 'http', keep_alive: { idle_timeout: '1s' } },
    },
  ];
  const headers = { 'Content-Type': ['text/plain; charset=utf-8'] };
  const body = 'No app is deployed under this host name.\n';
  assert.deepEqual(withRoute(layout, {}, blog), {
    'dinp-blog': {
      '@id': 'dinp-blog-port',
      listen: ['0.0.0.0:20000'],
      automatic_https: { disable: true },
      routes: [{ handle }],
    },
    dinp: {
      '@id': 'dinp',
      listen: [':80'],
      automatic_https: { disable: true },
      routes: [
        { '@id': 'dinp-blog', match: [{ host: ['blog.localhost'] }], handle, terminal: true },
        { '@id': 'dinp-unknown-host', handle: [{ handler: 'static_response', status_code: 404, headers, body }] },
      ],
    },
  });
});

test('what was written is read back, in any order of making it', () => {
  const shop = { ...blog, app: 'shop', hosts: ['*.localhost'], port: 20_001, upstreams: [] };
  const blogFirst = withRoute(layout, withRoute(layout, {}, blog), shop);
  assert.deepEqual(withRoute(layout, withRoute(layout, {}, shop), blog), blogFirst);
  assert.deepEqual(readRoutes(layout, blogFirst), [blog, shop]);
  const hosts = blogFirst.dinp!.routes!.map((route) => route.match?.[0]?.host[0]);
  assert.deepEqual(hosts, ['blog.localhost', '*.localhost', undefined], 'a wildcard hides nothing');
});

test('an IPv6 address is bound in brackets, the empty one binds all', () => {
  assert.deepEqual(withRoute({ ...layout, bind: '::1' }, {}, blog)['dinp-blog']!.listen, ['[::1]:20000']);
  assert.deepEqual(withRoute({ ...layout, bind: '' }, {}, blog)['dinp-blog']!.listen, [':20000']);
});

test('without hosts there is no shared server; servers of others and of another prefix stay and are not read', () => {
  const site = { listen: [':443'], routes: [] };
  const other = withRoute({ ...layout, prefix: 'dinp2' }, { site }, blog);
  const both = withRoute({ ...layout, hosts: ':81' }, other, { ...blog, hosts: [] });
  assert.deepEqual(Object.keys(both).sort(), ['dinp-blog', 'dinp2', 'dinp2-blog', 'site']);
  assert.deepEqual(readRoutes(layout, both), [{ ...blog, hosts: [] }]);
  assert.deepEqual(withoutRoute(layout, both, 'blog'), other);
  assert.equal(withoutRoute(layout, other, 'blog'), other);
});

test('several instances: one that fails is left out for a while', () => {
  const two = { ...blog, upstreams: ['127.0.0.1:1', '127.0.0.1:2'] };
  const [handler] = withRoute(layout, {}, two)['dinp-blog']!.routes![0]!.handle;
  assert.ok(handler?.handler === 'reverse_proxy');
  assert.deepEqual(handler.health_checks, { passive: { fail_duration: '2s', max_fails: 1 } });
});
