import { DinpError } from '../../domain/errors.ts';
import { printable } from '../../domain/names.ts';
import type { Tree, TreeEntry } from '../../domain/tree.ts';
import type { LaidFile } from './layout.ts';
import type { Owned } from './owned-folders.ts';
import { TAR_END, tarHeader, tarPadding } from './tar-header.ts';

/** The time of folders, and the first that a file can have (2001-01-01). */
const FIXED_TIME = Date.UTC(2001, 0, 1) / 1000;
/** About 8 years of seconds, in which content finds a time of its own. */
const TIME_SPREAD = 0x0fff_ffff;
/** Folders above ours get the modes that they have in every Linux system. */
const MODES: Record<string, number> = { tmp: 0o1777, 'var/tmp': 0o1777, root: 0o700 };
const MAX_TARGET = 4096;

type Owner = Pick<Owned, 'uid' | 'gid'>;
const ROOT: Owner = { uid: 0, gid: 0 };

/**
 * A time of last change made of the content: equal content has an equal time on every machine, and other content another one.
 * Web servers make their ETags of time and size, and Python trusts a .pyc by them; with one fixed time for all, a page changed without
 * changing its length would look unchanged to every browser that knows it.
 */
export function timeOfContent(oid: string): number {
  return FIXED_TIME + (Number.parseInt(oid.slice(0, 8), 16) & TIME_SPREAD);
}

/**
 * The tar archive of a layer, in pieces of any length. It depends on nothing but the files: every folder is explicit, before what is in it,
 * with 0755; all belongs to 0:0 but for what is `owned`; times are made of the content.
 * @param files sorted by path
 * @throws what the tree throws
 */
export async function* layerTar(tree: Tree, files: readonly LaidFile[], owned?: Owned): AsyncGenerator<Buffer> {
  const folders = new Set<string>();
  const all = [...(owned?.folders ?? []), ...(owned?.volumes ?? [])];
  function* missing(path: string): Generator<Buffer> {
    for (const folder of foldersOf(path)) {
      if (folders.has(folder)) continue;
      folders.add(folder);
      const mode = MODES[folder] ?? 0o755;
      const owner = ownerOf(folder, all, owned);
      yield tarHeader({ path: `${folder}/`, type: 'folder', mode, ...owner, size: 0, mtime: FIXED_TIME, target: '' });
    }
  }
  for (const folder of all.toSorted()) yield* missing(`${folder}/`);
  const contents = tree.streamAll(entriesOf(files))[Symbol.asyncIterator]();
  try {
    for (const file of files) {
      yield* missing(file.path);
      const owner = ownerOf(file.path, owned?.volumes ?? [], owned);
      const { content } = (await contents.next()).value as { content: AsyncIterable<Buffer> };
      yield* file.mode === '120000' ? linkEntry(file, owner, content) : fileEntry(file, owner, content);
    }
  } finally {
    await contents.return?.();
  }
  yield TAR_END;
}

/** Of a path that is one of those folders, or below one. */
function ownerOf(path: string, folders: readonly string[], owned: Owned | undefined): Owner {
  const isOwned = owned !== undefined && folders.some((folder) => path === folder || path.startsWith(`${folder}/`));
  return isOwned ? { uid: owned.uid, gid: owned.gid } : ROOT;
}

async function* fileEntry(file: LaidFile, owner: Owner, content: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  const { size, oid } = file.entry;
  const mode = file.mode === '100755' ? 0o755 : 0o644;
  yield tarHeader({ path: file.path, type: 'file', mode, ...owner, size, mtime: timeOfContent(oid), target: '' });
  let left = size;
  for await (const chunk of content) {
    left -= chunk.length;
    if (left < 0) break;
    yield chunk;
  }
  // The header has promised a size: anything else would shift all that follows.
  if (left !== 0) throw new DinpError('unavailable', `${printable(file.path)} has another size than its listing says.`);
  if (size % 512 !== 0) yield tarPadding(size);
}

async function* linkEntry(file: LaidFile, owner: Owner, content: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  const { size, oid } = file.entry;
  const target = size > MAX_TARGET ? '' : Buffer.concat(await Array.fromAsync(content)).toString('utf8');
  if (target === '' || target.includes('\0'))
    throw new DinpError('refused', `The symbolic link ${printable(file.path)} has a target that no link can have.`);
  const mtime = timeOfContent(oid);
  yield tarHeader({ path: file.path, type: 'link', mode: 0o777, ...owner, size: 0, mtime, target });
}

function* entriesOf(files: readonly LaidFile[]): Generator<TreeEntry> {
  for (const { entry } of files) yield entry;
}

function* foldersOf(path: string): Generator<string> {
  for (let at = path.indexOf('/'); at >= 0; at = path.indexOf('/', at + 1)) yield path.slice(0, at);
}
