import { DinpError } from '../../domain/errors.ts';
import type { TreeEntry } from '../../domain/tree.ts';
import { openZipEntry } from '../archive/open-archive.ts';
import type { Zip } from '../archive/zip.ts';
import { isLfsPointer, regularFile } from '../blobs.ts';
import type { Candidate } from '../detector.ts';
import { baseName } from '../folder.ts';

/** A zip of the commit, and its directory. */
export interface Archive {
  entry: TreeEntry;
  zip: Zip;
}

/** Opens an archive of the commit. @throws DinpError refused for a git-lfs pointer and for what is damaged */
export async function openArchive({ tree, scope }: Candidate, entry: TreeEntry): Promise<Archive> {
  if (isLfsPointer(await tree.head(entry, 64))) throw pointer(entry);
  return { entry, zip: await openZipEntry(tree, entry, scope) };
}

/** The archive that `artifact:` of dinp.yml names, where it is a zip that could be of this kind. */
export async function openNamedArchive(candidate: Candidate, ending: RegExp): Promise<Archive | undefined> {
  const entry = regularFile(candidate.tree, candidate.manifest.artifact ?? '');
  if (entry === undefined) return undefined;
  if (ending.test(entry.path)) return await openArchive(candidate, entry);
  const head = await candidate.tree.head(entry, 4);
  return head.toString('latin1', 0, 2) === 'PK' ? await openArchive(candidate, entry) : undefined;
}

/** Whether a file is called like the app: `shop.war`, `shop-1.2.jar`. */
export function isNamedLike({ app }: Candidate, { path }: TreeEntry): boolean {
  return new RegExp(`^${app}(?:[-_.].*)?\\.[jw]ar$`, 'i').test(baseName(path));
}

/** The one that is meant: the only one, else the only one of the app's name. @throws DinpError refused, listing them */
export function chooseArchive<T extends { entry: TreeEntry }>(candidate: Candidate, found: readonly T[]): T {
  const named = found.filter(({ entry }) => isNamedLike(candidate, entry));
  const chosen = found.length === 1 ? found[0] : named.length === 1 ? named[0] : undefined;
  if (chosen !== undefined) return chosen;
  const paths = (named.length > 0 ? named : found).map(({ entry }) => entry.path);
  const shown = paths.length > 10 ? `${paths.slice(0, 10).join(', ')} and ${paths.length - 10} more` : paths.join(', ');
  throw new DinpError('refused', `Several archives were found: ${shown}.`, {
    hint: `Say in dinp.yml which one is meant:\n  artifact: ${paths[0]}`,
  });
}

function pointer({ path }: TreeEntry): DinpError {
  return new DinpError('refused', `${path} is a git-lfs pointer: the archive itself is not in the commit.`, {
    hint: `Take it out of git-lfs and commit the file itself:\n  git lfs untrack ${path} && git rm --cached ${path} && git add ${path}`,
  });
}
