import type { Tree, TreeEntry } from '../domain/tree.ts';
import { looksLike } from './archive/looks.ts';
import { openArchiveEntry, openZipEntry } from './archive/open-archive.ts';
import { regularFile } from './blobs.ts';
import { ARTIFACT_FOLDERS, isPlumbing } from './detector.ts';
import { filesIn } from './folder.ts';
import type { Manifest } from './manifest-schema.ts';

const ENDING = /\.(?:tar\.gz|tgz|tar\.zst|tar|zip)$/i;
const ABOUT = /^(?:README|LICEN[CS]E|CHANGELOG|NOTICE)(?:\.\w+)?$|^app\.json$/i;

/** An archive of a commit: what is inside, or the path of one that is started or served as it is. */
export type CommittedArchive = { tree: Tree } | { program: string };

/**
 * The archive that a commit is there to deploy: the one that dinp.yml names, or the only file besides texts about it.
 * @param scope closes it
 * @throws DinpError refused for an archive that nobody should unpack
 */
export async function openCommittedArchive(
  tree: Tree,
  { artifact, type }: Manifest,
  scope: AsyncDisposableStack,
): Promise<CommittedArchive | undefined> {
  if (artifact === undefined && type !== undefined && type !== 'auto') return undefined;
  const entry = artifact === undefined ? onlyArchive(tree) : regularFile(tree, artifact);
  if (entry === undefined || !ENDING.test(entry.path)) return undefined;
  const isZip = looksLike(await tree.head(entry, 512)) === 'zip';
  if (isZip && (await isProgram(tree, entry))) return { program: entry.path };
  return { tree: await openArchiveEntry(tree, entry, scope) };
}

function onlyArchive(tree: Tree): TreeEntry | undefined {
  const files = tree.entries.filter(({ path }) => !isPlumbing(path) && !ABOUT.test(path));
  const found = [...filesIn(tree, ARTIFACT_FOLDERS).values()].flat().filter(({ path }) => ENDING.test(path));
  return files.length === 1 && found.length === 1 ? found[0] : undefined;
}

/** A war or a jar by another name. */
async function isProgram(tree: Tree, entry: TreeEntry): Promise<boolean> {
  await using scope = new AsyncDisposableStack();
  const { records } = await openZipEntry(tree, entry, scope);
  return records.some(({ name }) => name.startsWith('WEB-INF/') || name === 'META-INF/MANIFEST.MF');
}
