import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { startServer } from '../../support/dinp-server.ts';
import { makeGate } from '../../support/gate.ts';

describe('a server that builds one app at a time', () => {
  it('says that other apps build first, and builds in the order of the pushes', async () => {
    await using gate = await makeGate();
    await using server = await startServer({ config: { builds: { parallel: 1 } } });
    const slow = await server.client();
    await slow.commit(server.quickApp('slow', `RUN ${gate.wait}`));
    const first = slow.startPush();
    await gate.reached(first);
    const others = [await server.client(), await server.client()];
    const pushes = [];
    for (const [i, other] of others.entries()) {
      await other.commit(server.quickApp(`other ${i}`));
      const push = other.startPush();
      await push.shows(`-----> Build #1 waits, number ${i + 1} in the queue: other apps build first\n`);
      pushes.push(push);
    }
    gate.open();
    assert.equal((await first.ended).status, 0);
    for (const [i, push] of pushes.entries()) {
      const { status, output } = others[i]!.pushed(await push.ended);
      assert.equal(status, 0, output);
      assert.match(output, /^-----> Build #1 waits, [^\n]+\n-----> Reading COMMIT1 of shop/);
      assert.deepEqual(await server.curl(others[i]!.app), { status: 200, body: `other ${i}\n` });
    }
    assert.deepEqual(await server.problems(), []);
  });
});

describe('an app with deploys off', () => {
  it('stores what is pushed, with a row that says so, and deploys it once asked to', async () => {
    await using server = await startServer();
    const me = await server.client();
    await server.dinpOk('apps', 'create', me.app);
    await server.dinpOk('apps', 'set', me.app, '--deploys', 'off');
    await me.commit(server.quickApp('one'));
    const push = await me.push();
    assert.deepEqual(
      [push.status, push.output],
      [
        0,
        `Stored COMMIT1. Deploys of shop are off; to turn them on: ssh -p PORT dinp@127.0.0.1 apps set shop --deploys on
To ssh://127.0.0.1:PORT/shop
 * [new branch]      master -> master
`,
      ],
    );
    assert.equal(server.ref(me.app, 'refs/heads/master'), me.commits[0]);
    assert.deepEqual(server.builds(me.app), [
      { number: 1, sha: me.commits[0], state: 'succeeded', stage: null, reason: 'deploys are off', release: null },
    ]);
    const again = await me.push();
    assert.deepEqual(
      [again.status, again.output],
      [0, 'COMMIT1 is stored; deploys of shop are off.\nEverything up-to-date\n'],
    );
    assert.deepEqual([server.releases(me.app), server.containers(me.app)], [[], []]);

    await server.dinpOk('apps', 'set', me.app, '--deploys', 'on');
    const told = await me.push();
    assert.equal(told.status, 1);
    assert.match(
      told.output,
      /Nothing is live\.\nTo deploy COMMIT1 again:\n\n {4}git push dinp master:refs\/deploy\/now/,
    );
    const now = await me.push('master:refs/deploy/now');
    assert.equal(now.status, 0, now.output);
    assert.deepEqual(await server.curl(me.app), { status: 200, body: 'one\n' });
    assert.deepEqual(await server.problems(), []);
  });
});
