import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { startServer, type TestServer } from '../../support/dinp-server.ts';
import { makeGate } from '../../support/gate.ts';
import { until } from '../../support/until.ts';

describe('a push and its build', { concurrency: 2 }, () => {
  let server: TestServer;
  before(async () => {
    server = await startServer({ config: { builds: { parallel: 6 } } });
  });
  after(async () => {
    await server?.endTidily();
  });

  const finished = (app: string, number: number) =>
    until(`build #${number} of ${app} ends`, () => {
      const build = server.builds(app).find((each) => each.number === number);
      return build !== undefined && build.state !== 'waiting' && build.state !== 'running' ? build : undefined;
    });

  it('goes on after Ctrl-C, and the next push tells how it ended', async () => {
    await using gate = await makeGate();
    const me = await server.client();
    await me.commit(server.quickApp('one', `RUN ${gate.wait}`));
    const push = me.startPush();
    await gate.reached(push);
    push.interrupt();
    const { signal } = await push.ended;
    assert.equal(signal, 'SIGINT');
    assert.equal(server.builds(me.app)[0]?.state, 'running');
    gate.open();
    assert.equal((await finished(me.app, 1)).state, 'succeeded');

    const next = await me.push();
    assert.deepEqual(
      [next.status, next.output],
      [
        0,
        `Build #1 of COMMIT1, which went on after its push was left, released v1.
COMMIT1 is live as v1  http://shop.localhost:PORT  http://127.0.0.1:PORT
web.1 at 127.0.0.1:PORT
Everything up-to-date
`,
      ],
    );
    const last = await me.push();
    assert.doesNotMatch(last.output, /went on/);
  });

  it('is joined by a push of the same commit, from the first line on, as often as one likes', async () => {
    await using gate = await makeGate();
    const me = await server.client();
    await me.commit(server.quickApp('one', 'RUN echo before the gate', `RUN ${gate.wait}`));
    const push = me.startPush();
    await gate.reached(push);
    await push.shows('before the gate');
    push.interrupt();
    await push.ended;

    const joined = [me.startPush(), me.startPush()];
    for (const each of joined) await each.shows('before the gate');
    gate.open();
    for (const each of joined) {
      const { status, output } = me.pushed(await each.ended);
      assert.equal(status, 0, output);
      assert.match(
        output,
        /^Joining build #1 of COMMIT1; push options are not read where nothing is pushed\.\n-----> Reading COMMIT1 of shop/,
      );
      assert.match(
        output,
        /-----> Released v1 {2}http:\/\/shop\.localhost:PORT {2}\(0\.0 s\)\nEverything up-to-date\n$/,
      );
    }
    assert.equal(server.builds(me.app).length, 1);
    assert.doesNotMatch((await me.push()).output, /went on/);
  });

  it('is read by whoever asks for its log', async () => {
    await using gate = await makeGate();
    const me = await server.client();
    await me.commit(server.quickApp('one', `RUN ${gate.wait}`));
    const push = me.startPush();
    await gate.reached(push);
    const log = server.startSsh(['builds', 'log', me.app, '-f']);
    await log.shows('Making the image');
    gate.open();
    const [pushed, read] = await Promise.all([push.ended, log.ended]);
    assert.equal(read.status, 0);
    assert.ok(pushed.output.startsWith(read.stdout), `${pushed.output}\n---\n${read.stdout}`);
    assert.deepEqual((await server.ssh(['builds', 'log', me.app, '1'])).stdout, read.stdout);
  });

  it('waits for the one before it; the newest waiting push takes the place of the others, which end 1', async () => {
    await using gate = await makeGate();
    const me = await server.client();
    await me.commit(server.quickApp('one', `RUN ${gate.wait}`));
    const first = me.startPush();
    await gate.reached(first);

    await me.commit(server.quickApp('two'));
    const second = me.startPush();
    await second.shows('waits, number 1 in the queue');
    await me.commit(server.quickApp('three'));
    const third = me.startPush();
    const lost = me.pushed(await second.ended);
    assert.deepEqual(
      [lost.status, lost.output],
      [
        1,
        `-----> Build #2 waits, number 1 in the queue: build #1 of COMMIT1 runs first
Build #2 of COMMIT2 was superseded by build #3 of COMMIT3, pushed by me.
To ssh://127.0.0.1:PORT/shop
   COMMIT1..COMMIT2  master -> master
error: failed to push some refs to 'ssh://127.0.0.1:PORT/shop'
`,
      ],
    );
    gate.open();
    assert.equal((await first.ended).status, 0);
    const won = me.pushed(await third.ended);
    assert.equal(won.status, 0, won.output);
    assert.match(won.output, /^-----> Build #3 waits, number 1 in the queue: build #1 of COMMIT1 runs first\n/);
    assert.deepEqual(await server.curl(me.app), { status: 200, body: 'three\n' });
    assert.deepEqual(
      server.builds(me.app).map(({ state, release }) => [state, release]),
      [
        ['succeeded', 1],
        ['superseded', null],
        ['succeeded', 2],
      ],
    );
  });

  it('runs beside builds of other apps', async () => {
    await using gate = await makeGate();
    const slow = await server.client();
    await slow.commit(server.quickApp('slow', `RUN ${gate.wait}`));
    const push = slow.startPush();
    await gate.reached(push);
    const quick = await server.client();
    await quick.commit(server.quickApp('quick'));
    assert.equal((await quick.push()).status, 0);
    assert.equal(server.builds(slow.app)[0]?.state, 'running');
    gate.open();
    assert.equal((await push.ended).status, 0);
  });

  it('is canceled by "builds cancel": the push ends 1 and nothing of it goes on running', async () => {
    await using gate = await makeGate();
    const me = await server.client();
    await me.commit(server.quickApp('one'));
    await me.push();
    await me.commit(server.quickApp('two', `RUN ${gate.wait}`));
    const push = me.startPush();
    await gate.reached(push);
    const cancel = await server.dinp('builds', 'cancel', me.app);
    assert.deepEqual([cancel.status, me.stable(cancel.output)], [0, 'Canceled build 2 of shop.\n']);
    const { status, output } = me.pushed(await push.ended);
    assert.equal(status, 1);
    assert.match(output, /\n ! {5}Build #2 of shop [^\n]*canceled by operator/);
    await gate.left();
    assert.equal(server.builds(me.app)[1]?.state, 'canceled');
    assert.deepEqual(await server.curl(me.app), { status: 200, body: 'one\n' });
    const again = await me.push();
    assert.equal(again.status, 1);
    assert.match(again.output, /^Build #2 of COMMIT2 was canceled by operator\.\nv1 is live with commit COMMIT1\./);
  });

  it('is canceled while its instances start: they are removed and the old ones serve', async () => {
    await using gate = await makeGate();
    const me = await server.client();
    await me.commit(server.quickApp('one'));
    await me.push();
    const start = `CMD ["sh", "-c", "${gate.wait}; exec busybox httpd -f -p 8080 -h /www"]`;
    await me.commit({ Dockerfile: server.dockerfile().replace(/CMD .*/, start) });
    const push = me.startPush();
    await gate.reached(push);
    assert.equal((await server.ssh(['builds', 'cancel', me.app, '2'])).status, 0);
    assert.equal((await push.ended).status, 1);
    assert.deepEqual(server.containers(me.app), [`dinp-${me.app}--web--v1--1`]);
    assert.deepEqual(await server.curl(me.app), { status: 200, body: 'one\n' });
  });

  it('is canceled while it waits', async () => {
    await using gate = await makeGate();
    const me = await server.client();
    await me.commit(server.quickApp('one', `RUN ${gate.wait}`));
    const first = me.startPush();
    await gate.reached(first);
    await me.commit(server.quickApp('two'));
    const second = me.startPush();
    await second.shows('waits, number 1');
    const which = await server.ssh(['builds', 'cancel', me.app]);
    assert.notEqual(which.status, 0);
    assert.match(which.stderr, /2 builds of \S+ wait or run\./);
    assert.equal((await server.ssh(['builds', 'cancel', me.app, '2'])).status, 0);
    const { status, output } = me.pushed(await second.ended);
    assert.equal(status, 1);
    assert.match(output, /Canceled by me before it began\.\n/);
    gate.open();
    assert.equal((await first.ended).status, 0);
  });

  it('ends with its app, when that is destroyed while it builds', async () => {
    await using gate = await makeGate();
    const me = await server.client();
    await me.commit(server.quickApp('one', `RUN ${gate.wait}`));
    const push = me.startPush();
    await gate.reached(push);
    const destroy = await server.dinp('apps', 'destroy', me.app, '--confirm', me.app);
    assert.equal(destroy.status, 0, destroy.output);
    const { status } = await push.ended;
    assert.equal(status, 1);
    await gate.left();
    assert.deepEqual(server.containers(me.app), []);
    assert.equal((await server.ssh(['apps', 'info', me.app])).status, 1);
  });

  it('loses no request that was on its way to the old release when the traffic moved', async () => {
    await using gate = await makeGate();
    const me = await server.client();
    const slow = `#!/bin/sh\nprintf 'Content-Type: text/plain\\r\\n\\r\\n'\n${gate.wait} > /dev/null\ncat /www/index.html\n`;
    const files = (page: string) => ({
      ...server.quickApp(page, 'COPY slow /www/cgi-bin/slow'),
      slow: { executable: slow },
    });
    await me.commit(files('one'));
    await me.push();
    const request = server.curl(me.app, '/cgi-bin/slow');
    await gate.reached();
    await me.commit(files('two'));
    const push = me.startPush();
    await push.shows('Traffic goes to');
    // The answer takes this long after the switch; nothing waits for it here.
    setTimeout(gate.open, 1_500);
    assert.deepEqual(await request, { status: 200, body: 'one\n' });
    assert.equal((await push.ended).status, 0);
    assert.deepEqual(await server.curl(me.app), { status: 200, body: 'two\n' });
  });
});
