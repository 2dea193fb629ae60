import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { receiveFile } from '../../../../src/deploy/uploads/received-file.ts';
import { tempFolder } from '../../../support/temp-folder.ts';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;
const CHUNKS = 40;

test('What is written is let go: an upload is never in memory as a whole', async () => {
  const given: WeakRef<Uint8Array>[] = [];
  const held: number[] = [];
  async function* chunks(): AsyncGenerator<Uint8Array> {
    for (let i = 0; i < CHUNKS; i++) {
      const chunk = Buffer.alloc(64 * 1024, i);
      given.push(new WeakRef(chunk));
      yield chunk;
      await turn();
      collect();
      held.push(given.filter((one) => one.deref() !== undefined).length);
    }
  }
  const options = { maxSize: 1e9, stallMs: 60_000, totalMs: 60_000, signal: new AbortController().signal };
  const received = await receiveFile(join(tempFolder(), 'upload'), chunks(), options);
  assert.equal(received.size, CHUNKS * 64 * 1024);
  assert.ok(Math.max(...held) <= 5, `so many chunks were held, one after another: ${held.join(' ')}`);
});

test('A sender that is gone, or silent, ends it at once, and nothing is left', async () => {
  const path = join(tempFolder(), 'upload');
  const gone = new AbortController();
  async function* silent(): AsyncGenerator<Uint8Array> {
    yield Buffer.from('a');
    gone.abort();
    await new Promise(() => {});
  }
  const options = { maxSize: 1e9, stallMs: 60_000, totalMs: 60_000 };
  await assert.rejects(receiveFile(path, silent(), { ...options, signal: gone.signal }), { code: 'canceled' });
  const slow = { ...options, stallMs: 20, signal: new AbortController().signal };
  await assert.rejects(receiveFile(path, silent(), slow), { code: 'timeout' });
  assert.equal(existsSync(path), false);
});
