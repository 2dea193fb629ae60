import { randomBytes } from 'node:crypto';
import { type FileHandle, open, unlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DinpError } from '../../domain/errors.ts';

const CHUNK = 256 * 1024;
const FLUSH_AT = 1024 * 1024;

/** A file that is read at any place, by its descriptor alone. Disposing closes it. */
export class ByteFile implements AsyncDisposable {
  readonly #handle: FileHandle;
  #size: number;
  /** Where it begins in the file behind it. */
  readonly #start: number;

  protected constructor(handle: FileHandle, size: number, start = 0) {
    this.#handle = handle;
    this.#size = size;
    this.#start = start;
  }

  /** Opens a file that stays as it is. */
  static async open(path: string): Promise<ByteFile> {
    const handle = await open(path, 'r');
    return new ByteFile(handle, (await handle.stat()).size);
  }

  /** The same file without its first bytes; closed with this one. */
  from(start: number): ByteFile {
    return new ByteFile(this.#handle, Math.max(0, this.#size - start), this.#start + start);
  }

  /** Bytes. */
  get size(): number {
    return this.#size;
  }

  /** `length` bytes at `offset`; fewer at the end of the file. */
  async read(offset: number, length: number): Promise<Buffer> {
    const buffer = Buffer.allocUnsafe(Math.max(0, Math.min(length, this.#size - offset)));
    let filled = 0;
    while (filled < buffer.length) {
      const at = this.#start + offset + filled;
      const { bytesRead } = await this.#handle.read(buffer, filled, buffer.length - filled, at);
      if (bytesRead === 0) break;
      filled += bytesRead;
    }
    return buffer.subarray(0, filled);
  }

  /** The same as a stream, for ranges that may be large. */
  async *stream(offset: number, length: number): AsyncGenerator<Buffer> {
    const end = Math.min(this.#size, offset + length);
    for (let at = offset; at < end; ) {
      const chunk = await this.read(at, Math.min(CHUNK, end - at));
      if (chunk.length === 0) return;
      at += chunk.length;
      yield chunk;
    }
  }

  protected async appendBytes(chunks: Buffer[]): Promise<void> {
    for (const chunk of chunks) {
      for (let written = 0; written < chunk.length; ) {
        const { bytesWritten } = await this.#handle.write(chunk, written, chunk.length - written, this.#size);
        written += bytesWritten;
        this.#size += bytesWritten;
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#handle.close();
  }
}

/** A temporary file without a name: nobody else can open it, and it is gone with this process whatever happens. */
export class Spool extends ByteFile {
  #waiting: Buffer[] = [];
  #waitingBytes = 0;

  /** @param folder where there is room for it; default: the system's folder of temporary files */
  static async create(folder = tmpdir()): Promise<Spool> {
    const path = join(folder, `dinp-spool-${randomBytes(12).toString('hex')}`);
    try {
      const handle = await open(path, 'wx+', 0o600);
      await unlink(path);
      return new Spool(handle, 0);
    } catch (cause) {
      throw noRoom(cause);
    }
  }

  /** Where the next byte that is appended will lie. */
  get end(): number {
    return this.size + this.#waitingBytes;
  }

  /** Small pieces are gathered; `flush` before reading. */
  async append(chunk: Buffer): Promise<void> {
    this.#waiting.push(chunk);
    this.#waitingBytes += chunk.length;
    if (this.#waitingBytes >= FLUSH_AT) await this.flush();
  }

  async flush(): Promise<void> {
    const chunks = this.#waiting;
    this.#waiting = [];
    this.#waitingBytes = 0;
    try {
      await this.appendBytes(chunks);
    } catch (cause) {
      throw noRoom(cause);
    }
  }
}

function noRoom(cause: unknown): DinpError {
  return new DinpError('unavailable', `The archive cannot be unpacked on the server: ${(cause as Error).message}`, {
    hint: 'The operator should look whether the disk is full.',
    cause,
  });
}

/** Reads of small pieces in about the order of the file, from a window of it. */
export class WindowReader {
  readonly #file: ByteFile;
  #start = 0;
  #window: Buffer = Buffer.alloc(0);

  constructor(file: ByteFile) {
    this.#file = file;
  }

  async read(offset: number, length: number): Promise<Buffer> {
    if (length >= FLUSH_AT) return this.#file.read(offset, length);
    if (offset < this.#start || offset + length > this.#start + this.#window.length) {
      const window = await this.#file.read(offset, FLUSH_AT);
      this.#window = window;
      this.#start = offset;
      return window.subarray(0, length);
    }
    return this.#window.subarray(offset - this.#start, offset - this.#start + length);
  }
}
