import { createHash } from 'node:crypto';
import type { Tree, TreeEntry } from '../../domain/tree.ts';

/** A file of an archive: its entry, and the way to its content. */
export interface Leaf {
  entry: TreeEntry;
  open(): AsyncIterable<Buffer>;
}

/**
 * A tree over what is inside an archive. Nothing of it is ever written under a name of the archive's.
 * @param leaves in the byte order of their paths; equal object ids must mean equal modes and contents
 */
export function archiveTree(leaves: readonly Leaf[]): Tree {
  const entries = leaves.map(({ entry }) => entry);
  const byPath = new Map(entries.map((entry) => [entry.path, entry]));
  const byId = new Map(leaves.map((leaf) => [leaf.entry.oid, leaf]));
  let folders: Map<string, string> | undefined;
  const treeId = (path: string) => {
    folders ??= folderIds(entries);
    return folders.get(path);
  };
  // By id, since a folder of this tree calls the same file by a shorter path.
  const stream = (entry: TreeEntry) => byId.get(entry.oid)!.open();
  return {
    get oid() {
      return treeId('.')!;
    },
    entries,
    find: (path) => byPath.get(path),
    treeId,
    head: (entry, limit) => readHead(stream(entry), limit),
    stream,
    async *streamAll(wanted) {
      for (const entry of wanted) yield { entry, content: stream(entry) };
    },
  };
}

async function readHead(content: AsyncIterable<Buffer>, limit: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of content) {
    chunks.push(chunk);
    length += chunk.length;
    if (length >= limit) break;
  }
  return Buffer.concat(chunks).subarray(0, limit);
}

/** An id for every folder, `.` the root: a hash over the names, modes and ids of all the files below it. */
function folderIds(entries: readonly TreeEntry[]): Map<string, string> {
  const hashes = new Map([['.', createHash('sha256')]]);
  for (const { path, mode, oid } of entries) {
    hashes.get('.')!.update(`${mode} ${oid} ${path}\0`);
    for (let slash = path.indexOf('/'); slash !== -1; slash = path.indexOf('/', slash + 1)) {
      const folder = path.slice(0, slash);
      if (!hashes.has(folder)) hashes.set(folder, createHash('sha256'));
      hashes.get(folder)!.update(`${mode} ${oid} ${path.slice(slash + 1)}\0`);
    }
  }
  return new Map([...hashes].map(([folder, hash]) => [folder, hash.digest('hex')]));
}
