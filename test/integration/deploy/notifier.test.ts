import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import type { ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { ServerEvent } from '../../../src/deploy/watch/events.ts';
import { Notifier, retryPause } from '../../../src/deploy/watch/notifier.ts';
import { openDatabase } from '../../../src/store/database.ts';
import { Store } from '../../../src/store/store.ts';
import { until } from '../../support/until.ts';
import { startWebhook, type Taken } from '../../support/webhook.ts';

/** A webhook whose answers the test decides, and a store that outlives notifiers. */
async function setUp(context: TestContext, answer: (res: ServerResponse, count: number) => void) {
  const folder = mkdtempSync(join(tmpdir(), 'dinp-notifier-'));
  const store = new Store(openDatabase(join(folder, 'dinp.db')));
  const reports: unknown[][] = [];
  const hook = await startWebhook(answer);
  const { url, taken } = hook;
  const start = (more: { timeoutMs?: number; secret?: string; url?: string } = {}) => {
    const notifier = new Notifier({
      notifications: store.notifications,
      url,
      secret: 'key',
      timeoutMs: 5_000,
      server: 'deploy.example.com',
      report: (...said) => reports.push(said),
      ...more,
    });
    context.after(() => notifier.close());
    return notifier;
  };
  context.after(async () => {
    await hook[Symbol.asyncDispose]();
    store.close();
    rmSync(folder, { recursive: true });
  });
  return { store, taken, reports, start };
}

function event(text: string): ServerEvent {
  return { event: 'deploy.succeeded', text, app: 'blog', more: { deploy: { release: 3 } } };
}

const textsOf = (taken: Taken[]) => taken.map(({ body }) => (JSON.parse(body) as { text: string }).text);

test('an event is one POST of JSON with the HMAC of its bytes', async (t) => {
  const { taken, start, store } = await setUp(t, (res) => res.end());
  start().tell(event('blog: v3 is live (größer)'));
  await until('it is taken', () => taken.length === 1 && store.notifications.oldest() === undefined);
  const { headers, body } = taken[0]!;
  const hmac = createHmac('sha256', 'key').update(Buffer.from(body)).digest('hex');
  assert.equal(headers['x-dinp-signature'], `sha256=${hmac}`);
  assert.equal(headers['x-dinp-event'], 'deploy.succeeded');
  assert.equal(headers['content-type'], 'application/json');
  const { id, at, ...rest } = JSON.parse(body) as Record<string, unknown>;
  assert.match(String(id), /^[0-9a-f-]{36}$/);
  assert.ok(Math.abs(Date.parse(String(at)) - Date.now()) < 60_000);
  assert.deepEqual(rest, {
    event: 'deploy.succeeded',
    server: 'deploy.example.com',
    text: 'blog: v3 is live (größer)',
    app: 'blog',
    deploy: { release: 3 },
  });
});

test('what is not taken is sent again, before all that came later', async (t) => {
  const { taken, start, reports } = await setUp(t, (res, count) => res.writeHead(count === 1 ? 500 : 204).end());
  const notifier = start();
  for (const text of ['a', 'b', 'c']) notifier.tell(event(text));
  await until('all are taken', () => taken.length === 4);
  assert.deepEqual(textsOf(taken), ['a', 'a', 'b', 'c']);
  assert.equal(taken[0]!.body, taken[1]!.body, 'with the same id');
  await until('the operator reads of both', () => reports.length === 2);
  assert.deepEqual(reports[0], [
    'the webhook did not take an event; it is tried again',
    { problem: 'it answered 500' },
  ]);
});

test('a webhook that never answers holds up nobody but itself, and is asked again', async (t) => {
  const { taken, start } = await setUp(t, (res, count) => count > 1 && res.end());
  const notifier = start({ timeoutMs: 100 });
  notifier.tell(event('a'));
  await until('it is taken at the second try', () => taken.length === 2);
  assert.deepEqual(textsOf(taken), ['a', 'a']);
});

test('redirects are not followed, and what waits outlives a restart', async (t) => {
  const { taken, start, store, reports } = await setUp(t, (res, count) =>
    count === 1 ? res.writeHead(302, { location: 'http://127.0.0.1:1/' }).end() : res.end(),
  );
  const first = start();
  first.tell(event('a'));
  await until('it was refused', () => reports.length > 0);
  assert.deepEqual(reports[0]?.[1], { problem: 'it answered 302' });
  first.close();
  first.tell(event('b'));
  assert.equal(store.notifications.oldest()?.event, 'deploy.succeeded');
  start({ secret: 'another' }).deliver();
  await until('both are taken', () => taken.length === 3);
  assert.deepEqual(textsOf(taken), ['a', 'a', 'b']);
});

test('only so many events wait: the oldest go', async (t) => {
  const { store } = await setUp(t, (res) => res.end());
  const add = (i: number) => store.notifications.add({ event: `e${i}`, body: '{}', createdAt: i }, 3);
  assert.deepEqual([1, 2, 3, 4, 5].map(add), [0, 0, 0, 1, 1]);
  assert.equal(store.notifications.oldest()?.event, 'e3');
});

test('the pauses between tries double up to five minutes', () => {
  assert.deepEqual(
    [1, 2, 3, 8, 9, 10, 99].map((failures) => retryPause(failures) / 1_000),
    [1, 2, 4, 128, 256, 300, 300],
  );
});
