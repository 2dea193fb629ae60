import assert from 'node:assert/strict';
import { EventEmitter, once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { Readable } from 'node:stream';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { ContextDoor } from '../../../../src/image/host/context-door.ts';

const SHA = 'a'.repeat(40);
const MINUTE = 60_000;
const door = new ContextDoor();
/** Brings connections to the door, as an SSH connection does. */
const way = createServer((socket) => door.serve(socket));

before(async () => {
  await once(way.listen(0, '127.0.0.1'), 'listening');
});
after(() => way.close());

async function get(path: string, token?: string, method = 'GET'): Promise<{ status: number; text: string }> {
  const headers = { connection: 'close', ...(token === undefined ? {} : { authorization: `Bearer ${token}` }) };
  const answer = await fetch(`http://127.0.0.1:${(way.address() as AddressInfo).port}${path}`, { method, headers });
  return { status: answer.status, text: await answer.text() };
}

function issue(options: { content?: () => Readable; timeoutMs?: number } = {}) {
  const { content = () => Readable.from(['the context']), timeoutMs = MINUTE } = options;
  return door.issue('blog', SHA, content, timeoutMs);
}

test('a token gives the context of its app and commit, once', async () => {
  using ticket = issue();
  assert.equal(ticket.path, `/contexts/blog/${SHA}.tar`);
  assert.deepEqual(await get(ticket.path, ticket.token), { status: 200, text: 'the context' });
  assert.equal((await get(ticket.path, ticket.token)).status, 401);
});

test('nothing without a token, with another, for another app or commit, or by another method', async () => {
  using ticket = issue();
  using other = door.issue('shop', 'b'.repeat(40), () => Readable.from(['another']), MINUTE);
  assert.equal((await get(ticket.path)).status, 401);
  assert.equal((await get(ticket.path, 'x'.repeat(43))).status, 401);
  assert.equal((await get(other.path, ticket.token)).status, 403);
  assert.equal((await get(`/contexts/shop/${SHA}.tar`, ticket.token)).status, 403);
  assert.equal((await get(`/contexts/blog/${'c'.repeat(40)}.tar`, ticket.token)).status, 403);
  assert.equal((await get('/', ticket.token)).status, 403);
  assert.equal((await get(ticket.path, ticket.token, 'POST')).status, 405);
  assert.equal((await get(ticket.path, ticket.token)).status, 200);
});

test('while it is read, nobody else can read it', async () => {
  const slow = new Readable({ read() {} });
  const opened = new EventEmitter();
  const content = () => {
    opened.emit('opened');
    return slow;
  };
  using ticket = issue({ content });
  const isOpen = once(opened, 'opened');
  const first = get(ticket.path, ticket.token);
  await isOpen;
  slow.push('begun, ');
  assert.equal((await get(ticket.path, ticket.token)).status, 503);
  slow.push('done');
  slow.push(null);
  assert.deepEqual(await first, { status: 200, text: 'begun, done' });
});

test('a token ends with its time, and with its build', async () => {
  using late = issue({ timeoutMs: 1 });
  await sleep(2);
  assert.equal((await get(late.path, late.token)).status, 401);
  const over = issue();
  over[Symbol.dispose]();
  assert.equal((await get(over.path, over.token)).status, 401);
});

test('a context that breaks off is not taken for a whole one, and can be asked for again', async () => {
  let tries = 0;
  const content = () =>
    Readable.from(
      (function* () {
        yield 'a part, ';
        if (++tries === 1) throw new Error('the file is gone');
        yield 'and the rest';
      })(),
    );
  using ticket = issue({ content });
  await assert.rejects(get(ticket.path, ticket.token));
  assert.deepEqual(await get(ticket.path, ticket.token), { status: 200, text: 'a part, and the rest' });
});
