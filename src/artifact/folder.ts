import type { PlacedFile } from '../domain/plan.ts';
import type { Tree, TreeEntry } from '../domain/tree.ts';

/** `a` and `b` as one path of a commit, where `.` is the root. */
export function joinPath(folder: string, path: string): string {
  if (folder === '.') return path;
  return path === '.' ? folder : `${folder}/${path}`;
}

export function baseName(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1);
}

export function dirName(path: string): string {
  const slash = path.lastIndexOf('/');
  return slash === -1 ? '.' : path.slice(0, slash);
}

/** A folder of a commit as a tree of its own; paths begin at it. */
export function folderTree(tree: Tree, folder: string): Tree {
  if (folder === '.') return tree;
  const prefix = `${folder}/`;
  const entries = tree.entries
    .filter(({ path }) => path.startsWith(prefix))
    .map((entry) => ({ ...entry, path: entry.path.slice(prefix.length) }));
  const byPath = new Map(entries.map((entry) => [entry.path, entry]));
  return {
    oid: tree.treeId(folder) ?? tree.oid,
    entries,
    find: (path) => byPath.get(path),
    treeId: (path) => tree.treeId(joinPath(folder, path)),
    head: (entry, limit) => tree.head(entry, limit),
    stream: (entry) => tree.stream(entry),
    streamAll: (list) => tree.streamAll(list),
  };
}

/** The files that lie in each of `folders` themselves, links left out, in one walk over the tree. */
export function filesIn(tree: Tree, folders: readonly string[]): Map<string, TreeEntry[]> {
  const found = new Map<string, TreeEntry[]>(folders.map((folder) => [folder, []]));
  for (const entry of tree.entries) {
    if (entry.mode !== '120000') found.get(dirName(entry.path))?.push(entry);
  }
  return found;
}

export interface Laid {
  files: PlacedFile[];
  /** Ids of the folder's children that hold those files. */
  watch: string[];
}

/**
 * Lays all of a folder below `into`, links as links.
 * @param skip leaves out a file by its path in the folder
 * @param programs files that get the x bit whatever git says
 */
export function layFolder(
  tree: Tree,
  folder: string,
  into: string,
  skip: (path: string) => boolean,
  programs: ReadonlySet<string> = new Set(),
): Laid {
  const prefix = folder === '.' ? '' : `${folder}/`;
  const children = new Set<string>();
  const files: PlacedFile[] = [];
  let child: string | undefined;
  for (const entry of tree.entries) {
    if (!entry.path.startsWith(prefix)) continue;
    const path = entry.path.slice(prefix.length);
    if (skip(path)) continue;
    files.push({ to: `${into}/${path}`, from: entry.path, mode: programs.has(entry.path) ? '100755' : entry.mode });
    const name = path.slice(0, Math.max(path.indexOf('/'), 0));
    // Paths are in order, so that a child's files follow each other and its id is asked for once.
    if (name !== '' && name === child) continue;
    child = name;
    children.add((name === '' ? undefined : tree.treeId(prefix + name)) ?? entry.oid);
  }
  return { files, watch: [...children] };
}
