import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { PartialUploads } from '../../../../src/deploy/uploads/partial-uploads.ts';
import { Uploads } from '../../../../src/deploy/uploads/uploads.ts';
import { tempFolder } from '../../../support/temp-folder.ts';

const LIMITS = { maxSize: 100, stallMs: 2_000, totalMs: 4_000 };
const APP = { id: 7 };
const live = () => new AbortController().signal;

function setUp(limits: Partial<typeof LIMITS> = {}) {
  const folder = tempFolder();
  const uploads = new Uploads(folder, { ...LIMITS, ...limits });
  return { folder, uploads, halves: () => readdirSync(join(folder, 'receiving')) };
}

async function* pieces(...texts: string[]): AsyncGenerator<Uint8Array> {
  for (const text of texts) yield Buffer.from(text);
}

const hashOf = (text: string) => createHash('sha256').update(text).digest('hex');

test('a file is received, kept under its checksum, listed and removed', async () => {
  const { folder, uploads, halves } = setUp();
  const sha256 = hashOf('hello world');
  await using received = await uploads.receive(pieces('hello', ' ', 'world'), { signal: live(), sha256 });
  assert.deepEqual([received.size, received.sha256, halves().length], [11, sha256, 1]);
  uploads.keep(APP, received);
  assert.deepEqual(halves(), []);
  assert.equal(readFileSync(uploads.path(APP, sha256), 'utf8'), 'hello world');
  assert.equal(uploads.path(APP, sha256), join(folder, '7', sha256));
  assert.deepEqual(
    uploads.list(APP).map((each) => [each.sha256, each.size]),
    [[sha256, 11]],
  );
  assert.deepEqual(uploads.list({ id: 8 }), []);
  uploads.remove(APP, sha256);
  uploads.remove(APP, sha256);
  assert.throws(() => uploads.path(APP, sha256), { code: 'not-found' });
  uploads.removeAll(APP);
  assert.equal(existsSync(join(folder, '7')), false);
});

test('a received file that nobody keeps goes', async () => {
  const { uploads, halves } = setUp();
  {
    await using received = await uploads.receive(pieces('x'), { signal: live() });
    assert.equal(received.size, 1);
  }
  assert.deepEqual(halves(), []);
});

test('whatever fails leaves nothing', async () => {
  const { uploads, halves } = setUp({ stallMs: 50, totalMs: 300 });
  const gone = new AbortController();
  async function* cut(): AsyncGenerator<Uint8Array> {
    yield Buffer.from('half');
    gone.abort();
  }
  async function* broken(): AsyncGenerator<Uint8Array> {
    yield Buffer.from('half');
    throw new Error('connection lost');
  }
  async function* stalls(): AsyncGenerator<Uint8Array> {
    yield Buffer.from('half');
    await new Promise(() => {});
  }
  async function* drips(): AsyncGenerator<Uint8Array> {
    for (;;) {
      yield Buffer.from('.');
      await sleep(20);
    }
  }
  const receive = (stream: AsyncIterable<Uint8Array>, options: { signal?: AbortSignal; sha256?: string } = {}) =>
    uploads.receive(stream, { signal: live(), ...options });
  await assert.rejects(receive(cut(), { signal: gone.signal }), { code: 'canceled' });
  await assert.rejects(receive(pieces('all'), { signal: AbortSignal.abort() }), { code: 'canceled' });
  await assert.rejects(receive(broken()), { message: 'connection lost' });
  await assert.rejects(receive(stalls()), { code: 'timeout', message: /nothing came for 0\.05 s/ });
  await assert.rejects(receive(drips()), { code: 'timeout', message: /longer than 0\.3 s/ });
  await assert.rejects(receive(pieces('x'.repeat(100), 'y')), { code: 'too-large' });
  await assert.rejects(receive(pieces()), { code: 'refused', message: 'nothing came: it is empty.' });
  await assert.rejects(receive(pieces('x'), { sha256: hashOf('y') }), { code: 'refused', message: /was expected/ });
  assert.deepEqual(halves(), []);
});

test('a file of exactly the largest size is taken', async () => {
  const { uploads } = setUp();
  await using received = await uploads.receive(pieces('x'.repeat(60), 'x'.repeat(40)), { signal: live() });
  assert.equal(received.size, 100);
});

test('what a dead server left is swept, and nothing else', async () => {
  const { folder, uploads, halves } = setUp();
  await using received = await uploads.receive(pieces('kept'), { signal: live() });
  uploads.keep(APP, received);
  writeFileSync(join(folder, 'receiving', 'half'), 'ha');
  mkdirSync(join(folder, '9'));
  mkdirSync(join(folder, 'partial'));
  assert.deepEqual(uploads.sweep([APP]).sort(), [join(folder, '9'), join(folder, 'receiving', 'half')]);
  assert.deepEqual(halves(), []);
  assert.deepEqual(readdirSync(folder).sort(), ['7', 'partial', 'receiving']);
  assert.equal(uploads.list(APP).length, 1);
});

test('an upload in pieces goes on where it was cut', async () => {
  const folder = tempFolder();
  const partials = new PartialUploads(join(folder, 'partial'), LIMITS);
  const id = partials.begin(APP);
  assert.equal(partials.offset(APP, id), 0);
  assert.equal(await partials.append(APP, id, { offset: 0, stream: pieces('hello '), signal: live() }), 6);
  async function* broken(): AsyncGenerator<Uint8Array> {
    yield Buffer.from('wo');
    throw new Error('connection lost');
  }
  await assert.rejects(partials.append(APP, id, { offset: 6, stream: broken(), signal: live() }));
  assert.equal(partials.offset(APP, id), 8);
  await assert.rejects(partials.append(APP, id, { offset: 6, stream: pieces('world'), signal: live() }), {
    code: 'exists',
    message: 'the upload has 8 bytes, and this piece begins at 6.',
  });
  // A server that is started again knows it still.
  const again = new PartialUploads(join(folder, 'partial'), LIMITS);
  assert.equal(await again.append(APP, id, { offset: 8, stream: pieces('rld'), signal: live() }), 11);
  await assert.rejects(again.take(APP, id, join(folder, 'taken'), hashOf('hello')), { code: 'refused' });
  const received = await again.take(APP, id, join(folder, 'taken'), hashOf('hello world'));
  assert.deepEqual([received.size, received.sha256], [11, hashOf('hello world')]);
  assert.equal(readFileSync(received.path, 'utf8'), 'hello world');
  assert.throws(() => again.offset(APP, id), { code: 'not-found' });
});

test('an upload in pieces belongs to its app, takes one piece at a time, and has limits', async () => {
  const folder = tempFolder();
  const partials = new PartialUploads(folder, LIMITS);
  const id = partials.begin(APP);
  for (const wrong of [{ id: 8 }, { id: 70 }]) assert.throws(() => partials.offset(wrong, id), { code: 'not-found' });
  for (const wrong of ['', '..', '../7', `${id}0`, id.toUpperCase().replace(/[0-9]/g, 'G')])
    assert.throws(() => partials.offset(APP, wrong), { code: 'not-found' }, wrong);
  const { promise: goOn, resolve } = Promise.withResolvers<void>();
  async function* slow(): AsyncGenerator<Uint8Array> {
    yield Buffer.from('slow');
    await goOn;
  }
  const first = partials.append(APP, id, { offset: 0, stream: slow(), signal: live() });
  const second = partials.append(APP, id, { offset: 0, stream: pieces('fast'), signal: live() });
  await assert.rejects(second, { code: 'exists', message: 'another request is sending to this upload.' });
  await assert.rejects(partials.take(APP, id, join(folder, 'x'), undefined), { code: 'exists' });
  resolve();
  assert.equal(await first, 4);
  const long = { offset: 4, stream: pieces('x'.repeat(97)), signal: live() };
  await assert.rejects(partials.append(APP, id, long), { code: 'too-large' });
  for (let i = 0; i < 3; i++) partials.begin(APP);
  assert.throws(() => partials.begin(APP), { code: 'refused' });
  partials.begin({ id: 70 });
  const old = new Date(Date.now() - 25 * 3_600_000);
  utimesSync(join(folder, `7-${id}`), old, old);
  partials.begin(APP);
  assert.throws(() => partials.offset(APP, id), { code: 'not-found' });
});
