import { DinpError } from '../../domain/errors.ts';
import { printable } from '../../domain/names.ts';
import type { Tree, TreeEntry } from '../../domain/tree.ts';
import type { LaidFile } from './layout.ts';
import { TAR_END, tarHeader, tarPadding } from './tar-header.ts';

/** The time of folders, and the first that a file can have (2001-01-01). */
const FIXED_TIME = Date.UTC(2001, 0, 1) / 1000;
/** About 8 years of seconds, in which content finds a time of its own. */
const TIME_SPREAD = 0x0fff_ffff;
/** Folders above ours get the modes that they have in every Linux system. */
const MODES: Record<string, number> = { tmp: 0o1777, 'var/tmp': 0o1777, root: 0o700 };
const MAX_TARGET = 4096;

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
 * with 0755; all belongs to 0:0; times are made of the content.
 * @param files sorted by path
 * @throws what the tree throws
 */
export async function* layerTar(tree: Tree, files: readonly LaidFile[]): AsyncGenerator<Buffer> {
  const folders = new Set<string>();
  const contents = tree.streamAll(entriesOf(files))[Symbol.asyncIterator]();
  try {
    for (const file of files) {
      for (const folder of foldersOf(file.path)) {
        if (folders.has(folder)) continue;
        folders.add(folder);
        const mode = MODES[folder] ?? 0o755;
        yield tarHeader({ path: `${folder}/`, type: 'folder', mode, size: 0, mtime: FIXED_TIME, target: '' });
      }
      const { content } = (await contents.next()).value as { content: AsyncIterable<Buffer> };
      yield* file.mode === '120000' ? linkEntry(file, content) : fileEntry(file, content);
    }
  } finally {
    await contents.return?.();
  }
  yield TAR_END;
}

async function* fileEntry(file: LaidFile, content: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  const { size, oid } = file.entry;
  const mode = file.mode === '100755' ? 0o755 : 0o644;
  yield tarHeader({ path: file.path, type: 'file', mode, size, mtime: timeOfContent(oid), target: '' });
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

async function* linkEntry(file: LaidFile, content: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  const { size, oid } = file.entry;
  const target = size > MAX_TARGET ? '' : Buffer.concat(await Array.fromAsync(content)).toString('utf8');
  if (target === '' || target.includes('\0'))
    throw new DinpError('refused', `The symbolic link ${printable(file.path)} has a target that no link can have.`);
  yield tarHeader({ path: file.path, type: 'link', mode: 0o777, size: 0, mtime: timeOfContent(oid), target });
}

function* entriesOf(files: readonly LaidFile[]): Generator<TreeEntry> {
  for (const { entry } of files) yield entry;
}

function* foldersOf(path: string): Generator<string> {
  for (let at = path.indexOf('/'); at >= 0; at = path.indexOf('/', at + 1)) yield path.slice(0, at);
}
