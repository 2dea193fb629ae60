import assert from 'node:assert/strict';
import { cpSync } from 'node:fs';
import { resolve } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { startServer, type TestServer } from '../../support/dinp-server.ts';
import { makeGate } from '../../support/gate.ts';

const FIXTURES = resolve(import.meta.dirname, '../../fixtures/apps');

describe('a push that fails', { concurrency: 2 }, () => {
  let server: TestServer;
  before(async () => {
    server = await startServer({ config: { builds: { parallel: 4 } } });
  });
  after(async () => {
    await server?.endTidily();
  });

  it('ends 1 with the last lines of the build; the release before serves, and the printed line tries again', async () => {
    const me = await server.client();
    await me.commit(server.quickApp('one'));
    await me.push();
    await me.commit(server.quickApp('two', 'RUN echo compiling; echo "no such file: shop.c"; exit 3'));

    const push = await me.push();
    assert.equal(push.status, 1);
    assert.equal(
      push.output,
      `-----> Reading COMMIT2 of shop  [+0.0 s]
-----> Looking for what to deploy  [+0.0 s]
       Found Dockerfile
-----> Making the image  [+0.0 s]
       [1/3] FROM 127.0.0.1:PORT/base/busybox:1
       [2/3] COPY index.html /www/index.html
       [3/3] RUN echo compiling; echo "no such file: shop.c"; exit 3
       compiling
       no such file: shop.c

 !     Build #2 of shop failed in stage build: RUN echo compiling; echo "no such file: shop.c"; exit 3 ended with exit status 3.

         compiling
         no such file: shop.c

To ssh://127.0.0.1:PORT/shop
   COMMIT1..COMMIT2  master -> master
error: failed to push some refs to 'ssh://127.0.0.1:PORT/shop'
`,
    );
    assert.deepEqual(await server.curl(me.app), { status: 200, body: 'one\n' });

    const again = await me.push();
    assert.equal(again.status, 1);
    assert.equal(
      again.output,
      `Build #2 of COMMIT2 failed: RUN echo compiling; echo "no such file: shop.c"; exit 3 ended with exit status 3.
v1 is live with commit COMMIT1.
To deploy COMMIT2 again:

    git push dinp master:refs/deploy/now

error: failed to push some refs to 'ssh://127.0.0.1:PORT/shop'
`,
    );

    const retry = await me.push('master:refs/deploy/now');
    assert.equal(retry.status, 1);
    assert.match(retry.output, /Build #3 of shop failed in stage build/);
    const [list] = JSON.parse((await server.ssh(['builds', 'list', me.app, '--json'])).stdout) as object[];
    assert.partialDeepStrictEqual(list, { number: 3, state: 'failed', stage: 'build' });

    await me.commit(server.quickApp('three'));
    const mended = await me.push();
    assert.equal(mended.status, 0, mended.output);
    assert.match(mended.output, /-----> Released v2 /);
    assert.deepEqual(await server.curl(me.app), { status: 200, body: 'three\n' });
  });

  it('says that a first push failed, and that nothing is live', async () => {
    const me = await server.client();
    await me.commit(server.quickApp('one', 'RUN false'));
    const push = await me.push();
    assert.equal(push.status, 1);
    const again = await me.push();
    assert.equal(again.status, 1);
    assert.match(again.output, /^Build #1 of COMMIT1 failed: [^\n]+\nNothing is live\.\nTo deploy COMMIT1 again:\n/);
    assert.notEqual((await server.curl(me.app)).status, 200);
  });

  it('shows the last lines of an app that exits at its start, removes it, and leaves the old one serving', async () => {
    const me = await server.client();
    await me.commit(server.quickApp('one'));
    await me.push();
    const broken = server.dockerfile().replace(/CMD .*/, 'CMD ["sh", "-c", "echo cannot open database >&2; exit 7"]');
    await me.commit({ Dockerfile: broken });
    const push = await me.push();
    assert.equal(push.status, 1);
    assert.match(push.output, / ! {5}Build #2 of shop failed in stage start: web\.1 exited with status 7 after 0\.0 s/);
    assert.match(push.output, /cannot open database/);
    assert.deepEqual(server.containers(me.app), [`dinp-${me.app}--web--v1--1`]);
    assert.deepEqual(await server.curl(me.app), { status: 200, body: 'one\n' });
    assert.deepEqual(
      server.releases(me.app).map(({ state }) => state),
      ['live', 'failed'],
    );
    await me.commit(server.quickApp('two'));
    const next = await me.push();
    assert.match(next.output, /-----> Released v3 /);
  });

  it('says on which port an app listens instead of its own', async () => {
    const me = await server.client();
    await me.commit(server.quickApp('one'));
    await me.push();
    await me.commit({
      Dockerfile: server.dockerfile().replace('"8080"', '"9999"'),
      'dinp.yml': 'health: {tcp: true, interval: 200ms, timeout: 1s, start: 3s}\n',
    });
    const push = await me.push();
    assert.equal(push.status, 1);
    assert.match(push.output, /failed in stage start: /);
    assert.match(push.output, /9999/);
    assert.deepEqual(await server.curl(me.app), { status: 200, body: 'one\n' });
  });

  it('does not start a release whose release command fails, and runs it once before one that is started', async () => {
    const me = await server.client();
    const gate = 'release: echo migrating; test ! -e /www/broken\n';
    await me.commit({ ...server.quickApp('one'), 'dinp.yml': gate });
    const first = await me.push();
    assert.equal(first.status, 0, first.output);
    assert.equal(first.output.match(/^ +migrating$/gm)?.length, 1);
    await me.commit(server.quickApp('two', 'RUN touch /www/broken'));
    const push = await me.push();
    assert.equal(push.status, 1);
    assert.match(push.output, /the release command of shop ended with status 1/);
    assert.deepEqual(await server.curl(me.app), { status: 200, body: 'one\n' });
  });

  it('kills a build that takes longer than dinp.yml allows, and names the stage', async () => {
    await using gate = await makeGate();
    const me = await server.client();
    await me.commit({ ...server.quickApp('one', `RUN ${gate.wait}`), 'dinp.yml': 'timeout: 2s\n' });
    const push = await me.push();
    assert.equal(push.status, 1);
    assert.match(
      push.output,
      / ! {5}Build #1 of shop failed in stage build: stage build was still going when the build's 0\.0 s were over\./,
    );
    assert.match(push.output, /Set a longer "timeout:" in dinp\.yml/);
    assert.ok(push.ms < 15_000, `it took ${push.ms} ms to end`);
    await gate.left();
  });

  it('refuses plain source with a Dockerfile for it', async () => {
    for (const [fixture, text] of [
      ['refused-go', /FROM .*golang/],
      ['refused-maven', /FROM .*maven/],
      ['refused-cargo', /FROM .*rust/],
      ['refused-node', /FROM .*node/],
      ['refused-python', /FROM .*python/],
    ] as const) {
      const me = await server.client();
      cpSync(`${FIXTURES}/${fixture}`, me.folder, { recursive: true });
      await me.commit({});
      const push = await me.push();
      assert.equal(push.status, 1, fixture);
      assert.match(push.output, / ! {5}Build #1 of shop failed in stage detect: /);
      assert.match(push.output, text);
    }
  });

  it('tells every mistake of dinp.yml with its line', async () => {
    const me = await server.client();
    cpSync(`${FIXTURES}/refused-manifest`, me.folder, { recursive: true });
    await me.commit({ 'index.html': 'x' });
    const push = await me.push();
    assert.equal(push.status, 1);
    assert.equal(
      push.output,
      `-----> Reading COMMIT1 of shop  [+0.0 s]
-----> Looking for what to deploy  [+0.0 s]

 !     Build #1 of shop failed in stage detect: dinp.yml has 3 mistakes:

         line 1: memory: found "lots"; write a size of at least 6M, such as 256M or 1G
         line 2: process: there is no such key; did you mean processes?
         line 4: services: this version of dinp does not support it yet (several services in one repository); take the key out

 !     Correct it, commit and push again.
To ssh://127.0.0.1:PORT/shop
 * [new branch]      master -> master
error: failed to push some refs to 'ssh://127.0.0.1:PORT/shop'
`,
    );
  });
});
