import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { describe, it } from 'node:test';
import { setImmediate as breath } from 'node:timers/promises';
import { gunzipSync } from 'node:zlib';
import { gzip } from '../../../../src/image/direct/gzip.ts';

async function* pieces(bytes: Buffer, length: number): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += length) {
    if (at % 7 === 0) await breath();
    yield bytes.subarray(at, at + length);
  }
}

async function packed(bytes: Buffer, length = 65_536): Promise<Buffer> {
  return Buffer.concat(await Array.fromAsync(gzip(pieces(bytes, length))));
}

const text = Buffer.from(Array.from({ length: 200_000 }, (_, at) => `line ${(at * 7919) % 10_007}\n`).join(''));
const MEBI = 1 << 20;

describe('gzip', () => {
  it('is read by others as one member, whatever the length', async () => {
    for (const length of [0, 1, 511, MEBI - 1, MEBI, MEBI + 1, text.length]) {
      const bytes = text.subarray(0, length);
      const gz = await packed(bytes);
      assert.deepEqual(gunzipSync(gz), bytes, `${length} bytes`);
      assert.deepEqual(execFileSync('gzip', ['-dc'], { input: gz, maxBuffer: 16 * MEBI }), bytes);
    }
  });

  it('depends on the bytes alone, not on how they come', async () => {
    const bytes = Buffer.concat([text, randomBytes(3 * MEBI), text.subarray(0, 5000)]);
    const digest = async (length: number): Promise<string> =>
      createHash('sha256')
        .update(await packed(bytes, length))
        .digest('hex');
    const whole = await digest(bytes.length);
    for (const length of [999, 65_536, MEBI, MEBI + 1]) assert.equal(await digest(length), whole);
  });

  it('stores what would not get smaller, and shrinks the rest', async () => {
    const random = randomBytes(4 * MEBI);
    const stored = await packed(random);
    assert.deepEqual(gunzipSync(stored), random);
    assert.ok(stored.length < random.length * 1.0002, `${stored.length}`);
    assert.ok(stored.includes(random.subarray(100, 60_000)), 'the bytes are there as they are');
    assert.ok((await packed(text)).length < text.length / 3);
  });

  it('passes on why its bytes could not be read, and ends the reading when it is left', async () => {
    let ended = false;
    const source = async function* (): AsyncGenerator<Buffer> {
      try {
        for (let at = 0; ; at++) {
          if (at === 40) throw new Error('no more');
          yield randomBytes(MEBI / 4);
        }
      } finally {
        ended = true;
      }
    };
    await assert.rejects(Array.fromAsync(gzip(source())), /no more/);
    ended = false;
    for await (const _piece of gzip(source())) break;
    for await (const piece of gzip(source())) if (piece.length > 100) break;
    assert.equal(ended, true);
  });
});
