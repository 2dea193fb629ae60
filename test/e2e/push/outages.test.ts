import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { describe, it } from 'node:test';
import { startAdminProxy } from '../../support/admin-proxy.ts';
import { startServer, type TestServer } from '../../support/dinp-server.ts';
import { startEngineProxy } from '../../support/engine-proxy.ts';
import { makeGate } from '../../support/gate.ts';
import type { GitClient } from '../../support/git-client.ts';
import { until } from '../../support/until.ts';

/** An app with one release, "one". */
async function released(server: TestServer): Promise<GitClient> {
  const me = await server.client();
  await me.commit(server.quickApp('one'));
  const push = await me.push();
  assert.equal(push.status, 0, push.output);
  return me;
}

/** The failed push left nothing behind, and the next one goes live. */
async function mended(server: TestServer, me: GitClient): Promise<void> {
  const again = await me.push('master:refs/deploy/now');
  assert.equal(again.status, 0, again.output);
  assert.deepEqual(await server.curl(me.app), { status: 200, body: 'two\n' });
  await until('all is in line', async () => (await server.problems()).length === 0, 20_000).catch(() => undefined);
  assert.deepEqual(await server.problems(), []);
}

describe('a push fails with a clear error, the old release serves, and the next push goes well', {
  concurrency: 2,
}, () => {
  it('where the registry goes away while it builds', async () => {
    await using gate = await makeGate();
    await using server = await startServer();
    const me = await released(server);
    await me.commit(server.quickApp('two', `RUN ${gate.wait}`));
    const push = me.startPush();
    await gate.reached(push);
    await server.registry.stop();
    gate.open();
    const { status, output } = me.pushed(await push.ended);
    assert.equal(status, 1);
    assert.match(output, /\n ! {5}Build #2 of shop failed in stage build: [^\n]*127\.0\.0\.1:PORT[^\n]*refused/);
    assert.match(output, /\n ! {5}[^\n]*(?:registry|running)/i);
    assert.deepEqual(await server.curl(me.app), { status: 200, body: 'one\n' });
    await server.registry.start();
    await mended(server, me);
  });

  it('where the engine goes away while it builds', async () => {
    await using gate = await makeGate();
    await using engine = await startEngineProxy();
    await using server = await startServer({ config: { docker: { socket: engine.socket } } });
    const me = await released(server);
    await me.commit(server.quickApp('two', `RUN ${gate.wait}`));
    const push = me.startPush();
    await gate.reached(push);
    await engine.cut();
    const { status, output } = me.pushed(await push.ended);
    assert.equal(status, 1);
    assert.match(output, /\n ! {5}Build #2 of shop failed in stage build: [^\n]*Docker Engine/);
    assert.deepEqual(await server.curl(me.app), { status: 200, body: 'one\n' });
    const without = await me.push('master:refs/deploy/now');
    assert.equal(without.status, 1);
    assert.match(without.output, /failed in stage build: [^\n]*Docker Engine[^\n]*\n[\s\S]*systemctl start docker/);
    await engine.restore();
    gate.open();
    await mended(server, me);
  });

  it('where the engine goes away while its instances start: what was started goes once the engine is back', async () => {
    await using gate = await makeGate();
    await using engine = await startEngineProxy();
    await using server = await startServer({ config: { docker: { socket: engine.socket } } });
    const me = await released(server);
    const command = `CMD ["sh", "-c", "${gate.wait}; exec busybox httpd -f -p 8080 -h /www"]`;
    await me.commit({ Dockerfile: server.dockerfile().replace(/CMD .*/, command), 'index.html': 'two\n' });
    const push = me.startPush();
    await gate.reached(push);
    await engine.cut();
    const { status, output } = me.pushed(await push.ended);
    assert.equal(status, 1);
    assert.match(output, /\n ! {5}Build #2 of shop failed in stage start: [^\n]*Docker Engine/);
    assert.match(output, /What was started of v2 could not be removed yet/);
    assert.deepEqual(await server.curl(me.app), { status: 200, body: 'one\n' });
    await engine.restore();
    await until('it is removed', () => server.containers(me.app).length === 1);
    assert.deepEqual(server.containers(me.app), [`dinp-${me.app}--web--v1--1`]);
    gate.open();
    await mended(server, me);
  });

  it('where Caddy no longer takes routes', async () => {
    await using proxy = await startAdminProxy();
    await using server = await startServer({ config: { router: { caddy: proxy.url } } });
    proxy.target = server.caddy.admin;
    const me = await released(server);
    await me.commit(server.quickApp('two'));
    proxy.refuse();
    const push = await me.push();
    assert.equal(push.status, 1);
    assert.match(push.output, /\n ! {5}Build #2 of shop failed in stage route: Caddy does not answer/);
    assert.deepEqual(await server.curl(me.app), { status: 200, body: 'one\n' });
    proxy.answer();
    await until('what was started is removed', () => server.containers(me.app).length === 1);
    assert.deepEqual(await server.curl(me.app), { status: 200, body: 'one\n' });
    await mended(server, me);
  });

  it('where the disk of the data folder is full', async () => {
    await using server = await startServer({ diskMegabytes: 24 });
    const me = await released(server);
    await me.commit(server.quickApp('two'));
    server.disk!.fill();
    const push = await me.push();
    assert.notEqual(push.status, 0);
    assert.match(push.raw, /[Nn]o space left on device|disk is full|database or disk is full/);
    assert.deepEqual(await server.curl(me.app), { status: 200, body: 'one\n' });
    server.disk!.empty();
    const again = await me.push();
    assert.equal(again.status, 0, again.output);
    assert.deepEqual(await server.curl(me.app), { status: 200, body: 'two\n' });
    assert.deepEqual(await server.problems(), []);
  });

  it('where the disk of the data folder fills up while it builds', async () => {
    await using gate = await makeGate();
    await using server = await startServer({ diskMegabytes: 24 });
    const me = await released(server);
    await me.commit(server.quickApp('two', `RUN ${gate.wait}`));
    const push = me.startPush();
    await gate.reached(push);
    server.disk!.fill();
    gate.open();
    const { status, output } = me.pushed(await push.ended);
    assert.equal(status, 1, output);
    assert.match(output, /disk [^\n]*full/);
    assert.match(output, /Build #2 [^\n]*failed/);
    assert.deepEqual(await server.curl(me.app), { status: 200, body: 'one\n' });
    server.disk!.empty();
    await until('its end is recorded', () => server.builds(me.app)[1]?.state === 'failed');
    await mended(server, me);
  });

  it('where the disk of the registry is full', async () => {
    await using server = await startServer({ registryMegabytes: 64 });
    // A site is written to the registry by us; the engine would try again for the better part of a minute.
    const me = await server.client();
    await me.commit({ 'index.html': 'one\n' });
    const first = await me.push();
    assert.equal(first.status, 0, first.output);
    await me.commit({ 'index.html': 'two\n', big: randomBytes(1024 * 1024) });
    server.registryDisk!.fill();
    const push = await me.push();
    assert.equal(push.status, 1, push.output);
    assert.match(
      push.output,
      /\n ! {5}Build #2 of shop failed in stage build: The disk of the registry 127\.0\.0\.1:PORT is full\./,
    );
    assert.deepEqual(await server.curl(me.app), { status: 200, body: 'one\n' });
    server.registryDisk!.empty();
    await mended(server, me);
  });
});
