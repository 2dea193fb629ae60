import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { startAdminProxy } from '../support/admin-proxy.ts';
import { startCaddy } from '../support/caddy.ts';
import { startServer } from '../support/dinp-server.ts';
import { until } from '../support/until.ts';

describe('routers', { concurrency: 2 }, () => {
  it('one of two that does not answer fails no push, keeps what it needs, and has all as soon as it answers', async () => {
    await using proxy = await startAdminProxy();
    await using first = await startCaddy();
    await using server = await startServer({ config: { router: { caddy: [first.admin, proxy.url] } } });
    proxy.target = server.caddy.admin;
    const me = await server.client();
    await me.commit({ 'index.html': 'one\n' });
    assert.equal((await me.push()).status, 0);

    proxy.refuse();
    await me.commit({ 'index.html': 'two\n' });
    const push = await me.push();
    assert.equal(push.status, 0, push.output);
    assert.ok(push.raw.includes(`The router ${proxy.url} does not answer; it gets the route once it does.`), push.raw);
    assert.match(push.raw, /Keeping web\.1 of v1: the router .* may still send visitors there\./);
    // Both have the same ports of this machine: each visitor meets one or the other.
    const seen = await Promise.all(Array.from({ length: 20 }, () => server.curl(me.app)));
    assert.deepEqual([...new Set(seen.map(({ status }) => status))], [200]);
    const { status, stdout } = await server.ssh(['status']);
    assert.equal(status, 1);
    assert.match(stdout, /router +ok +Caddy at .*, 1 routes\n/);
    assert.match(stdout, /router +FAILS +.*does not answer/);

    await server.dinpOk('stop', me.app);
    assert.deepEqual(server.containers(me.app), [], 'what is stopped is meant to be gone');
    await server.dinpOk('start', me.app);
    proxy.answer();
    await until('what it needed goes', () => server.containers(me.app).length === 1);
    assert.deepEqual(server.containers(me.app), [`dinp-${me.app}--web--v2--1`]);
    const after = await Promise.all(Array.from({ length: 20 }, () => server.curl(me.app)));
    assert.deepEqual([...new Set(after.map(({ body }) => body))], ['two\n']);
    assert.deepEqual(await server.problems(), []);
  });

  it('that lost everything get all routes from the store when the server starts; names need no release', async () => {
    await using server = await startServer();
    const me = await server.client();
    await me.commit({ 'index.html': 'one\n' });
    assert.equal((await me.push()).status, 0);
    const added = await server.ssh(['domains', 'add', me.app, 'Shop.Example.org']);
    assert.equal(added.status, 0, added.output);
    const asShop = () => server.curlUrl(`http://127.0.0.1:${server.namesPort}/`, 'Host: shop.example.org');
    assert.equal((await asShop()).body, 'one\n');

    await server.stop();
    await fetch(`${server.caddy.admin}/config/apps`, { method: 'DELETE' });
    assert.equal((await server.curl(me.app)).status, 0);
    await server.start();
    await until('the routes are back', async () => (await server.curl(me.app)).body === 'one\n');
    assert.equal((await asShop()).body, 'one\n');
    assert.equal((await server.curl('nobody')).status, 404);

    const other = await server.client();
    await other.commit({ 'index.html': 'other\n', 'dinp.yml': 'domains: [shop.example.org]\n' });
    const refused = await other.push();
    assert.equal(refused.status, 1);
    assert.match(refused.output, /the domain shop\.example\.org of dinp\.yml belongs to another app/);
    await me.commit({ 'index.html': 'two\n' });
    assert.match((await me.push()).raw, /Also at http:\/\/shop\.example\.org:/);
    assert.equal((await asShop()).body, 'two\n');
    assert.equal((await server.ssh(['domains', 'remove', me.app, 'shop.example.org'])).status, 0);
    assert.equal((await asShop()).status, 404);
  });
});
