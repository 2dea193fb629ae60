import { createHash } from 'node:crypto';
import fs, { createReadStream } from 'node:fs';
import { lstat, open, readdir, readlink } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { findRoot, listFiles } from 'isomorphic-git';
import { DinpError } from '../domain/errors.ts';
import type { Tree, TreeEntry } from '../domain/tree.ts';
import { nameProblem, Refusals } from './refusals.ts';

/** The files of a checkout as the next commit would have them, and how many are there that git does not know. */
export interface WorkingTree extends Tree {
  /** Absolute path of the checkout. */
  readonly root: string;
}

/**
 * Opens the checkout around a folder: what git tracks, with the contents on disk, committed or not. Needs no git
 * program. Ids are not git's: they only tell equal from different.
 * @throws DinpError not-found where there is no repository; refused as its commit would be, for names and submodules
 */
export async function openWorkingTree(folder: string): Promise<WorkingTree> {
  const root = await findRoot({ fs, filepath: folder }).catch((cause: unknown) => {
    throw new DinpError('not-found', `${folder} is in no git repository.`, {
      hint: 'Make it one: git init && git add . && git commit',
      cause,
    });
  });
  return new FilesOnDisk(root, await readEntries(root, await listFiles({ fs, dir: root })));
}

/**
 * Opens a folder that is in no repository: all of its files, as they would be committed.
 * @throws DinpError refused for names that no image can hold
 */
export async function openFolder(folder: string): Promise<WorkingTree> {
  const found = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = found.filter((entry) => !entry.isDirectory());
  const paths = files.map((entry) => relative(folder, join(entry.parentPath, entry.name)));
  return new FilesOnDisk(folder, await readEntries(folder, paths));
}

async function readEntries(root: string, paths: string[]): Promise<TreeEntry[]> {
  const refusals = new Refusals();
  const entries: TreeEntry[] = [];
  for (const path of paths.sort(byBytes)) {
    // Whoever listed the names has put this in place of bytes that are no UTF-8.
    const problem = path.includes('\ufffd') ? 'is not UTF-8' : nameProblem(path);
    const entry = problem === undefined ? await readEntry(root, path) : undefined;
    if (problem !== undefined) refusals.name(path, problem);
    else if (entry === 'submodule') refusals.submodule(path);
    else if (entry !== undefined) entries.push(entry);
  }
  refusals.throwAny();
  return entries;
}

class FilesOnDisk implements WorkingTree {
  readonly root: string;
  readonly entries: readonly TreeEntry[];
  readonly #byPath: Map<string, TreeEntry>;

  constructor(root: string, entries: TreeEntry[]) {
    this.root = root;
    this.entries = entries;
    this.#byPath = new Map(entries.map((entry) => [entry.path, entry]));
  }

  get oid(): string {
    return this.treeId('.')!;
  }

  find(path: string): TreeEntry | undefined {
    return this.#byPath.get(path);
  }

  treeId(path: string): string | undefined {
    const below = path === '.' ? this.entries : this.entries.filter((entry) => entry.path.startsWith(`${path}/`));
    if (below.length === 0 && path !== '.') return undefined;
    return digest(below.map(({ path: file, mode, oid }) => `${mode} ${oid} ${file}`).join('\n'));
  }

  async head(entry: TreeEntry, limit: number): Promise<Buffer> {
    if (entry.mode === '120000') return Buffer.from(await readlink(join(this.root, entry.path))).subarray(0, limit);
    await using file = await open(join(this.root, entry.path));
    const { buffer, bytesRead } = await file.read(Buffer.alloc(limit), 0, limit, 0);
    return buffer.subarray(0, bytesRead);
  }

  async *stream(entry: TreeEntry): AsyncGenerator<Buffer> {
    if (entry.mode === '120000') yield Buffer.from(await readlink(join(this.root, entry.path)));
    else yield* createReadStream(join(this.root, entry.path)) as AsyncIterable<Buffer>;
  }

  async *streamAll(entries: Iterable<TreeEntry>): AsyncGenerator<{ entry: TreeEntry; content: AsyncIterable<Buffer> }> {
    for (const entry of entries) yield { entry, content: this.stream(entry) };
  }
}

/** undefined for files that were deleted; a folder where git has a file is a submodule. */
async function readEntry(root: string, path: string): Promise<TreeEntry | 'submodule' | undefined> {
  const stats = await lstat(join(root, path)).catch(() => undefined);
  if (stats?.isDirectory()) return 'submodule';
  if (stats === undefined || !(stats.isFile() || stats.isSymbolicLink())) return undefined;
  const mode = stats.isSymbolicLink() ? '120000' : stats.mode & 0o100 ? '100755' : '100644';
  return { path, mode, size: stats.size, oid: digest(`${path} ${stats.size} ${stats.mtimeMs} ${stats.ino}`) };
}

function digest(text: string): string {
  return createHash('sha1').update(text).digest('hex');
}

function byBytes(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}
