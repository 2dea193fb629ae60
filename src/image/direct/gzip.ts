import { constants, crc32, createDeflateRaw } from 'node:zlib';

/** What is compressed as one piece. Part of the format: another size gives other bytes. */
const CHUNK = 1 << 20;
/** Pieces compressed at the same time: as many as libuv has threads. */
const AT_ONCE = 4;
/** How much room compressed bytes are given at a time. */
const PACKED_CHUNK = 64 * 1024;
/** Most bytes of one stored block of deflate. */
const MAX_STORED = 0xffff;
/** Bits a byte above which compressing is not worth its time: archives, images, random data. */
const MAX_ENTROPY = 7.9;
const SAMPLES = 16;
const SAMPLE = 4096;

/** No name, no time, compressed fast, of no particular system (RFC 1952). */
const HEADER = Buffer.from([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 4, 255]);
/** An empty last block: what says that no more blocks follow. */
const LAST_BLOCK = Buffer.from([0x03, 0x00]);

/**
 * Compresses a stream into one gzip member, several pieces of it at once on libuv's threads. Each piece of 1 MiB is compressed by itself at
 * level 1, or stored as it is where a sample shows that it would not get smaller; so the result depends on the bytes alone, not on how
 * they come, how many cores there are or how fast. (Level 1 is zlib's, whose choice of matches may change with its version and with
 * the kind of processor: the same Node on the same kind of machine gives the same bytes, another one may not. The content is equal anyway.)
 */
export async function* gzip(bytes: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  yield HEADER;
  const chunks = new ChunkPool();
  const packing: Promise<Iterable<Buffer>>[] = [];
  let crc = 0;
  let size = 0;
  for await (const chunk of chunks.fill(bytes)) {
    crc = crc32(chunk, crc);
    size += chunk.length;
    const packed = pack(chunk, () => chunks.release(chunk));
    // It is awaited when its turn comes; until then its failure is nobody's.
    packed.catch(() => {});
    packing.push(packed);
    if (packing.length >= AT_ONCE) yield* await packing.shift()!;
  }
  for (const packed of packing) yield* await packed;
  const trailer = Buffer.alloc(8);
  trailer.writeUInt32LE(crc, 0);
  trailer.writeUInt32LE(size % 2 ** 32, 4);
  yield Buffer.concat([LAST_BLOCK, trailer]);
}

/** Cuts a stream into pieces of exactly 1 MiB, and the rest. Their memory is used again: allocating it anew takes far more of it. */
class ChunkPool {
  readonly #free: Buffer[] = [];

  async *fill(bytes: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
    let chunk = this.#take();
    let filled = 0;
    for await (const piece of bytes) {
      for (let at = 0; at < piece.length; ) {
        const taken = piece.copy(chunk, filled, at);
        filled += taken;
        at += taken;
        if (filled < CHUNK) continue;
        yield chunk;
        chunk = this.#take();
        filled = 0;
      }
    }
    if (filled > 0) yield chunk.subarray(0, filled);
  }

  /** Gives a piece back that nobody reads any more. */
  release(chunk: Buffer): void {
    if (chunk.length === CHUNK) this.#free.push(chunk);
  }

  #take(): Buffer {
    return this.#free.pop() ?? Buffer.allocUnsafeSlow(CHUNK);
  }
}

/** @param release called when the chunk may be written over */
function pack(chunk: Buffer, release: () => void): Promise<Iterable<Buffer>> {
  if (entropy(chunk) > MAX_ENTROPY) return Promise.resolve(store(chunk, release));
  return deflate(chunk).finally(release);
}

/** Deflate blocks that end at a byte's edge, so that others can follow. */
async function deflate(chunk: Buffer): Promise<Buffer[]> {
  const stream = createDeflateRaw({ level: 1, finishFlush: constants.Z_SYNC_FLUSH, chunkSize: PACKED_CHUNK });
  stream.end(chunk);
  return Array.fromAsync(stream as AsyncIterable<Buffer>);
}

/** Stored blocks (RFC 1951, 3.2.4), none of them the last, made when they are asked for. */
function* store(chunk: Buffer, release: () => void): Generator<Buffer> {
  for (let at = 0; at < chunk.length; at += MAX_STORED) {
    const length = Math.min(MAX_STORED, chunk.length - at);
    const block = Buffer.allocUnsafeSlow(5 + length);
    block[0] = 0;
    block.writeUInt16LE(length, 1);
    block.writeUInt16LE(length ^ 0xffff, 3);
    chunk.copy(block, 5, at, at + length);
    yield block;
  }
  release();
}

/** Shannon's entropy of samples spread over a piece, bits a byte. */
function entropy(chunk: Buffer): number {
  const counts = new Uint32Array(256);
  const step = Math.max(SAMPLE, Math.floor(chunk.length / SAMPLES));
  let total = 0;
  for (let at = 0; at < chunk.length; at += step) {
    const end = Math.min(chunk.length, at + SAMPLE);
    for (let index = at; index < end; index++) counts[chunk[index]!]!++;
    total += end - at;
  }
  let bits = 0;
  for (const count of counts) if (count > 0) bits -= (count / total) * Math.log2(count / total);
  return bits;
}
