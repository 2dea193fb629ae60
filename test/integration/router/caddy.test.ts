import assert from 'node:assert/strict';
import { once } from 'node:events';
import { get, type IncomingMessage, request } from 'node:http';
import { createServer } from 'node:net';
import { describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type CaddyOptions, CaddyRouter } from '../../../src/router/caddy.ts';
import type { Route } from '../../../src/router/router.ts';
import { RouterGroup } from '../../../src/router/router-group.ts';
import { type Caddy, freePorts, startCaddy } from '../../support/caddy.ts';
import { startBackend } from './backend.ts';
import { openBlackHole } from './black-hole.ts';

const forever = new AbortController().signal;

/** One Caddy, as a server uses it. */
function openRouter(options: Partial<CaddyOptions> & { admin: string }) {
  const caddy = new CaddyRouter({ owner: 'me', listen: ':1', bind: '127.0.0.1', ...options });
  const group = new RouterGroup([caddy]);
  return {
    setRoute: (route: Route) => group.setRoute(route),
    removeRoute: (app: string) => group.removeRoute(app),
    drain: (...[upstreams, options]: Parameters<RouterGroup['drain']>) => group.drain(upstreams, options),
    listRoutes: () => caddy.listRoutes(),
  };
}

async function routerOf(caddy: Caddy) {
  const [shared, port] = await freePorts(2);
  const router = openRouter({ admin: caddy.admin, listen: `127.0.0.1:${shared}` });
  const route = (upstreams: string[], changes: Partial<Route> = {}): Route => ({
    app: 'blog',
    hosts: ['blog.localhost'],
    port: port!,
    upstreams,
    ...changes,
  });
  return { router, route, shared: shared!, port: port! };
}

/** GET with a Host header; fetch does not let one set it. */
async function ask(
  port: number,
  path = '/',
  host?: string,
  method = 'GET',
): Promise<{ status: number; headers: IncomingMessage['headers']; body: string }> {
  const headers = host === undefined ? {} : { host };
  const asked = request({ host: '127.0.0.1', port, path, headers, method, agent: false }).end();
  const [response] = (await once(asked, 'response')) as [IncomingMessage];
  let body = '';
  for await (const chunk of response) body += chunk;
  return { status: response.statusCode!, headers: response.headers, body };
}

async function configOf(caddy: Caddy): Promise<{ apps?: { http: { servers: Record<string, unknown> } } }> {
  return (await (await fetch(`${caddy.admin}/config/`)).json()) as {
    apps?: { http: { servers: Record<string, unknown> } };
  };
}

describe('routes in Caddy', { concurrency: 2 }, () => {
  test('an app is reached by its port and by its host names, others get 404', async () => {
    await using caddy = await startCaddy();
    await using blog = await startBackend('blog');
    const { router, route, shared, port } = await routerOf(caddy);
    assert.deepEqual(await router.listRoutes(), []);
    await router.setRoute(route([blog.address], { hosts: ['Blog.localhost', 'www.blog.localhost'] }));

    assert.equal((await ask(port)).body, 'blog');
    assert.equal((await ask(shared, '/', 'blog.localhost')).body, 'blog');
    assert.equal((await ask(shared, '/', `www.blog.localhost:${shared}`)).body, 'blog');
    const unknown = await ask(shared, '/', 'shop.localhost');
    assert.equal(unknown.status, 404);
    assert.match(unknown.body, /No app is deployed under this host name/);
    assert.deepEqual(await router.listRoutes(), [
      route([blog.address], { hosts: ['blog.localhost', 'www.blog.localhost'] }),
    ]);
  });

  test('a stopped app answers 503 and says when to ask again; a removed one is gone', async () => {
    await using caddy = await startCaddy();
    const { router, route, shared, port } = await routerOf(caddy);
    await router.setRoute(route([]));
    for (const answer of [await ask(port), await ask(shared, '/', 'blog.localhost')]) {
      assert.equal(answer.status, 503);
      assert.equal(answer.headers['retry-after'], '30');
      assert.equal(answer.body, 'blog is stopped.\n');
    }
    await router.setRoute(route([], { idle: 'blog has no web process.' }));
    assert.equal((await ask(port)).body, 'blog has no web process.\n');
    assert.deepEqual(await router.listRoutes(), [route([])]);
    await router.removeRoute('blog');
    await router.removeRoute('blog');
    await assert.rejects(ask(port), { code: 'ECONNREFUSED' });
    assert.equal((await ask(shared, '/', 'blog.localhost')).status, 404);
    assert.deepEqual(await router.listRoutes(), []);
  });

  test('what else Caddy serves is left as it is', async () => {
    const [foreign] = await freePorts(1);
    const routes = [{ handle: [{ handler: 'static_response', body: 'mine' }] }];
    const site = { listen: [`127.0.0.1:${foreign}`], routes };
    await using caddy = await startCaddy({
      config: { apps: { http: { servers: { site }, grace_period: 12345678901 } } },
    });
    await using blog = await startBackend('blog');
    const { router, route, port } = await routerOf(caddy);
    await router.setRoute(route([blog.address]));
    assert.equal((await ask(foreign!)).body, 'mine');
    assert.deepEqual(await router.listRoutes(), [route([blog.address])]);
    await router.removeRoute('blog');
    const { apps } = await configOf(caddy);
    assert.deepEqual(apps!.http.servers.site, site);
    assert.equal((apps!.http as unknown as { grace_period: number }).grace_period, 12345678901);

    const busy = router.setRoute(route([blog.address], { port: foreign! }));
    await assert.rejects(busy, {
      code: 'config',
      message: /^Caddy listens on 127\.0\.0\.1:\d+ already/,
    });
    await router.setRoute(route([blog.address]));
    assert.equal((await ask(port)).body, 'blog');
  });

  test('routes outlive a restart of Caddy', async () => {
    await using caddy = await startCaddy();
    await using blog = await startBackend('blog');
    const { router, route, port } = await routerOf(caddy);
    await router.setRoute(route([blog.address]));
    await caddy.restart();
    assert.equal((await ask(port)).body, 'blog');
    assert.deepEqual(await router.listRoutes(), [route([blog.address])]);
  });

  test('setting many routes at once, by two servers even, loses none; setting one again changes nothing', async () => {
    await using caddy = await startCaddy();
    const { router, route, shared } = await routerOf(caddy);
    const other = openRouter({ admin: caddy.admin, listen: `127.0.0.1:${shared}` });
    const ports = await freePorts(8);
    const routes = ports.map((port, i) =>
      route([`127.0.0.1:${i + 1}`], { app: `app-${i}`, hosts: [`app-${i}.localhost`], port }),
    );
    await Promise.all(routes.map((one, i) => (i % 2 === 0 ? router : other).setRoute(one)));
    const found = (await router.listRoutes()).sort((a, b) => (a.app < b.app ? -1 : 1));
    assert.deepEqual(found, routes);

    const config = await configOf(caddy);
    const lines = (await caddy.log()).length;
    await router.setRoute(routes[3]!);
    assert.deepEqual(await configOf(caddy), config);
    assert.doesNotMatch((await caddy.log()).slice(lines), /"method":"(PUT|PATCH|POST|DELETE)"/);
    const ids = [...JSON.stringify(config).matchAll(/"@id":"([^"]+)"/g)].map((match) => match[1]);
    assert.equal(new Set(ids).size, ids.length, 'every @id once');
  });

  test('what cannot be a route is refused', async () => {
    await using caddy = await startCaddy();
    const { router, route } = await routerOf(caddy);
    await router.setRoute(route(['127.0.0.1:1']));
    const [port] = await freePorts(1);
    const refused = (changes: Partial<Route>, code: string) =>
      assert.rejects(router.setRoute(route([], changes)), { code });
    for (const dial of ['127.0.0.1', '127.0.0.1:0', '127.0.0.1:70000', 'http://x:1', 'x:1 y:2', ':80', '']) {
      await refused({ upstreams: [dial] }, 'usage');
    }
    await refused({ hosts: ['a b'] }, 'usage');
    await refused({ hosts: ['{env.HOME}'] }, 'usage');
    await refused({ port: 0 }, 'usage');
    await refused({ app: 'Not/An/App' }, 'usage');
    await refused({ app: 'shop', hosts: [] }, 'exists');
    await refused({ app: 'shop', port: port! }, 'exists');
    assert.deepEqual(await router.listRoutes(), [route(['127.0.0.1:1'])]);
  });

  test('a port that something else uses', async () => {
    await using caddy = await startCaddy();
    const { router, route } = await routerOf(caddy);
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as { port: number };
    await assert.rejects(router.setRoute(route(['127.0.0.1:1'], { port })), {
      code: 'config',
      message: `Caddy cannot listen on 127.0.0.1:${port}: address already in use.`,
    });
    server.close();
    assert.deepEqual(await router.listRoutes(), []);
  });

  test('no Caddy, no answer: unavailable, never an empty list', async () => {
    const [port] = await freePorts(1);
    const router = openRouter({ admin: `http://127.0.0.1:${port}` });
    const expected = {
      code: 'unavailable',
      message: `Caddy does not answer at http://127.0.0.1:${port} (ECONNREFUSED).`,
    };
    await assert.rejects(router.listRoutes(), expected);
    await assert.rejects(router.setRoute({ app: 'blog', hosts: [], port: 1, upstreams: [] }), expected);
  });
});

describe('what passes through', { concurrency: 2 }, () => {
  test('the app learns who asked, by which name; what a client claims does not count', async () => {
    await using caddy = await startCaddy();
    await using blog = await startBackend('blog');
    const { router, route, shared } = await routerOf(caddy);
    await router.setRoute(route([blog.address]));
    const headers = { host: 'blog.localhost', 'x-forwarded-for': '8.8.8.8', 'x-forwarded-proto': 'https' };
    const [response] = (await once(
      get({ host: '127.0.0.1', port: shared, path: '/headers', headers }),
      'response',
    )) as [IncomingMessage];
    const seen = JSON.parse((await response.toArray()).join('')) as Record<string, string>;
    assert.equal(seen.host, 'blog.localhost');
    assert.equal(seen['x-forwarded-for'], '127.0.0.1');
    assert.equal(seen['x-forwarded-proto'], 'http');
    assert.equal(seen['x-forwarded-host'], 'blog.localhost');
  });

  test('events arrive as they are sent, and the app learns when the client leaves', async () => {
    await using caddy = await startCaddy();
    await using blog = await startBackend('blog');
    const { router, route, port } = await routerOf(caddy);
    await router.setRoute(route([blog.address]));
    const request = get({ host: '127.0.0.1', port, path: '/events', agent: false });
    const [response] = (await once(request, 'response')) as [IncomingMessage];
    const [first] = (await once(response, 'data')) as [Buffer];
    // Were it held back, the second one would be in it.
    assert.equal(first.toString(), 'data: first\n\n');
    request.destroy();
    for (let waited = 0; (await ask(port, '/gone')).body !== '1'; waited += 50) {
      assert.ok(waited < 5_000, 'the app was never told');
      await sleep(50);
    }
  });

  test('a websocket works', async () => {
    await using caddy = await startCaddy();
    await using blog = await startBackend('blog');
    const { router, route, port } = await routerOf(caddy);
    await router.setRoute(route([blog.address]));
    const socket = new WebSocket(`ws://127.0.0.1:${port}/`);
    await once(socket, 'open');
    socket.send('hello');
    const [message] = (await once(socket, 'message')) as [MessageEvent];
    assert.equal(message.data, 'blog');
    socket.close();
  });

  test('several instances take turns, and one that dies is not noticed', async () => {
    await using caddy = await startCaddy();
    await using one = await startBackend('one');
    await using two = await startBackend('two');
    const { router, route, port } = await routerOf(caddy);
    await router.setRoute(route([one.address, two.address]));
    const turns = await Promise.all(Array.from({ length: 20 }, () => ask(port)));
    assert.deepEqual([...new Set(turns.map((answer) => answer.body))].sort(), ['one', 'two']);
    await one.kill();
    for (let i = 0; i < 50; i++) assert.equal((await ask(port)).body, 'two');
  });

  test('the only instance may start again: requests wait for it', async () => {
    await using caddy = await startCaddy();
    const first = await startBackend('first');
    const { router, route, port } = await routerOf(caddy);
    await router.setRoute(route([first.address]));
    await first.kill();
    const answer = ask(port);
    await sleep(500);
    await using _second = await startBackend('second', Number(first.address.split(':')[1]));
    assert.equal((await answer).body, 'second');
  });

  test('a host that says nothing any more takes nobody with it, whatever is asked', async () => {
    await using caddy = await startCaddy();
    await using good = await startBackend('good');
    const { router, route, port } = await routerOf(caddy);
    await using hole = await openBlackHole();
    await router.setRoute(route([hole.address, good.address]));
    const begun = performance.now();
    const answers = await Promise.all(
      Array.from({ length: 40 }, (_, i) => ask(port, '/', undefined, i % 2 ? 'POST' : 'GET')),
    );
    assert.deepEqual([...new Set(answers.map(({ status, body }) => `${status} ${body}`))], ['200 good']);
    assert.ok(performance.now() - begun > 900, 'the dead one was tried');
  });

  test('a large body goes through as it comes, and is not sent twice', async () => {
    await using caddy = await startCaddy();
    await using blog = await startBackend('blog');
    const { router, route, port } = await routerOf(caddy);
    await router.setRoute(route([blog.address]));
    const upload = request({ host: '127.0.0.1', port, path: '/upload', method: 'POST', agent: false });
    upload.write(Buffer.alloc(1_000_000));
    const [response] = (await once(upload, 'response')) as [IncomingMessage];
    const [first] = (await once(response, 'data')) as [Buffer];
    assert.match(first.toString(), /^\d+\n/, 'the app had a part of it before the rest was sent');
    const chunk = Buffer.alloc(1_000_000);
    for (let i = 1; i < 64; i++) if (!upload.write(chunk)) await once(upload, 'drain');
    upload.end();
    let last = '';
    for await (const text of response) last += text;
    assert.equal(last.trim().split('\n').at(-1), '64000000 in all');
  });

  test('an answer that comes in pieces without being a stream of events is not held back', async () => {
    await using caddy = await startCaddy();
    await using blog = await startBackend('blog');
    const { router, route, port } = await routerOf(caddy);
    await router.setRoute(route([blog.address]));
    const [response] = (await once(get({ host: '127.0.0.1', port, path: '/pieces', agent: false }), 'response')) as [
      IncomingMessage,
    ];
    const pieces = response[Symbol.asyncIterator]();
    const next = async () => String((await pieces.next()).value);
    assert.equal(await next(), 'first\n');
    // The app goes on only once it is told that the first piece has come.
    assert.equal((await ask(port, '/pieces/end')).status, 200);
    assert.equal(await next(), 'last\n');
  });
});

describe('swapping', () => {
  test('requests that take their time end, though their instance dies at once when it is stopped', async () => {
    await using caddy = await startCaddy();
    const { router, route, port } = await routerOf(caddy);
    await using old = await startBackend('old');
    await using next = await startBackend('next');
    await router.setRoute(route([old.address]));
    const slow = Array.from({ length: 10 }, () => ask(port, '/slow?ms=800'));
    await sleep(200);
    await router.setRoute(route([next.address]));
    assert.equal(await router.drain([old.address], { maxMs: 50, signal: forever }), false);
    assert.equal(await router.drain([old.address], { maxMs: 5_000, signal: forever }), true);
    await old.kill();
    for (const answer of await Promise.all(slow)) assert.deepEqual([answer.status, answer.body], [200, 'old']);
    assert.equal((await ask(port)).body, 'next');
  });
});
