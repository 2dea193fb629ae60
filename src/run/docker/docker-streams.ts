import type { Duplex } from 'node:stream';
import type { ExecStreams } from '../target.ts';

/** One message of the engine's multiplexed output. */
export interface Frame {
  stream: 'stdout' | 'stderr';
  data: Buffer;
}

const HEADER = 8;
/** The engine writes frames of at most 32 KiB; more than this means that the stream is not what it should be. */
const MAX_FRAME = 4 * 1024 * 1024;

/**
 * Splits the engine's multiplexed stream into frames: a header of 8 bytes (stream number, three zeros, length as
 * big-endian 32 bits) before each (Docker Engine API, "Attach to a container"). What the engine itself has to say in
 * the middle of it (stream 3) is given as standard error. A frame that the end of the stream cuts off is given as far as it came.
 */
export async function* frames(source: AsyncIterable<Buffer>): AsyncGenerator<Frame> {
  let parts: Buffer[] = [];
  let have = 0;
  let need = HEADER;
  for await (const chunk of source) {
    parts.push(chunk);
    have += chunk.length;
    if (have < need) continue;
    let buffer = parts.length === 1 ? chunk : Buffer.concat(parts);
    for (;;) {
      if (buffer.length < HEADER) {
        need = HEADER;
        break;
      }
      const length = frameLength(buffer);
      need = HEADER + length;
      if (buffer.length < need) break;
      yield frameOf(buffer, length);
      buffer = buffer.subarray(need);
    }
    parts = [buffer];
    have = buffer.length;
  }
  const rest = Buffer.concat(parts);
  if (rest.length > HEADER) yield frameOf(rest, rest.length - HEADER);
}

function frameLength(buffer: Buffer): number {
  const length = buffer.readUInt32BE(4);
  if (buffer[0]! > 3 || length > MAX_FRAME) throw new Error('The Docker Engine sent output that is not multiplexed.');
  return length;
}

function frameOf(buffer: Buffer, length: number): Frame {
  return { stream: buffer[0]! >= 2 ? 'stderr' : 'stdout', data: buffer.subarray(HEADER, HEADER + length) };
}

/**
 * Carries data between an attached process and its streams until the process has closed its output.
 * Waits for the receivers, so a slow reader slows the process down instead of filling memory.
 */
export async function pump(socket: Duplex, streams: ExecStreams): Promise<void> {
  const abort = () => socket.destroy(new Error('aborted'));
  if (streams.signal.aborted) abort();
  streams.signal.addEventListener('abort', abort, { once: true });
  try {
    if (streams.stdin !== undefined) void feed(socket, streams.stdin);
    for await (const frame of frames(socket as AsyncIterable<Buffer>)) {
      if (frame.stream === 'stdout') await streams.onStdout(frame.data);
      else await streams.onStderr(frame.data);
    }
  } finally {
    streams.signal.removeEventListener('abort', abort);
    socket.destroy();
  }
}

/** Writes stdin and then closes that half only; the process may well end before it has read all of it. */
async function feed(socket: Duplex, stdin: AsyncIterable<Uint8Array>): Promise<void> {
  try {
    for await (const chunk of stdin) {
      if (!socket.writable) return;
      await new Promise<void>((resolve) => socket.write(chunk, () => resolve()));
    }
    socket.end();
  } catch (error) {
    socket.destroy(error instanceof Error ? error : new Error(String(error)));
  }
}
