import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { startServer, type TestServer } from '../../support/dinp-server.ts';
import type { GitClient } from '../../support/git-client.ts';
import { until } from '../../support/until.ts';

/** A page that shows a value of the app's config, and counts its starts in a volume. */
const SHOW_CONFIG =
  'CMD ["sh", "-c", "echo $GREETING > /www/config; date >> /data/starts; exec busybox httpd -f -p 8080 -h /www"]';

describe('operating an app', { concurrency: 2 }, () => {
  let server: TestServer;
  before(async () => {
    server = await startServer({ config: { builds: { parallel: 4 } } });
  });
  after(async () => {
    await server?.endTidily();
  });

  /** An app with two releases, "one" and "two". */
  async function twoReleases(): Promise<GitClient> {
    const me = await server.client();
    await me.commit(server.quickApp('one'));
    assert.equal((await me.push()).status, 0);
    await me.commit(server.quickApp('two'));
    assert.equal((await me.push()).status, 0);
    return me;
  }

  it('goes back to the release before; a push of the same commit then names both commits', async () => {
    const me = await twoReleases();
    const rollback = await server.dinp('releases', 'rollback', me.app);
    assert.equal(rollback.status, 0, rollback.output);
    assert.deepEqual(await server.curl(me.app), { status: 200, body: 'one\n' });
    const push = await me.push();
    assert.deepEqual(
      [push.status, push.output],
      [
        1,
        `master is at COMMIT2.
v3 is live with commit COMMIT1.
To deploy COMMIT2 again:

    git push dinp master:refs/deploy/now

error: failed to push some refs to 'ssh://127.0.0.1:PORT/shop'
`,
      ],
    );
    assert.equal((await me.push('master:refs/deploy/now')).status, 0);
    assert.deepEqual(await server.curl(me.app), { status: 200, body: 'two\n' });
    const back = await server.dinp('releases', 'rollback', me.app, '1');
    assert.equal(back.status, 0, back.output);
    assert.deepEqual(await server.curl(me.app), { status: 200, body: 'one\n' });
    const list = JSON.parse((await server.ssh(['releases', 'list', me.app, '--json'])).stdout) as { number: number }[];
    assert.deepEqual(
      list.map(({ number }) => number),
      [5, 4, 3, 2, 1],
    );
    for (const [number, text] of [
      ['9', /no release.*9/],
      ['5', /v5 .*live already/],
    ] as const) {
      const refused = await server.ssh(['releases', 'rollback', me.app, number]);
      assert.notEqual(refused.status, 0);
      assert.match(refused.stderr, text);
    }
  });

  it('runs as many instances as asked for, and the next release runs as many', async () => {
    const me = await server.client();
    await me.commit(server.quickApp('one'));
    await me.push();
    const up = await server.dinp('scale', me.app, 'web=3');
    assert.equal(up.status, 0, up.output);
    const names = (release: number, count: number) =>
      Array.from({ length: count }, (_, i) => `dinp-${me.app}--web--v${release}--${i + 1}`);
    assert.deepEqual(server.containers(me.app), names(1, 3));
    await me.commit(server.quickApp('two'));
    assert.equal((await me.push()).status, 0);
    assert.deepEqual(server.containers(me.app), names(2, 3));
    assert.equal((await server.ssh(['scale', me.app, 'web=1'])).status, 0);
    assert.deepEqual(server.containers(me.app), names(2, 1));
    assert.deepEqual(await server.curl(me.app), { status: 200, body: 'two\n' });
    const wrong = await server.ssh(['scale', me.app, 'wep=2']);
    assert.notEqual(wrong.status, 0);
    assert.match(wrong.stderr, /wep/);
    assert.equal((await server.ssh(['scale', me.app, 'web=0'])).status, 0);
    assert.deepEqual(server.containers(me.app), []);
    assert.deepEqual(await server.curl(me.app), {
      status: 503,
      body: `${me.app} runs no instance of its web process.\n`,
    });
  });

  it('gives config to the app by a new release of the same image; it is in no image and no unit', async () => {
    const me = await server.client();
    const secret = 'correct horse\nbattery';
    await me.commit({
      Dockerfile: server.dockerfile('RUN mkdir /data').replace(/CMD .*/, SHOW_CONFIG),
      'index.html': 'x\n',
    });
    await me.push();
    const set = await server.startDinp(['config', 'set', me.app, 'GREETING'], secret).ended;
    assert.equal(set.status, 0, set.output);
    assert.match(set.stdout, /Changed GREETING; released as v2\.\n$/);
    assert.doesNotMatch(set.output, /horse/);
    assert.deepEqual(await server.curl(me.app, '/config'), { status: 200, body: 'correct horse battery\n' });
    assert.deepEqual(server.containers(me.app), [`dinp-${me.app}--web--v2--1`]);
    const [container] = server.containers(me.app);
    const inspect = (format: string, name: string) =>
      execFileSync('docker', ['inspect', '-f', format, name], { encoding: 'utf8' });
    const image = inspect('{{.Image}}', container!).trim();
    assert.doesNotMatch(inspect('{{json .}}', image), /horse/);
    const units = join(server.data, 'units', me.app);
    const files = readdirSync(units, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
    assert.ok(files.length >= 4);
    for (const file of files) assert.doesNotMatch(readFileSync(join(file.parentPath, file.name), 'utf8'), /horse/);
    assert.doesNotMatch(server.log(), /horse/);
    assert.doesNotMatch((await server.ssh(['config', 'list', me.app])).output, /horse/);

    const again = await server.startDinp(['config', 'set', me.app, 'GREETING'], secret).ended;
    assert.match(again.stdout, /Nothing changed/);
    const unset = await server.ssh(['config', 'unset', me.app, 'GREETING']);
    assert.equal(unset.status, 0, unset.output);
    assert.deepEqual(await server.curl(me.app, '/config'), { status: 200, body: '\n' });
    assert.equal(server.builds(me.app).length, 1);
    const back = await server.ssh(['releases', 'rollback', me.app, '2']);
    assert.equal(back.status, 0, back.output);
    assert.match((await server.curl(me.app, '/config')).body, /correct horse/);
  });

  it('keeps a volume across releases, restarts and a stop; destroy keeps its data unless told otherwise', async () => {
    const me = await server.client();
    const files = {
      Dockerfile: server.dockerfile('RUN mkdir /data && ln -s /data/starts /www/starts').replace(/CMD .*/, SHOW_CONFIG),
      'index.html': 'x\n',
      'dinp.yml': 'volumes: {data: /data}\n',
    };
    const starts = async () => (await server.curl(me.app, '/starts')).body.trim().split('\n').length;
    await me.commit(files);
    const first = await me.push();
    assert.equal(first.status, 0, first.output);
    assert.equal(await starts(), 1);
    await me.commit({ 'index.html': 'y\n' });
    assert.equal((await me.push()).status, 0);
    assert.equal(await starts(), 2);
    const restart = await server.ssh(['restart', me.app]);
    assert.equal(restart.status, 0, restart.output);
    assert.equal(await starts(), 3);
    const stop = await server.ssh(['stop', me.app]);
    assert.equal(stop.status, 0, stop.output);
    assert.deepEqual(server.containers(me.app), []);
    assert.equal((await server.curl(me.app)).status, 503);
    assert.match((await me.push()).output, /COMMIT2 is live as v2 \(stopped\)/);
    assert.equal((await server.ssh(['start', me.app])).status, 0);
    assert.equal(await starts(), 4);

    const rename = await server.ssh(['apps', 'rename', me.app, server.appName()]);
    assert.notEqual(rename.status, 0);
    assert.match(rename.stderr, /volumes/);
    const unsure = await server.ssh(['apps', 'destroy', me.app]);
    assert.notEqual(unsure.status, 0);
    assert.match(unsure.stderr, /--confirm/);
    const keep = await server.ssh(['apps', 'destroy', me.app, '--confirm', me.app]);
    assert.equal(keep.status, 0, keep.output);
    assert.deepEqual(server.volumes(), [`dinp-${me.app}--data`]);
    assert.equal((await me.push()).status, 0);
    assert.equal(await starts(), 5);
    const all = await server.ssh(['apps', 'destroy', me.app, '--confirm', me.app, '--volumes']);
    assert.equal(all.status, 0, all.output);
    assert.deepEqual(server.volumes(), []);
  });

  it('shows what instances write, from now on with -f, across a release', async () => {
    const me = await server.client();
    const script = (word: string) =>
      server
        .dockerfile()
        .replace(/CMD .*/, `CMD ["sh", "-c", "echo hello ${word}; exec busybox httpd -f -p 8080 -h /www"]`);
    await me.commit({ Dockerfile: script('one'), 'index.html': 'x' });
    await me.push();
    const once = await server.ssh(['logs', me.app]);
    assert.match(once.stdout, /^\d{4}-\d\d-\d\dT[\d:.]+Z web\.1 {2}hello one\n$/);
    const follow = server.startDinp(['logs', me.app, '-f']);
    await follow.shows('hello one');
    await me.commit({ Dockerfile: script('two') });
    assert.equal((await me.push()).status, 0);
    await follow.shows('hello two');
    follow.interrupt();
    assert.equal((await follow.ended).status, 130);
  });

  it('runs a command once with the app’s files and config, its input, output and exit status', async () => {
    const me = await server.client();
    await me.commit(server.quickApp('one'));
    await me.push();
    await server.ssh(['config', 'set', me.app, 'GREETING=hi']);
    const local = await server.startDinp(
      ['run', me.app, 'sh', '-c', 'cat; echo $GREETING; echo oops >&2; exit 7'],
      'input\n',
    ).ended;
    assert.deepEqual([local.status, local.stdout, local.stderr], [7, 'input\nhi\n', 'oops\n']);
    const remote = await server.ssh(['run', me.app, '--', 'cat', '/www/index.html']);
    assert.deepEqual([remote.status, remote.stdout], [0, 'one\n']);
    await until('nothing of it is left', () => server.containers(me.app).length === 1);
  });

  it('renames an app: its address, repository and containers follow', async () => {
    const me = await server.client();
    await me.commit(server.quickApp('one'));
    await me.push();
    const url = server.stableUrl(me.app);
    const name = server.appName();
    const rename = await server.dinp('apps', 'rename', me.app, name);
    assert.equal(rename.status, 0, rename.output);
    assert.deepEqual(await server.curl(name), { status: 200, body: 'one\n' });
    assert.deepEqual(await server.curlUrl(url), { status: 200, body: 'one\n' });
    assert.notEqual((await server.curl(me.app)).status, 200);
    assert.deepEqual(server.containers(me.app), []);
    assert.deepEqual(server.containers(name), [`dinp-${name}--web--v1--1`]);
    assert.ok(!readdirSync(join(server.data, 'units')).includes(me.app));
    await me.git('remote', 'set-url', 'dinp', server.url(name));
    assert.match((await me.push()).raw, new RegExp(`is live as v1 .*${name}`));
    await me.commit(server.quickApp('two'));
    const push = await me.push();
    assert.equal(push.status, 0, push.output);
    assert.deepEqual(await server.curl(name), { status: 200, body: 'two\n' });
  });

  it('lists instances for people and for programs', async () => {
    const me = await server.client();
    await me.commit(server.quickApp('one'));
    await me.push();
    const { stdout } = await server.ssh(['ps', me.app, '--json']);
    assert.partialDeepStrictEqual(JSON.parse(stdout), [
      { process: 'web', index: 1, release: 1, state: 'running', restarts: 0 },
    ]);
    const text = await server.ssh(['ps', me.app]);
    assert.match(text.stdout, /^INSTANCE +RELEASE +STATE +UP +RESTARTS +PORT +NAME\nweb\.1 +v1 +running /);
  });
});

describe('a stopped server', () => {
  it('leaves the apps running, and finds them again', async () => {
    await using server = await startServer();
    const me = await server.client();
    await me.commit(server.quickApp('one'));
    await me.push();
    const before = execFileSync('docker', ['inspect', '-f', '{{.Id}}', ...server.containers()], { encoding: 'utf8' });
    await server.stop();
    assert.deepEqual(await server.curl(me.app), { status: 200, body: 'one\n' });
    const push = await me.push();
    assert.equal(push.status, 128);
    await server.start();
    const again = await me.push();
    assert.equal(again.status, 0, again.output);
    const after = execFileSync('docker', ['inspect', '-f', '{{.Id}}', ...server.containers()], { encoding: 'utf8' });
    assert.equal(after, before);
    assert.deepEqual(await server.problems(), []);
  });

  it('creates no app by a push where that is off, and says the command', async () => {
    await using server = await startServer({ config: { apps: { create: false } } });
    const me = await server.client();
    await me.commit(server.quickApp('one'));
    const push = await me.push();
    assert.equal(push.status, 128);
    assert.match(
      push.output,
      /there is no app shop\.\nhint: {2}To create it: ssh -p PORT dinp@127\.0\.0\.1 apps create shop\n/,
    );
    await server.dinpOk('apps', 'create', me.app);
    assert.equal((await me.push()).status, 0);
    const typo = await server.client({ app: `${me.app}x` });
    await typo.commit({}, 'x');
    assert.match((await typo.push()).raw, new RegExp(`Did you mean ${me.app}\\?`));
  });
});
