import { DinpError } from '../domain/errors.ts';
import { printable } from '../domain/names.ts';
import type { Tree, TreeEntry } from '../domain/tree.ts';
import { BlobReader } from './blob-reader.ts';
import { MAX_PATH_BYTES, nameProblem, Refusals } from './refusals.ts';
import { canceled, gitFailure, startGit } from './run-git.ts';

/** A tree can be made to hold more paths than fit on earth with a few hundred bytes; real ones are far below this. */
const MAX_FILES = 1_000_000;

/** A Tree over a git process; it ends that process when it is disposed. */
export interface CommitTree extends Tree, AsyncDisposable {}

export interface TreeSource {
  git: string;
  repository: string;
  /** Full object id of a tree. */
  oid: string;
  signal?: AbortSignal | undefined;
}

/** @throws DinpError refused for submodules and names that no image can hold; canceled */
export async function openCommitTree(source: TreeSource): Promise<CommitTree> {
  const { entries, folders } = await listTree(source);
  const blobs = new BlobReader(source);
  let byPath: Map<string, TreeEntry> | undefined;
  return {
    oid: source.oid,
    entries,
    find(path) {
      byPath ??= new Map(entries.map((entry) => [entry.path, entry]));
      return byPath.get(path);
    },
    treeId: (path) => (path === '.' ? source.oid : folders.get(path)),
    head: (entry, limit) => blobs.head(entry, limit),
    stream: (entry) => blobs.stream(entry),
    streamAll: (entries) => blobs.streamAll(entries),
    [Symbol.asyncDispose]: () => blobs.close(),
  };
}

interface Listing {
  entries: TreeEntry[];
  /** Path to object id. */
  folders: Map<string, string>;
}

/** Reads `git ls-tree` record by record, so that a tree made to be endless is left when it has shown itself. */
async function listTree(source: TreeSource): Promise<Listing> {
  const args = ['ls-tree', '-r', '-t', '-z', '-l', '--full-tree', source.oid];
  const command = { git: source.git, repository: source.repository, args, signal: source.signal };
  const { child, ended, stderr } = startGit(command);
  child.stdin.end();
  const listing: Listing = { entries: [], folders: new Map() };
  const refusals = new Refusals();
  try {
    for await (const record of recordsOf(child.stdout)) {
      addRecord(listing, refusals, record);
      if (listing.entries.length > MAX_FILES) throw tooMany();
    }
  } catch (error) {
    child.kill('SIGKILL');
    await ended;
    if (source.signal?.aborted) throw canceled(source.signal);
    throw error;
  }
  const status = await ended;
  if (status !== 0 || source.signal?.aborted) throw gitFailure(command, status, stderr());
  refusals.throwAny();
  return listing;
}

/** Splits a stream at NUL bytes. */
async function* recordsOf(stream: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let rest: Buffer = Buffer.alloc(0);
  for await (const chunk of stream) {
    let data = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    for (let end = data.indexOf(0); end !== -1; end = data.indexOf(0)) {
      yield data.subarray(0, end);
      data = data.subarray(end + 1);
    }
    if (data.length > MAX_PATH_BYTES + 128) throw tooLong(data);
    rest = data;
  }
}

const decoder = new TextDecoder('utf-8', { fatal: true });

/** Takes one `<mode> <type> <oid> <size>\t<path>`. */
function addRecord(listing: Listing, refusals: Refusals, record: Buffer): void {
  const tab = record.indexOf(9);
  const [mode = '', type = '', oid = '', size = ''] = record.toString('latin1', 0, tab).split(/ +/);
  const name = record.subarray(tab + 1);
  let path: string;
  try {
    path = decoder.decode(name);
  } catch {
    refusals.name(name.toString('latin1'), 'is not UTF-8');
    return;
  }
  const problem = nameProblem(path);
  if (problem !== undefined) refusals.name(path, problem);
  else if (type === 'commit') refusals.submodule(path);
  else if (type === 'tree') listing.folders.set(path, oid);
  else listing.entries.push({ path, mode: fileMode(mode), oid, size: Number(size) });
}

/** git has written 100664 in its early days; it means a file. */
function fileMode(mode: string): TreeEntry['mode'] {
  return mode === '120000' || mode === '100755' ? mode : '100644';
}

function tooMany(): DinpError {
  return new DinpError('refused', `The commit has more than ${MAX_FILES} files.`, {
    hint: 'Push what runs, without caches and generated data.',
  });
}

function tooLong(name: Buffer): DinpError {
  const start = printable(name.toString('latin1', name.indexOf(9) + 1).slice(0, 60));
  return new DinpError('refused', `The commit has a path of more than ${MAX_PATH_BYTES} bytes, beginning "${start}".`);
}
