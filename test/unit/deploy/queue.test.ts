import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { BuildQueue } from '../../../src/deploy/queue.ts';
import type { Build } from '../../../src/domain/build.ts';
import { DinpError } from '../../../src/domain/errors.ts';
import { BuildLogs } from '../../../src/store/build-log.ts';
import { openDatabase } from '../../../src/store/database.ts';
import { Store } from '../../../src/store/store.ts';
import { tempFolder } from '../../support/temp-folder.ts';

/** A queue whose builds do nothing until the test says so. */
function setUp(parallel = 2, folder = tempFolder()) {
  const store = new Store(openDatabase(join(folder, 'dinp.db')));
  const logs = new BuildLogs(join(folder, 'builds'));
  const running = new Map<number, PromiseWithResolvers<void>>();
  const internal: unknown[] = [];
  const queue = new BuildQueue({
    store,
    logs,
    parallel,
    run: async (build, _output, signal) => {
      const end = Promise.withResolvers<void>();
      running.set(build.id, end);
      signal.addEventListener('abort', () => end.reject(new Error('killed')));
      await end.promise.finally(() => running.delete(build.id));
    },
    forPusher: (text) => text,
    onInternalError: (_build, error) => internal.push(error),
    onFinished: () => undefined,
  });
  const app = (name: string) => store.apps.find(name) ?? store.apps.create(name);
  const push = (name: string, sha: string): Build =>
    queue.submit({
      appId: app(name).id,
      source: { kind: 'commit', sha: sha.repeat(40), ref: 'refs/heads/main' },
      noCache: false,
      by: 'me',
    });
  const end = async (build: Build, error?: unknown) => {
    const done = queue.settled(build.id);
    const run = running.get(build.id)!;
    if (error === undefined) run.resolve();
    else run.reject(error);
    await done;
  };
  const state = (build: Build) => store.builds.get(build.id).state;
  return { folder, store, logs, queue, running, internal, push, end, state };
}

async function read(logs: BuildLogs, build: Build): Promise<string> {
  let text = '';
  for await (const chunk of logs.follow(build.id, new AbortController().signal)) text += chunk.toString('utf8');
  return text;
}

test('an app builds one commit at a time, apps build side by side up to the limit', async () => {
  const { queue, push, end, state } = setUp(2);
  const shop = push('shop', 'a');
  const shopNext = push('shop', 'b');
  const blog = push('blog', 'a');
  const wiki = push('wiki', 'a');
  assert.deepEqual([shop, shopNext, blog, wiki].map(state), ['running', 'waiting', 'running', 'waiting']);
  assert.deepEqual(
    [shop, shopNext, wiki].map((build) => queue.position(build.id)),
    [undefined, 1, 2],
  );
  await end(blog);
  assert.deepEqual([shop, shopNext, blog, wiki].map(state), ['running', 'waiting', 'succeeded', 'running']);
  await end(shop);
  assert.equal(state(shopNext), 'running');
});

test('the newest waiting push takes the place of older waiting ones', async () => {
  const { logs, push, end, state, store } = setUp();
  push('blog', 'a');
  const first = push('shop', 'a');
  const second = push('shop', 'b');
  const third = push('shop', 'c');
  assert.deepEqual([first, second, third].map(state), ['running', 'superseded', 'waiting']);
  assert.equal(store.builds.get(second.id).supersededBy, third.number);
  assert.equal(await read(logs, second), 'Build #2 of bbbbbbb was superseded by build #3 of ccccccc, pushed by me.\n');
  await end(first);
  assert.equal(state(third), 'running');
});

test('a failure is told with detail and hint, and does not hold up the next build', async () => {
  const { logs, push, end, state, store, internal } = setUp();
  const build = push('shop', 'a');
  const next = push('shop', 'b');
  await end(
    build,
    new DinpError('build-failed', 'RUN make ended with status 2.', { detail: 'make: no rule', hint: 'Mend it.' }),
  );
  assert.equal(
    await read(logs, build),
    '\n !     Build #1 of shop failed: RUN make ended with status 2.\n\n         make: no rule\n\n !     Mend it.\n',
  );
  assert.equal(store.builds.get(build.id).reason, 'RUN make ended with status 2');
  assert.equal(state(next), 'running');
  assert.deepEqual(internal, []);
});

test('an error of ours is called one, and only the operator gets its text', async () => {
  const { logs, push, end, internal } = setUp();
  const build = push('shop', 'a');
  const error = new TypeError('x is undefined');
  await end(build, error);
  assert.match(await read(logs, build), /internal error \(build 1\)/);
  assert.deepEqual(internal, [error]);
});

test('cancel ends running and waiting builds, and refuses finished ones', async () => {
  const { queue, logs, push, state } = setUp();
  const build = push('shop', 'a');
  const waiting = push('shop', 'b');
  await queue.cancel(waiting.id, 'ann');
  await queue.cancel(build.id, 'ann');
  assert.deepEqual([state(build), state(waiting)], ['canceled', 'canceled']);
  assert.match(await read(logs, build), /canceled by ann/);
  await assert.rejects(queue.cancel(build.id, 'ann'), /build #1 of shop is not running: it was canceled by ann/);
});

test('cancel in the last moment says that the build was over first', async () => {
  const { queue, push, running, state } = setUp();
  const build = push('shop', 'a');
  running.get(build.id)!.resolve();
  await assert.rejects(queue.cancel(build.id, 'ann'), {
    code: 'refused',
    message: 'build #1 of shop was over first: it succeeded.',
  });
  assert.equal(state(build), 'succeeded');
});

test('what a dead server left is taken up by the next: running builds start over, waiting ones wait', () => {
  const before = setUp();
  const build = before.push('shop', 'a');
  const waiting = before.push('shop', 'b');
  before.store.close();
  const after = setUp(2, before.folder);
  after.queue.resume();
  assert.deepEqual([build, waiting].map(after.state), ['running', 'waiting']);
  assert.ok(after.running.has(build.id));
});

test('a queue that is closed starts nothing and leaves what runs for the next server', async () => {
  const { queue, push, end, state } = setUp();
  const build = push('shop', 'a');
  const next = push('shop', 'b');
  queue.close();
  await end(build, new Error('connection reset'));
  assert.deepEqual([state(build), state(next)], ['running', 'waiting']);
});

test('a build that failed for want of disk says so', async () => {
  const { logs, push, end, internal, store } = setUp();
  const build = push('shop', 'a');
  await end(build, Object.assign(new Error('database or disk is full'), { code: 'SQLITE_FULL' }));
  assert.equal(store.builds.get(build.id).reason, "the disk of the server's data folder is full");
  assert.match(await read(logs, build), /failed: the disk of the server's data folder is full\.\n ! {5}Make room/);
  assert.deepEqual(internal, []);
});

test('an app that is removed while it builds ends the build, not the server', async () => {
  const { push, end, store, internal, state } = setUp(1);
  const build = push('shop', 'a');
  const other = push('blog', 'a');
  store.apps.remove(build.appId);
  await end(build, new DinpError('build-failed', 'no.'));
  assert.equal(internal.length, 1);
  assert.equal(state(other), 'running');
});
