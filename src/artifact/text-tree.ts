import { createHash } from 'node:crypto';
import type { Tree, TreeEntry } from '../domain/tree.ts';

/** A tree of small files that are made here, such as the start scripts of packages. Ids are those that git would give. */
export function textTree(files: ReadonlyMap<string, { text: string; mode: TreeEntry['mode'] }>): Tree {
  const contents = new Map<string, Buffer>();
  const entries = [...files]
    .map(([path, { text, mode }]): TreeEntry => {
      const content = Buffer.from(text);
      const oid = createHash('sha1').update(`blob ${content.length}\0`).update(content).digest('hex');
      contents.set(oid, content);
      return { path, mode, oid, size: content.length };
    })
    .sort((a, b) => (a.path < b.path ? -1 : 1));
  const idOf = (prefix: string): string | undefined => {
    const inside = entries.filter(({ path }) => path.startsWith(prefix));
    if (inside.length === 0) return undefined;
    const lines = inside.map(({ path, mode, oid }) => [path.slice(prefix.length), mode, oid]);
    return createHash('sha1').update(JSON.stringify(lines)).digest('hex');
  };
  async function* stream(entry: TreeEntry): AsyncGenerator<Buffer> {
    yield contents.get(entry.oid)!;
  }
  return {
    oid: idOf('') ?? createHash('sha1').digest('hex'),
    entries,
    find: (path) => entries.find((entry) => entry.path === path),
    treeId: (path) => idOf(path === '.' ? '' : `${path}/`),
    head: async (entry, limit) => contents.get(entry.oid)!.subarray(0, limit),
    stream,
    async *streamAll(wanted) {
      for (const entry of wanted) yield { entry, content: stream(entry) };
    },
  };
}
