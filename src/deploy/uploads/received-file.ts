import { createHash, type Hash } from 'node:crypto';
import { type FileHandle, open, rm } from 'node:fs/promises';
import { DinpError } from '../../domain/errors.ts';

/** A file whose bytes are all there, on disk, under a name that nobody looks at yet. */
export interface Received extends AsyncDisposable {
  path: string;
  size: number;
  /** 64 hex digits. */
  sha256: string;
}

export interface ReceiveLimits {
  /** Bytes. */
  maxSize: number;
  /** So long nothing may come, milliseconds. */
  stallMs: number;
  /** So long all of it may take, milliseconds. */
  totalMs: number;
}

export interface ReceiveOptions extends ReceiveLimits {
  /** Aborted where the sender is gone: a stream that ends then did not end. */
  signal: AbortSignal;
  /** What the sender says the bytes have, 64 hex digits. */
  sha256?: string | undefined;
}

/**
 * Writes a stream to a new file and hashes it on the way; the file is synced when this resolves. Whatever fails leaves no file.
 * @throws DinpError too-large; refused when it is empty or has another checksum; timeout; canceled; unavailable when the disk takes
 * no more
 */
export async function receiveFile(
  path: string,
  stream: AsyncIterable<Uint8Array>,
  options: ReceiveOptions,
): Promise<Received> {
  try {
    const hash = createHash('sha256');
    const size = await appendStream(path, stream, { ...options, startAt: 0, hash, flags: 'wx' });
    const sha256 = hash.digest('hex');
    if (size === 0) throw new DinpError('refused', 'nothing came: it is empty.');
    checkSum(sha256, options.sha256);
    return { path, size, sha256, [Symbol.asyncDispose]: () => rm(path, { force: true }) };
  } catch (error) {
    await rm(path, { force: true });
    throw error;
  }
}

/** @throws DinpError refused where the bytes have another checksum than their sender says */
export function checkSum(found: string, wanted: string | undefined): void {
  if (wanted === undefined || wanted.toLowerCase() === found) return;
  throw new DinpError('refused', `its SHA-256 is ${found}, and ${wanted.toLowerCase()} was expected.`, {
    hint: 'It was changed or damaged on the way, or another file is meant. Send it again.',
  });
}

/**
 * Appends a stream to a file and syncs it, also where the stream fails halfway: what came is kept then.
 * @param options.startAt size that the file has; the limit counts from the file's beginning
 * @returns the size of the file
 */
export async function appendStream(
  path: string,
  stream: AsyncIterable<Uint8Array>,
  options: ReceiveOptions & { startAt: number; hash?: Hash; flags: 'wx' | 'r+' },
): Promise<number> {
  const file = await open(path, options.flags, 0o600);
  let size = options.startAt;
  try {
    for await (const chunk of watched(stream, options)) {
      size += chunk.length;
      if (size > options.maxSize) throw tooLarge(options.maxSize);
      await writeAll(file, chunk, size - chunk.length);
      options.hash?.update(chunk);
    }
  } finally {
    await file.sync().finally(() => file.close());
  }
  return size;
}

export function tooLarge(maxSize: number): DinpError {
  return new DinpError('too-large', `it is larger than ${formatSize(maxSize)}.`, {
    hint: "The operator can raise uploads.maxSize in the server's config.",
  });
}

async function writeAll(file: FileHandle, chunk: Uint8Array, position: number): Promise<void> {
  try {
    for (let done = 0; done < chunk.length; )
      done += (await file.write(chunk, done, chunk.length - done, position + done)).bytesWritten;
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    if (code !== 'ENOSPC' && code !== 'EDQUOT') throw cause;
    throw new DinpError('unavailable', `the server's disk is full: ${message}.`, {
      hint: 'Ask the operator to make room in the data folder.',
      cause,
    });
  }
}

/** A stream that fails when it stalls, takes too long, or ends because its sender is gone. */
async function* watched(stream: AsyncIterable<Uint8Array>, options: ReceiveOptions): AsyncGenerator<Uint8Array> {
  const { signal, stallMs, totalMs } = options;
  const iterator = stream[Symbol.asyncIterator]();
  let stopped: DinpError | undefined;
  let interrupt: (error: DinpError) => void = () => {};
  const stop = (error: DinpError) => {
    stopped ??= error;
    interrupt(stopped);
  };
  const gone = () => stop(new DinpError('canceled', 'the sender was gone before everything had come.'));
  const total = setTimeout(() => stop(slow(`it took longer than ${totalMs / 1000} s`)), totalMs);
  const stall = setTimeout(() => stop(slow(`nothing came for ${stallMs / 1000} s`)), stallMs);
  signal.addEventListener('abort', gone, { once: true });
  try {
    for (;;) {
      if (signal.aborted) gone();
      if (stopped) throw stopped;
      // Not Promise.race with one promise for all of them: that would hold every chunk until the end.
      const next = await new Promise<IteratorResult<Uint8Array>>((resolve, reject) => {
        interrupt = reject;
        iterator.next().then(resolve, reject);
      });
      stall.refresh();
      // The end of the input and the loss of its sender may come in one go.
      if (signal.aborted) continue;
      if (next.done) return;
      yield next.value;
      stall.refresh();
    }
  } finally {
    clearTimeout(total);
    clearTimeout(stall);
    signal.removeEventListener('abort', gone);
    // Not waited for: an iterator that hangs in next() would hang here, too.
    iterator.return?.()?.catch?.(() => {});
  }
}

function slow(what: string): DinpError {
  return new DinpError('timeout', `it was not received: ${what}.`, { hint: 'Send it again.' });
}

/** `52.3 MB`, for people. */
export function formatSize(bytes: number): string {
  if (bytes < 1000) return `${bytes} bytes`;
  const units = ['kB', 'MB', 'GB'];
  const power = Math.min(units.length, Math.floor(Math.log10(bytes) / 3));
  return `${(bytes / 1000 ** power).toFixed(1)} ${units[power - 1]}`;
}
