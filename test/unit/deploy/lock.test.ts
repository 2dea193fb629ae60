import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Locks } from '../../../src/deploy/lock.ts';

test('work under one name runs one after another, first come first served', async () => {
  const locks = new Locks();
  const events: string[] = [];
  const { promise: gate, resolve: open } = Promise.withResolvers<void>();
  const first = locks.hold('shop', async () => {
    events.push('first begins');
    await gate;
    events.push('first ends');
  });
  const second = locks.hold(
    'shop',
    async () => events.push('second'),
    () => events.push('second waits'),
  );
  const third = locks.hold('shop', async () => events.push('third'));
  const other = locks.hold('blog', async () => events.push('other'));
  await other;
  open();
  await Promise.all([first, second, third]);
  assert.deepEqual(
    events.filter((event) => event !== 'other'),
    ['second waits', 'first begins', 'first ends', 'second', 'third'],
  );
});

test('a failure frees the lock and reaches its own caller only', async () => {
  const locks = new Locks();
  const failing = locks.hold('shop', () => Promise.reject(new Error('no')));
  const next = locks.hold('shop', async () => 'fine');
  await assert.rejects(failing, /no/);
  assert.equal(await next, 'fine');
});
