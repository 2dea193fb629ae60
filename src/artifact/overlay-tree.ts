import { createHash } from 'node:crypto';
import type { Tree, TreeEntry } from '../domain/tree.ts';

/** A tree that is seen below a folder of the whole. */
export interface OverlayPart {
  /** Folder without a slash at its end; `.` for the top. */
  at: string;
  tree: Tree;
}

interface Origin {
  tree: Tree;
  entry: TreeEntry;
}

/** Several trees as one, each below its folder: a commit with the archives that lie in it unpacked. Parts share no path. */
export function overlayTree(parts: readonly OverlayPart[]): Tree {
  const origins = new Map<TreeEntry, Origin>();
  const byOid = new Map<string, Origin>();
  const byPath = new Map<string, TreeEntry>();
  for (const { at, tree } of parts) {
    for (const entry of tree.entries) {
      const placed = at === '.' ? entry : { ...entry, path: `${at}/${entry.path}` };
      const origin = { tree, entry };
      origins.set(placed, origin);
      byOid.set(placed.oid, origin);
      byPath.set(placed.path, placed);
    }
  }
  // An entry of another making (a copy under another path) has the same id where it has the same content.
  const originOf = (entry: TreeEntry): Origin => {
    const origin = origins.get(entry) ?? byOid.get(entry.oid);
    if (origin === undefined) throw new Error(`${entry.path} is not of this tree`);
    return origin;
  };
  const treeId = (path: string) => idOf(parts, path);
  return {
    oid: treeId('.') ?? '',
    entries: [...byPath.values()].sort((a, b) => (a.path < b.path ? -1 : 1)),
    find: (path) => byPath.get(path),
    treeId,
    head(entry, limit) {
      const origin = originOf(entry);
      return origin.tree.head(origin.entry, limit);
    },
    stream(entry) {
      const origin = originOf(entry);
      return origin.tree.stream(origin.entry);
    },
    async *streamAll(entries) {
      for (const run of runsOf(entries, originOf)) {
        let i = 0;
        for await (const { content } of run.tree.streamAll(run.originals)) yield { entry: run.entries[i++]!, content };
      }
    },
  };
}

interface Run {
  tree: Tree;
  entries: TreeEntry[];
  originals: TreeEntry[];
}

/** Entries of one tree that follow each other are read in one go. */
function* runsOf(entries: Iterable<TreeEntry>, originOf: (entry: TreeEntry) => Origin): Generator<Run> {
  let run: Run | undefined;
  for (const entry of entries) {
    const origin = originOf(entry);
    if (run?.tree !== origin.tree) {
      if (run !== undefined) yield run;
      run = { tree: origin.tree, entries: [], originals: [] };
    }
    run.entries.push(entry);
    run.originals.push(origin.entry);
  }
  if (run !== undefined) yield run;
}

/** A folder's id: that of the one part it lies in, else made of the ids of all that lie in it. */
function idOf(parts: readonly OverlayPart[], path: string): string | undefined {
  const inside: [string, string][] = [];
  for (const { at, tree } of parts) {
    if (at === path) inside.push(['.', tree.oid]);
    else if (path === '.' || at.startsWith(`${path}/`)) inside.push([at, tree.oid]);
    else if (at === '.' || path.startsWith(`${at}/`)) {
      const id = tree.treeId(at === '.' ? path : path.slice(at.length + 1));
      if (id !== undefined) inside.push(['.', id]);
    }
  }
  const [first] = inside;
  if (first === undefined || (inside.length === 1 && first[0] === '.')) return first?.[1];
  return createHash('sha1').update(JSON.stringify(inside)).digest('hex');
}
