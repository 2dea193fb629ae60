import { EventEmitter, once } from 'node:events';
import { closeSync, createReadStream, existsSync, mkdirSync, openSync, rmSync, statSync, writeSync } from 'node:fs';
import { join } from 'node:path';

/**
 * The output of builds, one file each. Whoever watches reads the file, from the start or where he stopped, and waits
 * for more: a slow watcher costs no memory and holds nobody up.
 */
export class BuildLogs {
  readonly #folder: string;
  readonly #open = new Map<number, OpenLog>();
  readonly #cut = new Set<number>();

  constructor(folder: string) {
    this.#folder = folder;
    mkdirSync(folder, { recursive: true, mode: 0o700 });
  }

  /** Starts (or goes on with) the log of a build that runs or waits; ends with `end`. */
  append(buildId: number, text: string): void {
    let log = this.#open.get(buildId);
    if (!log) {
      log = { fd: openSync(this.#file(buildId), 'a', 0o600), changed: new EventEmitter().setMaxListeners(0) };
      this.#open.set(buildId, log);
    }
    if (log.fd === undefined) return;
    try {
      writeSync(log.fd, text);
    } catch (error) {
      // A full disk costs lines of a log, never a build or the server.
      if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
      this.#cut.add(buildId);
    }
    log.changed.emit('change');
  }

  /** Whether lines are missing in a log because the disk was full when they came. */
  isCut(buildId: number): boolean {
    return this.#cut.has(buildId);
  }

  /** No more will come; watchers read to the end and stop. */
  end(buildId: number): void {
    const log = this.#open.get(buildId);
    if (!log) return;
    if (log.fd !== undefined) closeSync(log.fd);
    log.fd = undefined;
    this.#open.delete(buildId);
    log.changed.emit('change');
  }

  /**
   * The log from its beginning; while the build goes on, waits for more until it ends or the signal aborts.
   * Yields chunks of at most 64 KiB.
   */
  async *follow(buildId: number, signal: AbortSignal): AsyncGenerator<Buffer> {
    let offset = 0;
    while (!signal.aborted) {
      const log = this.#open.get(buildId);
      const changed = log ? once(log.changed, 'change', { signal }).catch(() => undefined) : undefined;
      const before = offset;
      for await (const chunk of this.#read(buildId, offset)) {
        offset += chunk.length;
        yield chunk;
        if (signal.aborted) return;
      }
      if (offset > before) continue;
      if (!changed) return;
      await changed;
    }
  }

  /** The last `lines` lines of a build's output. */
  async tail(buildId: number, lines: number): Promise<string[]> {
    const chunks: Buffer[] = [];
    for await (const chunk of this.#read(buildId, 0)) chunks.push(chunk);
    return Buffer.concat(chunks).toString('utf8').trimEnd().split('\n').slice(-lines);
  }

  /** The log as far as it is written; nothing where there is none. */
  read(buildId: number): AsyncGenerator<Buffer> {
    return this.#read(buildId, 0);
  }

  /** Whether there is a log of the build, be it empty. */
  has(buildId: number): boolean {
    return existsSync(this.#file(buildId));
  }

  /** Bytes of a build's log on disk. */
  size(buildId: number): number {
    return statSync(this.#file(buildId), { throwIfNoEntry: false })?.size ?? 0;
  }

  remove(buildId: number): void {
    this.#cut.delete(buildId);
    rmSync(this.#file(buildId), { force: true });
  }

  async *#read(buildId: number, start: number): AsyncGenerator<Buffer> {
    const file = this.#file(buildId);
    if (existsSync(file)) yield* createReadStream(file, { start }) as AsyncIterable<Buffer>;
  }

  #file(buildId: number): string {
    return join(this.#folder, `${buildId}.log`);
  }
}

interface OpenLog {
  fd: number | undefined;
  changed: EventEmitter;
}
