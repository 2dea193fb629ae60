import assert from 'node:assert/strict';
import { once } from 'node:events';
import { request } from 'node:http';
import { createServer } from 'node:net';
import { describe, test } from 'node:test';
import { CaddyRouter } from '../../../src/router/caddy.ts';
import type { Route, WantedRoutes } from '../../../src/router/router.ts';
import { RouterGroup } from '../../../src/router/router-group.ts';
import { startAdminProxy } from '../../support/admin-proxy.ts';
import { type Caddy, freePorts, startCaddy } from '../../support/caddy.ts';
import { until } from '../../support/until.ts';
import { startBackend } from './backend.ts';
import { openBlackHole } from './black-hole.ts';

/** Two Caddies that serve the same ports of different addresses of this machine. */
async function twoCaddies() {
  const scope = new AsyncDisposableStack();
  const caddies = [scope.use(await startCaddy()), scope.use(await startCaddy())] as const;
  const proxy = scope.use(await startAdminProxy());
  proxy.target = caddies[1].admin;
  const [shared, port, another] = (await freePorts(3)) as [number, number, number];
  const open = (admin: string, address: string, owner = 'me') =>
    new CaddyRouter({ admin, owner, listen: `${address}:${shared}`, bind: address });
  const answered: string[] = [];
  const group = new RouterGroup([open(caddies[0].admin, '127.0.0.1'), open(proxy.url, '127.0.0.2')], (router) =>
    answered.push(router),
  );
  const route = (upstream: string, changes: Partial<Route> = {}): Route => ({
    ...{ app: 'blog', hosts: ['blog.localhost'], port, upstreams: [upstream] },
    ...changes,
  });
  const bodies = () => Promise.all(['127.0.0.1', '127.0.0.2'].map((address) => ask(address, shared)));
  return { scope, caddies, proxy, group, route, open, bodies, answered, shared, port, another };
}

/** What `blog.localhost` answers; why there is no answer. */
function ask(address: string, port: number): Promise<string> {
  return new Promise((resolve) => {
    const asked = request({ host: address, port, headers: { host: 'blog.localhost' }, agent: false });
    asked.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
    asked.once('response', async (response) => resolve((await response.toArray()).join('')));
    asked.end();
  });
}

const changesIn = async (caddy: Caddy) => (await caddy.log()).match(/"method":"(PUT|PATCH|POST|DELETE)"/g)?.length ?? 0;
const all =
  (...routes: Route[]): (() => WantedRoutes) =>
  () => ({ routes, leave: new Set() });

describe('several routers', { concurrency: 2 }, () => {
  test('each gets every route; one that is down gets it with what else it missed as soon as it answers', async () => {
    const { scope, group, route, proxy, bodies, answered, another } = await twoCaddies();
    await using _ = scope;
    await using one = await startBackend('one');
    await using two = await startBackend('two');
    assert.deepEqual(await group.setRoute(route(one.address)), []);
    assert.deepEqual(await bodies(), ['one', 'one']);

    proxy.refuse();
    assert.deepEqual(await group.setRoute(route(two.address)), [proxy.url]);
    const shop = { app: 'shop', hosts: [], port: another };
    assert.deepEqual(await group.setRoute(route(two.address, shop)), [proxy.url]);
    assert.deepEqual(await bodies(), ['two', 'one']);
    assert.deepEqual(group.stillUsing('blog', [one.address]), [proxy.url], 'it serves visitors all the same');
    assert.deepEqual(group.stillUsing('blog', [two.address]), []);
    assert.deepEqual(
      (await group.check()).map(({ routes, error }) => [routes, error?.code]),
      [
        [2, undefined],
        [undefined, 'unavailable'],
      ],
    );
    proxy.answer();
    await until('it has what it missed', () => answered.length === 1);
    assert.deepEqual(await bodies(), ['two', 'two']);
    assert.deepEqual(
      (await group.check()).map(({ routes }) => routes),
      [2, 2],
    );
    assert.deepEqual(group.stillUsing('blog', [one.address]), []);
  });

  test('where none answers the change has failed, and comes at no later time', async () => {
    const { scope, group, route, proxy, caddies, answered, bodies } = await twoCaddies();
    await using _ = scope;
    await using one = await startBackend('one');
    await group.setRoute(route(one.address));
    proxy.refuse();
    await caddies[0].stop();
    await assert.rejects(group.setRoute(route('127.0.0.1:1')), { code: 'unavailable' });
    proxy.answer();
    const third = route(one.address, { app: 'third', hosts: [], port: (await freePorts(1))[0]! });
    assert.deepEqual(await group.setRoute(third), [caddies[0].admin]);
    assert.deepEqual(await bodies(), ['ECONNREFUSED', 'one']);
    assert.deepEqual(group.stillUsing('third', ['127.0.0.1:1']), [], 'one that has ended serves nobody');
    await caddies[0].restart().catch(() => undefined);
    await until('it has what it missed', () => answered.includes(caddies[0].admin));
    assert.deepEqual(await bodies(), ['one', 'one']);
  });

  test('what one refuses is refused, though the other takes it', async () => {
    const { scope, group, route, caddies, open, bodies } = await twoCaddies();
    await using _ = scope;
    await using mine = await startBackend('mine');
    await using other = await startBackend('other');
    const theirs = new RouterGroup([open(caddies[1].admin, '127.0.0.2', 'them')]);
    await theirs.setRoute(route(other.address));
    await assert.rejects(group.setRoute(route(mine.address)), {
      code: 'exists',
      message: /has an app blog of another dinp server/,
    });
    await group.removeRoute('blog');
    assert.deepEqual((await bodies())[1], 'other');
  });

  test('an admin address that swallows everything holds up nobody for long', async () => {
    const { scope, caddies, open, route } = await twoCaddies();
    await using _ = scope;
    await using hole = await openBlackHole();
    const group = new RouterGroup([open(caddies[0].admin, '127.0.0.1'), open(`http://${hole.address}`, '127.0.0.2')]);
    assert.deepEqual(await group.setRoute(route('127.0.0.1:1')), [`http://${hole.address}`]);
    assert.deepEqual(group.stillUsing('blog', ['127.0.0.1:9']), [`http://${hole.address}`], 'nobody knows what it has');
  });
});

describe('routes as the store has them', { concurrency: 2 }, () => {
  test('a Caddy that came back empty gets all of them in one step; what is right is not touched', async () => {
    const { scope, group, route, caddies, another } = await twoCaddies();
    await using _ = scope;
    await using one = await startBackend('one');
    const blog = route(one.address);
    const shop = route(one.address, { app: 'shop', hosts: ['shop.localhost'], port: another });
    await group.setRoute(blog);
    await group.setRoute(shop);
    assert.deepEqual(
      (await group.syncRoutes(all(blog, shop))).map(({ set, removed, problems }) => [set, removed, problems]),
      [
        [[], [], []],
        [[], [], []],
      ],
    );
    await fetch(`${caddies[0].admin}/config/apps`, { method: 'DELETE' });
    const [before, untouched] = await Promise.all(caddies.map(changesIn));
    const foreseen = await group.syncRoutes(all(blog, shop), { dryRun: true });
    assert.deepEqual(
      foreseen.map(({ set }) => set),
      [['blog', 'shop'], []],
    );
    assert.equal(await changesIn(caddies[0]), before, 'a dry run changes nothing');
    const reports = await group.syncRoutes(all(blog, shop));
    assert.deepEqual(
      reports.map(({ set }) => set),
      [['blog', 'shop'], []],
    );
    assert.equal(await changesIn(caddies[0]), before! + 1);
    assert.equal(await changesIn(caddies[1]), untouched);
    assert.equal(await ask('127.0.0.1', Number(blog.port)), 'one');
  });

  test('routes of ours that nobody wants go; those of others, and those that somebody changes, stay', async () => {
    const { scope, group, route, caddies, open, another } = await twoCaddies();
    await using _ = scope;
    const [third, fourth] = (await freePorts(2)) as [number, number];
    const plain = (app: string, port: number) => route('127.0.0.1:1', { app, hosts: [`${app}.localhost`], port });
    const theirs = new RouterGroup([open(caddies[0].admin, '127.0.0.1', 'them')]);
    await theirs.setRoute(plain('theirs', third));
    await group.setRoute(route('127.0.0.1:1'));
    await group.setRoute(plain('old', another));
    await group.setRoute(plain('busy', fourth));
    const [report] = await group.syncRoutes(() => ({ routes: [route('127.0.0.1:2')], leave: new Set(['busy']) }));
    assert.deepEqual([report!.set, report!.removed], [['blog'], ['old']]);
    assert.deepEqual(
      (await theirs.check()).map(({ routes }) => routes),
      [1],
    );
    const { dinp } = (await (await fetch(`${caddies[0].admin}/config/apps/http/servers`)).json()) as {
      dinp: { routes: { match?: { host: string[] }[] }[] };
    };
    assert.deepEqual(dinp.routes.map(({ match }) => match?.[0]?.host[0]).sort(), [
      'blog.localhost',
      'busy.localhost',
      'theirs.localhost',
      undefined,
    ]);
  });

  test('one that cannot be had keeps none of the others away', async () => {
    const { scope, group, route, another } = await twoCaddies();
    await using _ = scope;
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as { port: number };
    const busy = route('127.0.0.1:1', { app: 'a-busy', hosts: [], port });
    const shop = route('127.0.0.1:1', { app: 'shop', hosts: [], port: another });
    const [report] = await group.syncRoutes(all(busy, route('127.0.0.1:1'), shop));
    assert.deepEqual(report!.set, ['blog', 'shop']);
    assert.match(report!.problems.map(({ message }) => message).join(), /^Caddy cannot listen on 127\.0\.0\.1/);
    server.close();
    assert.equal((await group.check())[0]!.routes, 2);
  });

  test('the admin API may be a unix socket', async () => {
    await using caddy = await startCaddy({ socket: true });
    const [port] = (await freePorts(1)) as [number];
    const admin = `unix:${caddy.socketPath}`;
    const router = new CaddyRouter({ admin, owner: 'me', listen: undefined, bind: '127.0.0.1' });
    await router.change(new Map([['blog', { app: 'blog', hosts: [], port, upstreams: [] }]]));
    assert.equal(await ask('127.0.0.1', port), 'blog is stopped.\n');
    assert.equal(router.isHere, true);
  });
});
