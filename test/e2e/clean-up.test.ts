import assert from 'node:assert/strict';
import { appendFileSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { CleanUpReport } from '../../src/deploy/clean-up/clean-up.ts';
import { startServer, type TestServer } from '../support/dinp-server.ts';
import { startEngineProxy } from '../support/engine-proxy.ts';
import type { GitClient } from '../support/git-client.ts';
import { until } from '../support/until.ts';

const NOTHING = { branch: 0, commits: 0, tags: 0, days: 0 };

interface ReleaseView {
  number: number;
  state: string;
}

/** Pushes pages "from" to "to", each in a release of its own. */
async function pushPages(me: GitClient, from: number, to: number): Promise<void> {
  for (let n = from; n <= to; n++) {
    await me.commit({ 'index.html': `page ${n}\n` });
    const push = await me.push();
    assert.equal(push.status, 0, push.raw);
  }
}

async function states(server: TestServer, app: string): Promise<string[]> {
  const { stdout } = await server.ssh(['releases', 'list', app, '-n', '100', '--json']);
  return (JSON.parse(stdout) as ReleaseView[]).map(({ number, state }) => `v${number} ${state}`);
}

async function gc(server: TestServer, ...args: string[]): Promise<CleanUpReport> {
  const { status, stdout, output } = await server.dinp('gc', ...args, '--json');
  assert.equal(status, 0, output);
  return JSON.parse(stdout) as CleanUpReport;
}

/** Digest that a tag or digest stands for in the registry; undefined where it has none. */
async function manifest(server: TestServer, app: string, reference: string): Promise<string | undefined> {
  const accept = [
    'application/vnd.docker.distribution.manifest.v2+json',
    'application/vnd.oci.image.manifest.v1+json',
    'application/vnd.oci.image.index.v1+json',
  ];
  const url = `http://${server.registry.address}/v2/${app}/manifests/${reference}`;
  const answer = await fetch(url, { method: 'HEAD', headers: { accept: accept.join(', ') } });
  return answer.ok ? (answer.headers.get('docker-content-digest') ?? '') : undefined;
}

const kinds = ({ removed }: CleanUpReport) => removed.map(({ kind, name }) => `${kind} ${name}`);

describe('clean-up', () => {
  let server: TestServer;
  before(async () => {
    server = await startServer({ config: { keep: NOTHING } });
  });
  after(async () => {
    await server?.endTidily();
  });

  it('removes what no rule keeps after each deploy, and leaves the last five to go back to', async () => {
    const me = await server.client();
    await pushPages(me, 1, 9);
    await until(
      'the first three are gone',
      async () => (await states(server, me.app)).filter((s) => s.endsWith('gone')).length === 3,
    );
    assert.deepEqual(await states(server, me.app), [
      'v9 live',
      ...[8, 7, 6, 5, 4].map((n) => `v${n} past`),
      ...[3, 2, 1].map((n) => `v${n} gone`),
    ]);
    await until('the first three images are gone', async () => {
      const tags = await server.tags(me.app);
      return tags.filter((tag) => /^b\d+$/.test(tag)).length === 6;
    });
    const tags = await server.tags(me.app);
    for (const [i, sha] of me.commits.entries()) assert.equal(tags.includes(sha), i >= 3, `commit ${i + 1}`);
    assert.equal(tags.filter((tag) => tag.startsWith('key-')).length, 6);
    const base = await fetch(`http://${server.registry.address}/v2/base/static-site/tags/list`);
    assert.ok(base.ok);
    await until('the traces of v1 to v3 are gone', () => server.ref(me.app, 'refs/dinp/releases/3') === undefined);
    assert.deepEqual(
      readdirSync(join(server.data, 'units', me.app)).sort(),
      [4, 5, 6, 7, 8, 9].map((n) => `v${n}`),
    );
    const refused = await server.ssh(['releases', 'rollback', me.app, '3']);
    assert.equal(refused.status, 1);
    assert.match(refused.stderr, /v3 of .* is gone: its image was removed by clean-up/);
    assert.match(refused.stderr, new RegExp(`git push --force dinp ${me.commits[2]}:refs/heads/master`));
    for (const n of [4, 5, 6, 7, 8]) {
      const back = await server.ssh(['releases', 'rollback', me.app, String(n)]);
      assert.equal(back.status, 0, back.output);
      assert.deepEqual(await server.curl(me.app), { status: 200, body: `page ${n}\n` });
    }
    // What was removed is built anew when its commit is pushed again.
    assert.equal((await me.push('--force', `${me.commits[0]}:refs/heads/master`)).status, 0);
    assert.deepEqual(await server.curl(me.app), { status: 200, body: 'page 1\n' });
  });

  it('reads a log from the registry where this server has it no more, of any image by its name', async () => {
    const me = await server.client();
    await pushPages(me, 1, 1);
    const here = await server.dinp('builds', 'log', me.app);
    assert.match(here.stderr, /^Log of build 1 of \S+, from this server:\n/);
    const digest = (await manifest(server, me.app, 'b1'))!;
    await until('the log is beside the image', () => manifest(server, me.app, digest.replace(':', '-')));
    const id = readdirSync(join(server.data, 'builds'))
      .map((name) => Number.parseInt(name, 10))
      .sort((a, b) => b - a)[0];
    rmSync(join(server.data, 'builds', `${id}.log`));
    const there = await server.dinp('builds', 'log', me.app, '1');
    assert.equal(
      there.stderr,
      `Log of build 1 of ${me.app}, from the registry: ${server.registry.address}/${me.app}@${digest}\n`,
    );
    assert.equal(there.stdout, here.stdout);
    for (const reference of [`${me.app}:master`, `${server.registry.address}/${me.app}@${digest}`]) {
      const named = await server.ssh(['builds', 'log', '--image', reference]);
      assert.deepEqual([named.status, named.stdout], [0, here.stdout], named.stderr);
    }
    const elsewhere = await server.ssh(['builds', 'log', '--image', 'registry.example.com/x:1']);
    assert.match(elsewhere.stderr, /is in another registry than ours/);
  });

  it('keeps the log of a failed build on this server, as it has no image', async () => {
    const me = await server.client();
    await pushPages(me, 1, 1);
    await me.commit({ 'index.html': undefined, Dockerfile: `${server.dockerfile('RUN false')}`, page: 'x' });
    assert.equal((await me.push()).status, 1);
    const { stdout, status } = await server.dinp('builds', 'log', me.app, '2');
    assert.equal(status, 0);
    assert.match(stdout, /failed in stage/);
  });

  it('removes what a destroyed app left in registry and engine', async () => {
    const me = await server.client();
    await me.commit(server.quickApp('one'));
    assert.equal((await me.push()).status, 0);
    await until('its record is there', async () =>
      (await server.tags(me.app)).some((tag) => tag.startsWith('sha256-')),
    );
    await server.dinpOk('apps', 'destroy', me.app, '--confirm', me.app);
    const foreseen = await gc(server, '--dry-run');
    assert.notDeepEqual(await server.tags(me.app), []);
    const report = await gc(server);
    const ofApp = (names: string[]) => names.filter((name) => name.includes(me.app)).sort();
    assert.deepEqual(ofApp(kinds(report)), ofApp(kinds(foreseen)));
    assert.ok(kinds(report).some((name) => name.startsWith(`engine image ${server.registry.address}/${me.app}`)));
    assert.deepEqual(await server.tags(me.app), []);
  });

  it('says why everything stays, and removes nothing, when it is asked for a dry run', async () => {
    const me = await server.client();
    await pushPages(me, 1, 2);
    const report = await gc(server, me.app, '--dry-run');
    const why = report.kept.filter(({ name }) => name.includes(`/${me.app}@`)).map(({ why: reasons }) => reasons);
    assert.deepEqual(why, [
      [`v1 of ${me.app} is one of the last 5 that served before`],
      [`v2 of ${me.app} is live`, `an instance of v2 of ${me.app} is there`],
    ]);
    const text = await server.dinp('gc', me.app, '--dry-run');
    assert.match(text.stdout, /STAYS +WHY\n/);
    await server.addDeployer('bob', me.app);
    assert.match((await server.ssh(['gc', me.app], { person: 'bob' })).stderr, /only admins may do that/);
  });

  it('goes on after a kill at any moment; no release that can be gone back to ever lacks its image', async () => {
    const me = await server.client();
    await me.commit({ 'index.html': 'page 0\n', 'dinp.yml': 'keep: {commits: 50}\n' });
    assert.equal((await me.push()).status, 0);
    await pushPages(me, 1, 11);
    await me.commit({ 'dinp.yml': 'keep: {commits: 0}\n' });
    assert.equal((await me.push()).status, 0);
    for (const ms of [0, 15, 30, 60]) {
      const running = server.startDinp(['gc', me.app]);
      await sleep(700 + ms);
      await server.kill();
      await running.ended;
      for (const release of server.releaseImages(me.app)) {
        if (release.state !== 'past' && release.state !== 'live') continue;
        assert.ok(await manifest(server, me.app, release.digest), `v${release.number} has its image`);
      }
      await server.start();
    }
    await gc(server, me.app);
    const left = await states(server, me.app);
    assert.equal(left.filter((state) => state.endsWith('gone')).length, 7, left.join());
    assert.equal((await server.tags(me.app)).filter((tag) => /^b\d+$/.test(tag)).length, 6);
    assert.deepEqual(kinds(await gc(server, me.app)), []);
  });
});

describe('clean-up without an answer', () => {
  it('removes nothing of an app while its target cannot be seen', async () => {
    await using engine = await startEngineProxy();
    await using server = await startServer({ config: { docker: { socket: engine.socket } } });
    const me = await server.client();
    await pushPages(me, 1, 8);
    const before = await server.tags(me.app);
    await engine.cut();
    await server.stop();
    appendFileSync(server.config, 'keep: {branch: 0, commits: 0, tags: 0, days: 0}\n');
    await server.start();
    for (const args of [['--dry-run'], []]) {
      const report = await gc(server, ...args);
      assert.deepEqual(
        report.untouched.map(({ app }) => app),
        [me.app],
      );
      assert.match(report.untouched[0]!.why, /what runs on its target docker cannot be seen/);
      assert.deepEqual(kinds(report), []);
    }
    const tagsBut = (tags: string[]) => tags.filter((tag) => !tag.startsWith('sha256-'));
    assert.deepEqual(tagsBut(await server.tags(me.app)), tagsBut(before));
    await engine.restore();
    await until('the engine is seen again, and the first two go', async () => {
      await gc(server);
      return (await states(server, me.app)).filter((state) => state.endsWith('gone')).length === 2;
    });
  });

  it('says that a registry does not allow deleting, and leaves releases as they are', async () => {
    await using server = await startServer({ config: { keep: NOTHING }, keepsAll: true });
    const me = await server.client();
    await pushPages(me, 1, 8);
    const said = () => server.log().split('does not allow deleting').length - 1;
    await until('the operator is told', () => said() > 0);
    const { stdout } = await server.dinp('gc', me.app);
    assert.match(stdout, /The registry \S+ does not allow deleting.*storage\.delete\.enabled: true/);
    assert.equal((await states(server, me.app)).filter((state) => state.endsWith('gone')).length, 0);
    assert.equal(said(), 1);
    assert.equal((await server.ssh(['releases', 'rollback', me.app, '1'])).status, 0);
  });
});
