import { createHash } from 'node:crypto';
import type { Tree, TreeEntry } from '../../src/domain/tree.ts';

/** A file of a memory tree: its text, or text with a mode. */
export type MemoryFile = string | Buffer | { mode: TreeEntry['mode']; content: string | Buffer };

/** A Tree that is held in memory, for tests of what reads trees. Object ids are those that git would give to blobs. */
export function memoryTree(files: Record<string, MemoryFile>): Tree {
  const blobs = new Map<string, Buffer>();
  const entries = Object.entries(files)
    .map(([path, file]): TreeEntry => {
      const plain = typeof file === 'string' || Buffer.isBuffer(file);
      const content = Buffer.from(plain ? file : file.content);
      const oid = createHash('sha1').update(`blob ${content.length}\0`).update(content).digest('hex');
      blobs.set(oid, content);
      return { path, mode: plain ? '100644' : file.mode, oid, size: content.length };
    })
    .sort((a, b) => Buffer.compare(Buffer.from(a.path), Buffer.from(b.path)));
  const idOf = (prefix: string): string | undefined => {
    const inside = entries.filter((entry) => entry.path.startsWith(prefix));
    if (inside.length === 0) return undefined;
    return createHash('sha1')
      .update(JSON.stringify(inside.map(({ path, mode, oid }) => [path.slice(prefix.length), mode, oid])))
      .digest('hex');
  };
  const tree: Tree = {
    oid: idOf('') ?? '',
    entries,
    find: (path) => entries.find((entry) => entry.path === path),
    treeId: (path) => idOf(path === '.' ? '' : `${path}/`),
    head: async (entry, limit) => blobs.get(entry.oid)!.subarray(0, limit),
    async *stream(entry) {
      const content = blobs.get(entry.oid)!;
      for (let at = 0; at < content.length; at += 65536) yield content.subarray(at, at + 65536);
    },
    async *streamAll(wanted) {
      for (const entry of wanted) yield { entry, content: tree.stream(entry) };
    },
  };
  return tree;
}
