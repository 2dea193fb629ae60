import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import { describe, it } from 'node:test';
import { deserialize, serialize } from 'node:v8';
import fc from 'fast-check';
import { FrameDecoder, socketLink } from '../../../src/ssh/link.ts';

function frame(body: Buffer): Buffer {
  const header = Buffer.alloc(4);
  header.writeUInt32BE(body.length);
  return Buffer.concat([header, body]);
}

async function socketPair(): Promise<[net.Socket, net.Socket, () => void]> {
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const near = net.connect((server.address() as net.AddressInfo).port, '127.0.0.1');
  const [far] = (await once(server, 'connection')) as [net.Socket];
  return [near, far, () => server.close()];
}

describe('FrameDecoder', () => {
  it('gives the same messages however the bytes are cut', () => {
    const fields = {
      type: fc.string(),
      data: fc.uint8Array({ maxLength: 300 }),
      none: fc.constant(undefined),
    };
    const message = fc.record(fields, { noNullPrototype: true });
    fc.assert(
      fc.property(fc.array(message), fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1 }), (messages, sizes) => {
        const bytes = Buffer.concat(messages.map((one) => frame(serialize(one))));
        const decoder = new FrameDecoder(10_000);
        const got: unknown[] = [];
        for (let start = 0, i = 0; start < bytes.length; i++) {
          const size = sizes[i % sizes.length]!;
          got.push(...decoder.push(bytes.subarray(start, start + size)).map((body) => deserialize(body)));
          start += size;
        }
        assert.deepEqual(got, messages);
      }),
    );
  });

  it('refuses a frame over the limit before its body is there', () => {
    assert.throws(() => new FrameDecoder(100).push(Buffer.from([0, 0, 0, 101])), RangeError);
  });
});

describe('socketLink', () => {
  it('carries messages both ways and tells of the end', async () => {
    const [near, far, close] = await socketPair();
    const a = socketLink<unknown, unknown>(near);
    const b = socketLink<unknown, unknown>(far);
    const got: unknown[] = [];
    const { promise: ended, resolve } = Promise.withResolvers<void>();
    b.onMessage((message) => {
      got.push(message);
      b.send({ echo: message });
    });
    b.onClose(resolve);
    const answered = new Promise((done) => a.onMessage(done));
    a.send({ type: 'output', data: Buffer.from('x'), nothing: undefined });
    assert.deepEqual(await answered, { echo: got[0] });
    assert.deepEqual(got, [{ type: 'output', data: Buffer.from('x'), nothing: undefined }]);
    a.close();
    await ended;
    close();
  });

  it('hangs up on garbage', async () => {
    const [near, far, close] = await socketPair();
    const link = socketLink<unknown, unknown>(far);
    const ended = new Promise<void>((resolve) => link.onClose(resolve));
    near.on('error', () => {});
    near.write(frame(Buffer.from('no message of v8')));
    await ended;
    near.destroy();
    close();
  });
});
