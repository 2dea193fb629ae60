import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Stage } from '../../../src/domain/build.ts';
import { startAdminProxy } from '../../support/admin-proxy.ts';
import { parentOf, startServer, type TestServer } from '../../support/dinp-server.ts';
import { type Gate, makeGate } from '../../support/gate.ts';
import type { GitClient } from '../../support/git-client.ts';
import { until } from '../../support/until.ts';

/** Brings a second push of an app to where the server shall die, and says how to go on from there. */
type Arrange = (server: TestServer, me: GitClient, gate: Gate) => Promise<() => void>;

/** Waits, without ever giving the processor away for long, until the newest build is in a stage (or beyond it). */
async function stageOf(server: TestServer, app: string, number: number, stage: Stage): Promise<void> {
  const late: Stage[] = ['checkout', 'detect', 'build', 'release', 'start', 'route'];
  await until(`build #${number} is in stage ${stage}`, () => {
    const build = server.builds(app).find((each) => each.number === number);
    return build?.stage != null && late.indexOf(build.stage) >= late.indexOf(stage);
  });
}

const STAGES: Record<string, Arrange> = {
  async checkout(server, me) {
    const hold = server.hold('ls-tree');
    me.startPush();
    await hold.reached();
    assert.equal(server.builds(me.app)[1]?.stage, 'checkout');
    return hold.release;
  },
  async detect(server, me) {
    await me.commit({ 'dinp.yml': 'memory: 64M\n' });
    const hold = server.hold('cat-file');
    me.startPush();
    await hold.reached();
    assert.equal(server.builds(me.app)[1]?.stage, 'detect');
    return hold.release;
  },
  // It takes milliseconds, and nothing can be held in it: killed as soon as it is seen.
  async release(server, me) {
    me.startPush();
    await stageOf(server, me.app, 2, 'release');
    return () => {};
  },
  async build(server, me, gate) {
    await me.commit({ Dockerfile: server.dockerfile(`RUN ${gate.wait}`) });
    me.startPush();
    await gate.reached();
    return gate.open;
  },
  async start(server, me, gate) {
    const command = `CMD ["sh", "-c", "${gate.wait}; exec busybox httpd -f -p 8080 -h /www"]`;
    await me.commit({ Dockerfile: server.dockerfile().replace(/CMD .*/, command) });
    me.startPush();
    await gate.reached();
    assert.equal(server.builds(me.app)[1]?.stage, 'start');
    return gate.open;
  },
  async route(server, me) {
    process.kill(server.caddy.pid(), 'SIGSTOP');
    me.startPush();
    await stageOf(server, me.app, 2, 'route');
    return () => process.kill(server.caddy.pid(), 'SIGCONT');
  },
};

describe('kill -9 of the server', { concurrency: 2 }, () => {
  for (const [stage, arrange] of Object.entries(STAGES)) {
    it(`in stage ${stage}: the old release serves, and the build goes on with the next start`, async () => {
      await using gate = await makeGate();
      await using server = await startServer();
      const me = await server.client();
      await me.commit(server.quickApp('one'));
      assert.equal((await me.push()).status, 0);
      await me.commit(server.quickApp('two'));

      const goOn = await arrange(server, me, gate);
      await server.kill();
      goOn();
      const page = await server.curl(me.app);
      assert.ok(['one\n', 'two\n'].includes(page.body), `${page.status} ${page.body}`);

      await server.start();
      const end = await until('the build ends', () => {
        const build = server.builds(me.app)[1];
        return build?.state === 'succeeded' || build?.state === 'failed' ? build : undefined;
      });
      if (end.state === 'failed') assert.ok(end.reason, 'a failed build has a reason');
      else assert.deepEqual(await server.curl(me.app), { status: 200, body: 'two\n' });
      assert.equal(end.state, 'succeeded');
      assert.equal(end.sha, me.commits.at(-1));
      assert.equal(server.ref(me.app, 'refs/heads/master'), me.commits.at(-1));
      const live = server.releases(me.app).filter(({ state }) => state === 'live');
      assert.deepEqual(
        live.map(({ number }) => number),
        [end.release],
      );
      const again = await me.push();
      assert.equal(again.status, 0, again.output);
      assert.match(again.output, /is live as v\d/);
      await until('nothing else runs', async () => (await server.problems()).length === 0 || undefined).catch(
        async () => assert.deepEqual(await server.problems(), []),
      );
      assert.equal(server.builds(me.app).length, 2);
    });
  }
});

describe('kill -9 of the server between the switch of the traffic and its record', () => {
  it('brings the traffic back before the new instances go, and deploys again', async () => {
    await using proxy = await startAdminProxy();
    await using server = await startServer({ config: { router: { caddy: proxy.url } } });
    proxy.target = server.caddy.admin;
    const me = await server.client();
    await me.commit(server.quickApp('one'));
    await me.push();
    await me.commit(server.quickApp('two'));
    const changed = proxy.withhold();
    me.startPush();
    await changed;
    assert.deepEqual(await server.curl(me.app), { status: 200, body: 'two\n' });
    await server.kill();
    assert.deepEqual(await server.curl(me.app), { status: 200, body: 'two\n' });
    proxy.answer();

    const pages = new Set<string>();
    const restart = server.start();
    await until('the build ends', async () => {
      const { status, body } = await server.curl(me.app);
      pages.add(`${status} ${body}`);
      return server.builds(me.app)[1]?.state === 'succeeded';
    });
    await restart;
    assert.deepEqual(
      [...pages].filter((page) => page !== '200 one\n' && page !== '200 two\n'),
      [],
    );
    assert.deepEqual(await server.curl(me.app), { status: 200, body: 'two\n' });
    assert.deepEqual(
      server.releases(me.app).map(({ number, state }) => [number, state]),
      [
        [1, 'past'],
        [2, 'failed'],
        [3, 'live'],
      ],
    );
    assert.deepEqual(await server.problems(), []);
  });
});

describe('kill -9 of the server at the first push', () => {
  it('in stage build: the app has its first release after the next start', async () => {
    await using gate = await makeGate();
    await using server = await startServer();
    const me = await server.client();
    await me.commit(server.quickApp('one', `RUN ${gate.wait}`));
    const push = me.startPush();
    await gate.reached(push);
    await server.kill();
    const { status, output } = me.pushed(await push.ended);
    assert.notEqual(status, 0);
    assert.match(output, /the server stopped; push again to see the result/);
    await server.start();
    const joined = me.startPush();
    await joined.shows('The server was restarted in the middle of this build; it starts over.');
    gate.open();
    assert.equal((await joined.ended).status, 0);
    assert.deepEqual(await server.curl(me.app), { status: 200, body: 'one\n' });
    assert.deepEqual(await server.problems(), []);
  });
});

describe('kill -9 of an SSH worker', { concurrency: 2 }, () => {
  it('before git has received the push: nothing moved, and the push that is tried again goes well', async () => {
    await using server = await startServer();
    const me = await server.client();
    await me.commit(server.quickApp('one'));
    const hold = server.hold('before-receive');
    const push = me.startPush();
    const git = await hold.reached();
    process.kill(parentOf(git)!, 'SIGKILL');
    const { status } = await push.ended;
    assert.notEqual(status, 0);
    hold.release();
    assert.equal(server.ref(me.app, 'refs/heads/master'), undefined);
    assert.deepEqual(server.builds(me.app), []);
    const again = await me.push();
    assert.equal(again.status, 0, again.output);
    assert.match(again.output, /Released v1/);
    assert.deepEqual(await server.problems(), []);
  });

  it('after the ref moved and before anybody heard of it: the commit is built all the same', async () => {
    await using server = await startServer();
    const me = await server.client();
    await me.commit(server.quickApp('one'));
    const hold = server.hold('after-receive');
    const push = me.startPush();
    const git = await hold.reached();
    assert.equal(server.ref(me.app, 'refs/heads/master'), me.commits[0]);
    process.kill(parentOf(git)!, 'SIGKILL');
    assert.notEqual((await push.ended).status, 0);
    hold.release();
    const build = await until('its build succeeds', () =>
      server.builds(me.app).find(({ state }) => state === 'succeeded'),
    );
    assert.equal(build.sha, me.commits[0]);
    assert.deepEqual(await server.curl(me.app), { status: 200, body: 'one\n' });
    const again = await me.push();
    assert.equal(again.status, 0, again.output);
    assert.match(again.output, /COMMIT1 is live as v1/);
    assert.deepEqual(await server.problems(), []);
  });

  it('while a build is watched: the build goes on, and the next push joins it', async () => {
    await using gate = await makeGate();
    await using server = await startServer();
    const me = await server.client();
    await me.commit(server.quickApp('one', `RUN ${gate.wait}`));
    const push = me.startPush();
    await gate.reached(push);
    const before = server.workers();
    for (const worker of before) process.kill(worker, 'SIGKILL');
    assert.notEqual((await push.ended).status, 0);
    await until('new workers serve', () => server.workers().filter((pid) => !before.includes(pid)).length >= 1);
    const joined = me.startPush();
    await joined.shows('Joining build #1');
    gate.open();
    assert.equal((await joined.ended).status, 0);
    assert.deepEqual(await server.problems(), []);
  });
});

describe('kill -9 of the server between the move of a ref and its build', () => {
  it('builds the commit at the next start', async () => {
    await using server = await startServer();
    const me = await server.client();
    await me.commit(server.quickApp('one'));
    await me.push();
    await me.commit(server.quickApp('two'));
    const hold = server.hold('after-receive');
    const push = me.startPush();
    await hold.reached();
    await server.kill();
    hold.release();
    assert.notEqual((await push.ended).status, 0);
    assert.equal(server.ref(me.app, 'refs/heads/master'), me.commits[1]);
    assert.equal(server.builds(me.app).length, 1);
    await server.start();
    await until('its build succeeds', () => server.builds(me.app)[1]?.state === 'succeeded');
    assert.deepEqual(await server.curl(me.app), { status: 200, body: 'two\n' });
    assert.deepEqual(await server.problems(), []);
  });
});
