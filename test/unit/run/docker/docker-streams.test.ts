import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type Frame, frames } from '../../../../src/run/docker/docker-streams.ts';

function encode({ stream, data }: { stream: Frame['stream']; data: Uint8Array }): Buffer {
  const header = Buffer.from([stream === 'stderr' ? 2 : 1, 0, 0, 0, 0, 0, 0, 0]);
  header.writeUInt32BE(data.length, 4);
  return Buffer.concat([header, data]);
}

async function read(chunks: Buffer[]): Promise<Frame[]> {
  const found: Frame[] = [];
  for await (const { stream, data } of frames(
    (async function* () {
      yield* chunks;
    })(),
  ))
    found.push({ stream, data: Buffer.from(data) });
  return found;
}

const frame = fc
  .tuple(fc.constantFrom('stdout' as const, 'stderr' as const), fc.uint8Array({ maxLength: 50 }))
  .map(([stream, bytes]) => ({ stream, data: Buffer.from(bytes) }));

test('frames come out as they were put in, wherever chunks are cut', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(frame), fc.array(fc.nat(200)), async (sent, cuts) => {
      const whole = Buffer.concat(sent.map(encode));
      const places = [0, ...cuts.filter((cut) => cut < whole.length).sort((a, b) => a - b), whole.length];
      const chunks = places.slice(1).map((end, i) => whole.subarray(places[i], end));
      assert.deepEqual(await read(chunks), sent);
    }),
  );
});

test('what comes before a cut is not lost', async () => {
  const cut = encode({ stream: 'stderr', data: Buffer.from('half a sentence') }).subarray(0, 12);
  assert.deepEqual(await read([cut]), [{ stream: 'stderr', data: Buffer.from('half') }]);
});

test('a stream without frames is refused rather than collected', async () => {
  await assert.rejects(read([Buffer.from('HTTP/1.1 500 oh no\n')]), /not multiplexed/);
});
