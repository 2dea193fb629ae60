import { createHash } from 'node:crypto';
import type { Tree, TreeEntry } from '../../../src/domain/tree.ts';

export type FileSpec = string | Buffer | { mode?: TreeEntry['mode']; content: string | Buffer };

/** A file that git would have as executable. */
export function executable(content: string | Buffer): FileSpec {
  return { mode: '100755', content };
}

export function link(target: string): FileSpec {
  return { mode: '120000', content: target };
}

/** A commit's tree out of values, with the object ids that git would give its blobs. */
export function memoryTree(files: Record<string, FileSpec>): Tree {
  const entries: TreeEntry[] = [];
  const contents = new Map<string, Buffer>();
  const folders = new Map<string, string[]>([['.', []]]);
  for (const [path, spec] of Object.entries(files).sort(([a], [b]) => Buffer.compare(Buffer.from(a), Buffer.from(b)))) {
    const { mode = '100644' as const, content } =
      typeof spec === 'string' || Buffer.isBuffer(spec) ? { content: spec } : spec;
    const data = Buffer.from(content as string);
    const oid = sha1(Buffer.concat([Buffer.from(`blob ${data.length}\0`), data]));
    entries.push({ path, mode, oid, size: data.length });
    contents.set(oid, data);
    const parts = path.split('/');
    for (let depth = 0; depth < parts.length; depth++) {
      const folder = parts.slice(0, depth).join('/') || '.';
      if (!folders.has(folder)) folders.set(folder, []);
      folders.get(folder)!.push(`${mode} ${path} ${oid}`);
    }
  }
  const byPath = new Map(entries.map((entry) => [entry.path, entry]));
  async function* stream(entry: TreeEntry): AsyncGenerator<Buffer> {
    const data = contents.get(entry.oid)!;
    for (let at = 0; at < data.length; at += 1000) yield data.subarray(at, at + 1000);
  }
  const ids = new Map([...folders].map(([path, lines]) => [path, sha1(Buffer.from(lines.join('\n')))]));
  return {
    oid: ids.get('.')!,
    entries,
    find: (path) => byPath.get(path),
    treeId: (path) => ids.get(path),
    head: async (entry, limit) => contents.get(entry.oid)!.subarray(0, limit),
    stream,
    async *streamAll(list) {
      for (const entry of list) yield { entry, content: stream(entry) };
    },
  };
}

function sha1(data: Buffer): string {
  return createHash('sha1').update(data).digest('hex');
}
