import { Readable } from 'node:stream';
import { createGunzip, createZstdDecompress } from 'node:zlib';
import type { Tree, TreeEntry } from '../../domain/tree.ts';
import { isLfsPointer } from '../blobs.ts';
import { type ByteFile, Spool } from './byte-file.ts';
import { type ArchiveOptions, damaged, limitsOf, refused } from './limits.ts';
import { isTarHeader, LOOKED_AT, looksLike } from './looks.ts';
import { openTar, reasonOf, type TarPacking } from './tar.ts';
import { Zip } from './zip.ts';
import { zipTree } from './zip-tree.ts';

/** A zip that is only looked into may have more entries than one that is unpacked. */
const MAX_LISTED = 200_000;

/** A tree of one file that lies on disk by itself, which can be read at random there. */
export interface FileTree extends Tree {
  readonly file: ByteFile;
}

/** The file of an entry as one to be read at random: itself where it lies on disk, else a copy without a name. */
async function fileOf(
  tree: Tree | FileTree,
  entry: TreeEntry,
  scope: AsyncDisposableStack,
  { scratch }: ArchiveOptions,
): Promise<ByteFile> {
  if ('file' in tree) return tree.file;
  const spool = scope.use(await Spool.create(scratch));
  for await (const chunk of tree.stream(entry)) await spool.append(chunk);
  await spool.flush();
  return spool;
}

/**
 * A zip in a tree, to look into: its directory and its files as they are, no rules for unpacking held against it.
 * @param scope closes it
 * @throws DinpError refused for what is no zip, or damaged
 */
export async function openZipEntry(
  tree: Tree,
  entry: TreeEntry,
  scope: AsyncDisposableStack,
  options: ArchiveOptions = {},
): Promise<Zip> {
  return await Zip.open(await fileOf(tree, entry, scope, options), entry.path, MAX_LISTED);
}

/**
 * What is inside an archive (zip, tar, tar.gz, tar.zst) that lies in a tree.
 * @param scope closes it
 * @throws DinpError refused for what is no archive, is damaged, or breaks the rules for archives
 */
export async function openArchiveEntry(
  tree: Tree,
  entry: TreeEntry,
  scope: AsyncDisposableStack,
  options: ArchiveOptions & { strip?: boolean } = {},
): Promise<Tree> {
  if (isLfsPointer(await tree.head(entry, 64))) {
    throw refused(
      entry.path,
      'is a git-lfs pointer: the archive itself is not in the commit.',
      `Take it out of git-lfs and commit the file itself:\n  git lfs untrack ${entry.path} && git rm --cached ${entry.path} && git add ${entry.path}`,
    );
  }
  const file = await fileOf(tree, entry, scope, options);
  const opened = await openArchiveFile(file, entry.path, options);
  if (opened === undefined) throw refused(entry.path, 'is no archive.', 'A zip, tar.gz or tar is meant.');
  return scope.use(opened);
}

/**
 * What is inside an archive file; one folder that holds everything is taken off unless `strip` is false.
 * @returns undefined where it is no archive; the caller closes `file` after it
 */
export async function openArchiveFile(
  file: ByteFile,
  name: string,
  options: ArchiveOptions & { strip?: boolean },
): Promise<(Tree & AsyncDisposable) | undefined> {
  const limits = limitsOf(options);
  const strip = options.strip ?? true;
  const looks = looksLike(await file.read(0, LOOKED_AT));
  if (looks === 'zip') {
    const zip = await Zip.open(file, name, limits.maxEntries);
    return Object.assign(await zipTree(zip, { limits, strip }), { [Symbol.asyncDispose]: async () => {} });
  }
  const packing = await tarPacking(file, name, looks);
  return packing && (await openTar(file, name, packing, { limits, strip, scratch: options.scratch }));
}

async function tarPacking(file: ByteFile, name: string, looks: unknown): Promise<TarPacking | undefined> {
  if (looks === 'tar') return 'none';
  if (looks !== 'gzip' && looks !== 'zstd') return undefined;
  if (isTarHeader(await inflatedHead(file, name, looks))) return looks;
  const what = looks === 'gzip' ? 'gzip' : 'Zstandard';
  throw refused(name, `is a single file packed with ${what}, not an archive.`);
}

/** The first 512 bytes of what is packed. @throws DinpError refused where it cannot be unpacked */
async function inflatedHead(file: ByteFile, name: string, packing: 'gzip' | 'zstd'): Promise<Buffer> {
  const inflater = packing === 'gzip' ? createGunzip() : createZstdDecompress();
  const input = Readable.from(file.stream(0, file.size), { objectMode: false });
  input.on('error', (error) => inflater.destroy(error)).pipe(inflater);
  const chunks: Buffer[] = [];
  let length = 0;
  try {
    for await (const chunk of inflater) {
      chunks.push(chunk);
      length += chunk.length;
      if (length >= 512) break;
    }
  } catch (error) {
    if (length < 512) throw damaged(name, reasonOf(error), error);
  } finally {
    input.destroy();
  }
  return Buffer.concat(chunks).subarray(0, 512);
}
