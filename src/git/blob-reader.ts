import { DinpError } from '../domain/errors.ts';
import type { TreeEntry } from '../domain/tree.ts';
import type { TreeSource } from './commit-tree.ts';
import { canceled, type GitCommand, gitFailure, type StartedGit, startGit } from './run-git.ts';

/**
 * Blobs up to this size are read whole through one kept process (0.2 ms each); larger ones get a process of their own,
 * which costs a few milliseconds, can be left half read, and streams at the reader's pace.
 */
const SMALL = 1024 * 1024;
/** How far streamAll reads ahead: enough to hide the way to git and back, little enough to hold. */
const AHEAD_BLOBS = 64;
const AHEAD_BYTES = 4 * 1024 * 1024;

/** Reads the blobs of one repository in bounded memory, whatever their size. */
export class BlobReader {
  readonly #source: TreeSource;
  #batch: BatchProcess | undefined;
  readonly #streams = new Set<StartedGit>();
  #closed = false;

  constructor(source: TreeSource) {
    this.#source = source;
  }

  /** The first `limit` bytes of a blob. @throws DinpError canceled */
  async head(entry: TreeEntry, limit: number): Promise<Buffer> {
    if (entry.size <= SMALL) return Buffer.concat(await this.#small(entry)).subarray(0, limit);
    const chunks: Buffer[] = [];
    let length = 0;
    for await (const chunk of this.#large(entry)) {
      chunks.push(chunk);
      length += chunk.length;
      if (length >= limit) break;
    }
    return Buffer.concat(chunks).subarray(0, limit);
  }

  /** A blob's bytes; what is not consumed is not read. @throws DinpError canceled */
  async *stream(entry: TreeEntry): AsyncGenerator<Buffer> {
    if (entry.size > SMALL) yield* this.#large(entry);
    else if (entry.size > 0) yield* await this.#small(entry);
  }

  /** The blobs of many entries in turn, small ones asked for before their turn comes. */
  async *streamAll(entries: Iterable<TreeEntry>): AsyncGenerator<{ entry: TreeEntry; content: AsyncIterable<Buffer> }> {
    const ahead: { entry: TreeEntry; content: AsyncIterable<Buffer> }[] = [];
    let bytes = 0;
    for (const entry of entries) {
      const small = entry.size > 0 && entry.size <= SMALL;
      ahead.push({ entry, content: small ? later(this.#small(entry)) : this.stream(entry) });
      bytes += small ? entry.size : 0;
      while (ahead.length > AHEAD_BLOBS || bytes > AHEAD_BYTES) {
        const next = ahead.shift()!;
        bytes -= next.entry.size <= SMALL ? next.entry.size : 0;
        yield next;
      }
    }
    yield* ahead;
  }

  /** Ends the processes; reads under way fail. */
  async close(): Promise<void> {
    this.#closed = true;
    const processes = [...this.#streams, ...(this.#batch === undefined ? [] : [this.#batch.started])];
    for (const { child } of processes) child.kill('SIGKILL');
    await Promise.all(processes.map(({ ended }) => ended));
  }

  #small(entry: TreeEntry): Promise<Buffer[]> {
    this.#assertOpen();
    this.#batch ??= new BatchProcess(this.#command(['cat-file', '--batch']));
    return this.#batch.read(entry);
  }

  async *#large(entry: TreeEntry): AsyncGenerator<Buffer> {
    this.#assertOpen();
    const command = this.#command(['cat-file', 'blob', entry.oid]);
    const started = startGit(command);
    started.child.stdin.end();
    this.#streams.add(started);
    let left = entry.size;
    try {
      for await (const chunk of started.child.stdout as AsyncIterable<Buffer>) {
        left -= chunk.length;
        yield chunk;
      }
      const status = await started.ended;
      if (status !== 0) throw gitFailure(command, status, started.stderr());
      if (left !== 0) throw broken(entry);
    } finally {
      started.child.kill('SIGKILL');
      await started.ended;
      this.#streams.delete(started);
    }
  }

  #command(args: string[]): GitCommand {
    return { git: this.#source.git, repository: this.#source.repository, args, signal: this.#source.signal };
  }

  #assertOpen(): void {
    if (this.#source.signal?.aborted) throw canceled(this.#source.signal);
    if (this.#closed) throw new Error('the tree is closed');
  }
}

/** A promised blob as a stream. A failure shows when its turn comes, and is nobody's if it never does. */
function later(content: Promise<Buffer[]>): AsyncIterable<Buffer> {
  content.catch(() => {});
  return (async function* () {
    yield* await content;
  })();
}

interface Waiting {
  entry: TreeEntry;
  /** Pieces as they came: joining megabytes takes twice their memory. */
  resolve(content: Buffer[]): void;
  reject(error: Error): void;
}

/**
 * One `git cat-file --batch`: asked with lines of object ids, it answers `<oid> blob <size>\n<content>\n` in the order
 * asked, so any number of questions may be under way.
 */
class BatchProcess {
  readonly started: StartedGit;
  readonly #waiting: Waiting[] = [];
  #failure: Error | undefined;
  /** Of the answer being read: chunks of its header or content, and how many bytes are missing (undefined: header). */
  #chunks: Buffer[] = [];
  #missing: number | undefined;

  constructor(command: GitCommand) {
    this.started = startGit(command);
    this.started.child.stdout.on('data', (chunk: Buffer) => this.#take(chunk));
    void this.started.ended.then((status) => this.#fail(gitFailure(command, status, this.started.stderr())));
  }

  read(entry: TreeEntry): Promise<Buffer[]> {
    return new Promise((resolve, reject) => {
      if (this.#failure !== undefined) {
        reject(this.#failure);
        return;
      }
      this.#waiting.push({ entry, resolve, reject });
      this.started.child.stdin.write(`${entry.oid}\n`);
    });
  }

  #take(chunk: Buffer): void {
    let data = chunk;
    while (data.length > 0) {
      const next = this.#missing === undefined ? this.#takeHeader(data) : this.#takeContent(data, this.#missing);
      if (next === undefined) return;
      data = next;
    }
  }

  #takeHeader(data: Buffer): Buffer | undefined {
    const end = data.indexOf(10);
    if (end === -1) {
      this.#chunks.push(data);
      return undefined;
    }
    const header = Buffer.concat([...this.#chunks, data.subarray(0, end)]).toString('latin1');
    this.#chunks = [];
    const expected = this.#waiting[0]?.entry;
    if (expected === undefined || header !== `${expected.oid} blob ${expected.size}`) {
      this.#fail(broken(expected, header));
      this.started.child.kill('SIGKILL');
      return undefined;
    }
    // A newline follows the content.
    this.#missing = expected.size + 1;
    return data.subarray(end + 1);
  }

  #takeContent(data: Buffer, missing: number): Buffer | undefined {
    const part = data.subarray(0, missing);
    const left = missing - part.length;
    this.#missing = left;
    // The newline at the end is not the blob's.
    const content = left === 0 ? part.subarray(0, -1) : part;
    if (content.length > 0) this.#chunks.push(content);
    if (left > 0) return undefined;
    const chunks = this.#chunks;
    this.#chunks = [];
    this.#missing = undefined;
    this.#waiting.shift()!.resolve(chunks);
    return data.subarray(part.length);
  }

  #fail(error: Error): void {
    this.#failure ??= error;
    for (const { reject } of this.#waiting.splice(0)) reject(this.#failure);
  }
}

function broken(entry: TreeEntry | undefined, said = ''): DinpError {
  return new DinpError(
    'unavailable',
    `The repository's object for ${entry?.path ?? '?'} cannot be read. ${said}`.trim(),
    {
      hint: 'Ask the operator to run git fsck in the repository; pushing the commit again does not replace a broken object.',
    },
  );
}
