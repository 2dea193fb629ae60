import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import Database from 'better-sqlite3';
import { startAdminProxy } from '../../support/admin-proxy.ts';
import { startServer, type TestServer } from '../../support/dinp-server.ts';
import { type Gate, makeGate } from '../../support/gate.ts';
import type { GitClient } from '../../support/git-client.ts';
import { until } from '../../support/until.ts';

/** A page whose instances wait at the gate before they serve. */
function gatedApp(server: TestServer, gate: Gate, page: string) {
  const command = `CMD ["sh", "-c", "${gate.wait}; exec busybox httpd -f -p 8080 -h /www"]`;
  return { Dockerfile: server.dockerfile().replace(/CMD .*/, command), 'index.html': `${page}\n` };
}

/** Releases of an app, one a page; later instances of it wait at the gate. */
async function released(server: TestServer, gate: Gate, ...pages: string[]): Promise<GitClient> {
  const me = await server.client();
  gate.open();
  for (const page of pages) {
    await me.commit(gatedApp(server, gate, page));
    const push = await me.push();
    assert.equal(push.status, 0, push.output);
  }
  gate.shut();
  return me;
}

/** Everything is as the rows say: instances, builds, releases; and the app serves. */
async function sound(server: TestServer, app: string, page: string): Promise<void> {
  await until(`${app} serves`, async () => (await server.curl(app)).status === 200 || undefined).catch(() => undefined);
  assert.deepEqual(await server.curl(app), { status: 200, body: page });
  await until('all is in line', async () => (await server.problems()).length === 0, 20_000).catch(() => undefined);
  assert.deepEqual(await server.problems(), []);
}

/** No lock is held, and a new commit goes live. */
async function deploysOn(server: TestServer, me: GitClient): Promise<void> {
  await me.commit(server.quickApp('next'));
  const push = await me.push();
  assert.equal(push.status, 0, push.output);
  await sound(server, me.app, 'next\n');
}

describe('kill -9 of the server while an operator changes an app', { concurrency: 2 }, () => {
  it('rollback, while the instances start: the live release stays, and the rollback can be asked for again', async () => {
    await using gate = await makeGate();
    await using server = await startServer();
    const me = await released(server, gate, 'one', 'two');
    const rollback = server.startDinp(['releases', 'rollback', me.app]);
    await gate.reached(rollback);
    await server.kill();
    assert.notEqual((await rollback.ended).status, 0);
    gate.open();
    assert.deepEqual(await server.curl(me.app), { status: 200, body: 'two\n' });
    await server.start();
    await sound(server, me.app, 'two\n');
    assert.deepEqual(
      server.releases(me.app).map(({ number, state }) => [number, state]),
      [
        [1, 'past'],
        [2, 'live'],
        [3, 'failed'],
      ],
    );
    await server.dinpOk('releases', 'rollback', me.app);
    await sound(server, me.app, 'one\n');
    await deploysOn(server, me);
  });

  it('rollback, between the switch of the traffic and its record: the traffic comes back before the instances go', async () => {
    await using gate = await makeGate();
    await using proxy = await startAdminProxy();
    await using server = await startServer({ config: { router: { caddy: proxy.url } } });
    proxy.target = server.caddy.admin;
    const me = await released(server, gate, 'one', 'two');
    gate.open();
    const changed = proxy.withhold();
    server.startDinp(['releases', 'rollback', me.app]);
    await changed;
    await server.kill();
    assert.deepEqual(await server.curl(me.app), { status: 200, body: 'one\n' });
    proxy.answer();
    await server.start();
    await sound(server, me.app, 'two\n');
    await deploysOn(server, me);
  });

  it('config set, while the instances start: the value is kept, and set again it is released', async () => {
    await using gate = await makeGate();
    await using server = await startServer();
    const me = await released(server, gate, 'one');
    const set = server.startDinp(['config', 'set', me.app, 'GREETING=hi']);
    await gate.reached(set);
    await server.kill();
    assert.notEqual((await set.ended).status, 0);
    gate.open();
    await server.start();
    await sound(server, me.app, 'one\n');
    assert.equal(server.releases(me.app).at(-1)?.state, 'failed');
    assert.match(await server.dinpOk('config', 'set', me.app, 'GREETING=hi'), /released as v3/);
    assert.equal(await server.dinpOk('run', me.app, 'sh', '-c', 'echo $GREETING'), 'hi\n');
    await deploysOn(server, me);
  });

  it('scale, while an instance starts: as many run as before', async () => {
    await using gate = await makeGate();
    await using server = await startServer();
    const me = await released(server, gate, 'one');
    const scale = server.startDinp(['scale', me.app, 'web=2']);
    await gate.reached(scale);
    await server.kill();
    assert.notEqual((await scale.ended).status, 0);
    gate.open();
    await server.start();
    await sound(server, me.app, 'one\n');
    assert.deepEqual(server.containers(me.app), [`dinp-${me.app}--web--v1--1`]);
    await server.dinpOk('scale', me.app, 'web=2');
    assert.equal(server.containers(me.app).length, 2);
    await deploysOn(server, me);
  });

  /** What a rename comes to that was interrupted anywhere. */
  async function renamed(server: TestServer, me: GitClient, name: string, url: string): Promise<void> {
    await sound(server, name, 'one\n');
    assert.deepEqual(await server.curlUrl(url), { status: 200, body: 'one\n' });
    assert.notEqual((await server.curl(me.app)).status, 200);
    assert.deepEqual(server.containers(me.app), []);
    assert.ok(!existsSync(join(server.data, 'units', me.app)));
    assert.equal(server.ref(name, 'refs/heads/master'), me.commits[0]);
    assert.equal(server.ref(me.app, 'refs/heads/master'), undefined);
    await me.git('remote', 'set-url', 'dinp', server.url(name));
    assert.match((await me.push()).raw, new RegExp(`is live as v1 .*${name}`));
    const next = await me.git('rev-parse', 'HEAD');
    assert.equal(server.builds(name).at(-1)?.sha, next);
    await me.commit(server.quickApp('next'));
    assert.equal((await me.push()).status, 0);
    await sound(server, name, 'next\n');
  }

  it('rename, between its row and its repository: the next start moves the repository and goes on', async () => {
    await using gate = await makeGate();
    await using server = await startServer();
    const me = await released(server, gate, 'one');
    const [name, url] = [server.appName(), server.stableUrl(me.app)];
    gate.open();
    await server.kill();
    // Both stand in one transaction; no gate holds a server in the microseconds after it.
    const db = new Database(join(server.data, 'dinp.db'));
    db.transaction(() => {
      const { id } = db.prepare<[string], { id: number }>('SELECT id FROM apps WHERE name = ?').get(me.app)!;
      const change = JSON.stringify({ kind: 'rename', from: me.app });
      db.prepare('UPDATE release_services SET service = ? WHERE service = ?').run(name, me.app);
      db.prepare('UPDATE apps SET name = ? WHERE id = ?').run(name, id);
      db.prepare('INSERT INTO changes (app_id, change) VALUES (?, ?)').run(id, change);
    })();
    db.close();
    await server.start();
    await renamed(server, me, name, url);
  });

  it('rename, while the old address goes: the next start goes on', async () => {
    await using gate = await makeGate();
    await using proxy = await startAdminProxy();
    await using server = await startServer({ config: { router: { caddy: proxy.url } } });
    proxy.target = server.caddy.admin;
    const me = await released(server, gate, 'one');
    const [name, url] = [server.appName(), server.stableUrl(me.app)];
    gate.open();
    const changed = proxy.withhold();
    server.startDinp(['apps', 'rename', me.app, name]);
    await changed;
    await server.kill();
    proxy.answer();
    await server.start();
    await renamed(server, me, name, url);
  });

  it('rename, while the instances start under the new name: the next start goes on', async () => {
    await using gate = await makeGate();
    await using server = await startServer();
    const me = await released(server, gate, 'one');
    const [name, url] = [server.appName(), server.stableUrl(me.app)];
    await gate.reached(server.startDinp(['apps', 'rename', me.app, name]));
    await server.kill();
    gate.open();
    await server.start();
    await renamed(server, me, name, url);
  });

  /** What a destroy comes to that was interrupted anywhere: nothing is left, and the name is free. */
  async function destroyed(server: TestServer, me: GitClient): Promise<void> {
    await until('the app is gone', async () => (await server.ssh(['apps', 'info', me.app])).status !== 0);
    assert.deepEqual(server.containers(me.app), []);
    assert.deepEqual(server.volumes(), []);
    assert.notEqual((await server.curl(me.app)).status, 200);
    assert.ok(!existsSync(join(server.data, 'repositories', `${me.app}.git`)));
    assert.ok(!existsSync(join(server.data, 'units', me.app)));
    const push = await me.push();
    assert.equal(push.status, 0, push.output);
    assert.match(push.output, /-----> Released v1 /);
    await sound(server, me.app, 'one\n');
  }

  it('destroy, while the address goes: the next start goes on', async () => {
    await using gate = await makeGate();
    await using proxy = await startAdminProxy();
    await using server = await startServer({ config: { router: { caddy: proxy.url } } });
    proxy.target = server.caddy.admin;
    const me = await released(server, gate, 'one');
    gate.open();
    const changed = proxy.withhold();
    server.startDinp(['apps', 'destroy', me.app, '--confirm', me.app]);
    await changed;
    await server.kill();
    proxy.answer();
    await server.start();
    await destroyed(server, me);
  });

  it('destroy, while the instances stop: the next start goes on, with the volumes', async () => {
    await using gate = await makeGate();
    await using server = await startServer();
    const me = await server.client();
    const stop = `trap '${gate.wait}; exit 0' TERM; busybox httpd -f -p 8080 -h /www & wait`;
    await me.commit({
      Dockerfile: server.dockerfile('RUN mkdir /data').replace(/CMD .*/, `CMD ["sh", "-c", "${stop}"]`),
      'index.html': 'one\n',
      'dinp.yml': 'volumes: {data: /data}\nstop: 20s\n',
    });
    const push = await me.push();
    assert.equal(push.status, 0, push.output);
    assert.equal(server.volumes().length, 1);
    await gate.reached(server.startDinp(['apps', 'destroy', me.app, '--confirm', me.app, '--volumes']));
    await server.kill();
    gate.open();
    await server.start();
    await destroyed(server, me);
  });
});
