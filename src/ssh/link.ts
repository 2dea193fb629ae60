import type { ChildProcess } from 'node:child_process';
import type { Duplex } from 'node:stream';
import { deserialize, serialize } from 'node:v8';
import type { Link } from './protocol.ts';

/**
 * The link between a process and one it forked with `serialization: 'advanced'`; either end.
 * @param end the child, or `process` in the child itself
 */
export function ipcLink<Out, In>(end: ChildProcess | NodeJS.Process): Link<Out, In> {
  // `process` and ChildProcess share these members, but their types have no common name.
  const port = end as ChildProcess;
  // A child that died a moment ago must not take the sender with it: its end is told by `disconnect`.
  port.on('error', () => {});
  return {
    send: (message) => {
      if (port.connected) port.send(message as never, () => {});
    },
    onMessage: (listener) => {
      port.on('message', (message) => listener(message as In));
    },
    onClose: (listener) => {
      if (port.connected) port.once('disconnect', listener);
      else queueMicrotask(listener);
    },
    close: () => {
      if (port.connected) port.disconnect();
    },
  };
}

const HEADER = 4;
/** Largest message over a socket, in bytes; far above the windows of protocol.ts. */
const MAX_FRAME = 4 * 1024 * 1024;

/** A link over a stream socket: each message is its length (4 bytes, big endian) and what v8.serialize makes of it. */
export function socketLink<Out, In>(socket: Duplex, maxFrame = MAX_FRAME): Link<Out, In> {
  const listeners: ((message: In) => void)[] = [];
  const decoder = new FrameDecoder(maxFrame);
  socket.on('error', () => {});
  socket.on('data', (chunk: Buffer) => {
    try {
      for (const frame of decoder.push(chunk)) {
        const message = deserialize(frame) as In;
        for (const listener of listeners) listener(message);
      }
    } catch (error) {
      socket.destroy(error as Error);
    }
  });
  // The other end has nothing more to say, so there is nobody to answer.
  socket.on('end', () => socket.destroy());
  return {
    send: (message) => {
      if (socket.destroyed || socket.writableEnded) return;
      const body = serialize(message);
      if (body.length > maxFrame) throw new RangeError(`a message of ${body.length} bytes is over ${maxFrame}`);
      const header = Buffer.allocUnsafe(HEADER);
      header.writeUInt32BE(body.length);
      socket.cork();
      socket.write(header);
      socket.write(body);
      socket.uncork();
    },
    onMessage: (listener) => {
      listeners.push(listener);
    },
    onClose: (listener) => {
      if (socket.closed) queueMicrotask(listener);
      else socket.once('close', listener);
    },
    close: () => {
      socket.end();
    },
  };
}

/** Cuts a stream of bytes into the frames of socketLink, however the bytes arrive. */
export class FrameDecoder {
  readonly #maxFrame: number;
  #pieces: Buffer[] = [];
  #size = 0;

  constructor(maxFrame: number) {
    this.#maxFrame = maxFrame;
  }

  /** Takes the next bytes, gives the bodies of the frames they complete. @throws RangeError for a frame over the limit */
  push(chunk: Buffer): Buffer[] {
    this.#pieces.push(chunk);
    this.#size += chunk.length;
    const frames: Buffer[] = [];
    for (let length = this.#nextLength(); length !== undefined && this.#size >= HEADER + length; ) {
      const data = this.#joined();
      frames.push(data.subarray(HEADER, HEADER + length));
      this.#pieces = data.length === HEADER + length ? [] : [data.subarray(HEADER + length)];
      this.#size = data.length - HEADER - length;
      length = this.#nextLength();
    }
    return frames;
  }

  #nextLength(): number | undefined {
    if (this.#size < HEADER) return undefined;
    if (this.#pieces[0]!.length < HEADER) this.#joined();
    const length = this.#pieces[0]!.readUInt32BE();
    if (length > this.#maxFrame) throw new RangeError(`a frame of ${length} bytes is over ${this.#maxFrame}`);
    return length;
  }

  #joined(): Buffer {
    if (this.#pieces.length > 1) this.#pieces = [Buffer.concat(this.#pieces)];
    return this.#pieces[0]!;
  }
}
