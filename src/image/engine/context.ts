import type { Readable } from 'node:stream';
import dockerignore from '@balena/dockerignore';
import type { Pack } from 'tar-stream';
import { pack as newPack } from 'tar-stream';
import { DinpError } from '../../domain/errors.ts';
import type { Tree, TreeEntry } from '../../domain/tree.ts';

/** A file of a build context: from the commit, or text that we made. */
export type ContextFile = { path: string; mode: TreeEntry['mode'] } & ({ entry: TreeEntry } | { text: string });

type Head = Parameters<Pack['entry']>[0];

/** Fixed, so that equal commits give equal contexts (2001-01-01). */
const HEAD = { mtime: new Date(Date.UTC(2001, 0, 1)), uname: '', gname: '' };

/** Larger ones cannot be meant as a Dockerfile or a list of patterns. */
const MAX_TEXT = 1 << 20;

export interface Context {
  /** By path within the context, in git's order. */
  files: ContextFile[];
  /** The ignore file that counted, wherever it lies. */
  ignoreFile: TreeEntry | undefined;
  /** How many files it left out. */
  ignored: number;
}

/**
 * The files of a context folder that `.dockerignore` leaves. The Dockerfile and the ignore file itself always stay: the builders need
 * them.
 * @param dockerfile path of the Dockerfile in the commit
 * @param ownIgnore whether `<Dockerfile>.dockerignore` counts before `.dockerignore`, as BuildKit has it
 */
export async function readContext(
  tree: Tree,
  context: string,
  dockerfile: string,
  ownIgnore: boolean,
): Promise<Context> {
  const prefix = context === '.' ? '' : `${context}/`;
  const ignoreFile =
    (ownIgnore ? tree.find(`${dockerfile}.dockerignore`) : undefined) ?? tree.find(`${prefix}.dockerignore`);
  const matcher = ignoreFile && dockerignore.default({ ignorecase: false }).add(await readText(tree, ignoreFile));
  const all = tree.entries
    .filter((entry) => entry.path.startsWith(prefix))
    .map((entry) => ({ path: entry.path.slice(prefix.length), mode: entry.mode, entry }));
  const files = all.filter(
    ({ path, entry }) => entry.path === dockerfile || entry === ignoreFile || !matcher?.ignores(path),
  );
  return { files, ignoreFile, ignored: all.length - files.length };
}

/** A small text file of the commit. @throws DinpError refused where it is larger than 1 MiB or a link */
export async function readText(tree: Tree, entry: TreeEntry): Promise<string> {
  if (entry.mode === '120000') {
    throw new DinpError('refused', `${entry.path} is a symbolic link; links of a commit are not followed.`, {
      hint: 'Commit the file itself, or name the one that the link points to.',
    });
  }
  if (entry.size > MAX_TEXT)
    throw new DinpError('refused', `${entry.path} has ${entry.size} bytes; at most ${MAX_TEXT} are read.`);
  return (await tree.head(entry, MAX_TEXT)).toString('utf8');
}

/** Where the files of a tar lie, and whose they are. */
export interface TarPlace {
  /** Folder that all lie in and that is the first entry, without a slash in front; undefined: none. */
  below?: string;
  owner?: { uid: number; gid: number };
}

/**
 * Streams files as tar, sorted, folders before what is in them, without owners' names. Memory stays bounded by the reader's pace.
 * All have one time, which is what make wants: nothing is newer.
 */
export function contextTar(tree: Tree, files: readonly ContextFile[], place: TarPlace = {}): Readable {
  const pack = newPack();
  fill(pack, tree, files, place).then(
    () => pack.finalize(),
    (error: unknown) => pack.destroy(error instanceof Error ? error : new Error(String(error))),
  );
  return pack as unknown as Readable;
}

async function fill(pack: Pack, tree: Tree, files: readonly ContextFile[], place: TarPlace): Promise<void> {
  const { below, owner = { uid: 0, gid: 0 } } = place;
  const header = (name: string, mode: number, type: 'file' | 'directory' | 'symlink'): Head => ({
    ...HEAD,
    ...owner,
    name: below === undefined ? name : `${below}/${name}`,
    mode,
    type,
  });
  if (below !== undefined) await write(pack, header('', 0o755, 'directory'), Buffer.alloc(0));
  const folders = new Set<string>();
  const sorted = [...files].sort((a, b) => Buffer.compare(Buffer.from(a.path), Buffer.from(b.path)));
  const blobs = tree.streamAll(sorted.flatMap((file) => ('entry' in file ? [file.entry] : [])))[Symbol.asyncIterator]();
  try {
    for (const file of sorted) {
      for (let at = file.path.indexOf('/'); at >= 0; at = file.path.indexOf('/', at + 1)) {
        const folder = file.path.slice(0, at);
        if (folders.has(folder)) continue;
        folders.add(folder);
        await write(pack, header(`${folder}/`, 0o755, 'directory'), Buffer.alloc(0));
      }
      const mode = file.mode === '100755' ? 0o755 : 0o644;
      if ('text' in file) {
        await write(pack, header(file.path, mode, 'file'), Buffer.from(file.text));
        continue;
      }
      const { content } = (await blobs.next()).value as { content: AsyncIterable<Buffer> };
      if (file.entry.mode === '120000') {
        const linkname = (await gather(content)).toString('utf8');
        await write(pack, { ...header(file.path, 0o777, 'symlink'), linkname }, Buffer.alloc(0));
      } else {
        await stream(pack, { ...header(file.path, mode, 'file'), size: file.entry.size }, content);
      }
    }
  } finally {
    await blobs.return?.();
  }
}

async function gather(content: AsyncIterable<Buffer>): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of content) chunks.push(chunk);
  return Buffer.concat(chunks);
}

function write(pack: Pack, head: Head, content: Buffer): Promise<void> {
  return new Promise((resolve, reject) => {
    const done = (error?: Error | null): void => (error ? reject(error) : resolve());
    if (head.type !== 'file') pack.entry(head, done);
    else pack.entry({ ...head, size: content.length }, content, done);
  });
}

async function stream(pack: Pack, head: Head, content: AsyncIterable<Buffer>): Promise<void> {
  let failed: Error | null | undefined;
  let ended: () => void = () => {};
  const end = new Promise<void>((resolve) => {
    ended = resolve;
  });
  const sink = pack.entry(head, (error) => {
    failed = error;
    ended();
  });
  sink.on('error', () => ended());
  for await (const chunk of content) {
    if (sink.destroyed) break;
    if (!sink.write(chunk))
      await Promise.race([new Promise<void>((resolve) => sink.once('drain', () => resolve())), end]);
  }
  sink.end(undefined);
  await end;
  if (failed) throw failed;
}
