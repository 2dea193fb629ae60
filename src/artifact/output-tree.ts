import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { extract, type Header } from 'tar-stream';
import { DinpError } from '../domain/errors.ts';
import { printable } from '../domain/names.ts';
import type { Tree, TreeEntry } from '../domain/tree.ts';
import { archiveTree, type Leaf } from './archive/archive-tree.ts';
import { Spool } from './archive/byte-file.ts';

const MAX_ENTRIES = 100_000;
const MAX_BYTES = 4 * 1024 ** 3;
const DEEP = /^(?:.*\/)?\.git(?:\/|$)/;

interface Content {
  mode: TreeEntry['mode'];
  offset: number;
  size: number;
  /** Of the content, hexadecimal. */
  sha256: string;
}

/**
 * The files that a builder left, from the tar that the engine makes of a folder or a file. They are held in a temporary file
 * without a name. Links are data, as those of a commit; a repository's own `.git` is left out.
 * @param what its path, for people
 * @param options.scratch folder with room for it; default: the system's folder of temporary files
 * @throws DinpError refused for what cannot be in an image, and for more than 100,000 entries or 4 GiB
 */
export async function openOutput(
  tar: Readable,
  what: string,
  { scratch, maxEntries = MAX_ENTRIES }: { scratch?: string; maxEntries?: number } = {},
): Promise<Tree & AsyncDisposable> {
  await using stack = new AsyncDisposableStack();
  const spool = stack.use(await Spool.create(scratch));
  const leaves = await readLeaves(tar, what, spool, maxEntries);
  await spool.flush();
  const kept = stack.move();
  return Object.assign(archiveTree(leaves), { [Symbol.asyncDispose]: () => kept.disposeAsync() });
}

async function readLeaves(tar: Readable, what: string, spool: Spool, maxEntries: number): Promise<Leaf[]> {
  const unpack = extract();
  const fed = pipeline(tar, unpack).then(
    () => undefined,
    (error: unknown) => error,
  );
  const leaves = new Map<string, Leaf>();
  const contents = new Map<string, Content>();
  let entries = 0;
  let bytes = 0;
  try {
    for await (const entry of unpack) {
      const { header } = entry;
      entries += 1;
      bytes += header.size ?? 0;
      if (entries > maxEntries || bytes > MAX_BYTES) throw tooMuch(what, maxEntries);
      const content = await readContent(entry as unknown as AsyncIterable<Buffer>, header, contents, spool);
      const path = pathIn(header);
      if (content === undefined || path === '' || DEEP.test(path)) continue;
      leaves.set(path, leafOf(path, content, spool));
    }
  } catch (error) {
    tar.destroy();
    unpack.destroy();
    await fed;
    throw error;
  }
  const failure = await fed;
  if (failure !== undefined) throw failure;
  return [...leaves.values()].sort((a, b) => Buffer.compare(Buffer.from(a.entry.path), Buffer.from(b.entry.path)));
}

/** Without the last part of the path that was asked for, which every name begins with; a single file keeps its name. */
function pathIn({ name, type }: Header): string {
  if (/[\u0000-\u001f\u007f-\u009f\ufffd]/.test(name))
    throw new DinpError('refused', `The output has a file "${printable(name)}", whose name no image can hold.`);
  const parts = name.split('/').filter((part) => part !== '');
  return parts.length === 1 && type !== 'directory' ? parts[0]! : parts.slice(1).join('/');
}

/** What a file holds, or where a link leads; undefined for folders, and for sockets and pipes, which are nothing without a process. */
async function readContent(
  source: AsyncIterable<Buffer>,
  { name, type, linkname, mode: bits = 0 }: Header,
  contents: Map<string, Content>,
  spool: Spool,
): Promise<Content | undefined> {
  if (type === 'link') {
    for await (const _ of source);
    return contents.get(linkname ?? '');
  }
  const hash = createHash('sha256');
  const offset = spool.end;
  if (type === 'symlink') source = Readable.from([Buffer.from(linkname ?? '')]);
  for await (const chunk of source) {
    hash.update(chunk);
    await spool.append(chunk);
  }
  if (type !== 'file' && type !== 'contiguous-file' && type !== 'symlink') return undefined;
  const mode = type === 'symlink' ? '120000' : (bits & 0o100) !== 0 ? '100755' : '100644';
  const content: Content = { mode, offset, size: spool.end - offset, sha256: hash.digest('hex') };
  contents.set(name, content);
  return content;
}

function leafOf(path: string, { mode, offset, size, sha256 }: Content, spool: Spool): Leaf {
  const oid = createHash('sha256').update(`tar ${mode} ${sha256}`).digest('hex');
  return { entry: { path, mode, oid, size }, open: () => spool.stream(offset, size) };
}

function tooMuch(what: string, maxEntries: number): DinpError {
  return new DinpError('refused', `The output ${printable(what)} has more than ${maxEntries} files or 4 GiB.`, {
    hint: 'Name in dinp.yml what is to run, without what it was made from:\n  output: dist',
  });
}
