import type { Tree, TreeEntry } from '../domain/tree.ts';
import type { ReadRange } from './elf.ts';

const HEAD = 4096;

/** Texts that are read whole (manifests, markers) are small; a larger one is none of them. */
const MAX_TEXT = 256 * 1024;

/** A reader of ranges over a blob whose beginning is at hand; what lies further is streamed and let go. */
export function rangeReader(tree: Tree, entry: TreeEntry, head: Buffer): ReadRange {
  return async (offset, length) => {
    if (offset + length <= head.length || head.length === entry.size) return head.subarray(offset, offset + length);
    if (offset >= entry.size) return Buffer.alloc(0);
    const parts: Buffer[] = [];
    let at = 0;
    for await (const chunk of tree.stream(entry)) {
      if (at + chunk.length > offset)
        parts.push(chunk.subarray(Math.max(0, offset - at), Math.max(0, offset + length - at)));
      at += chunk.length;
      if (at >= offset + length) break;
    }
    return Buffer.concat(parts);
  };
}

/** The beginnings of many files, in order; a large file is left after its first bytes. */
export async function* readHeads(
  tree: Tree,
  entries: Iterable<TreeEntry>,
): AsyncGenerator<{ entry: TreeEntry; head: Buffer }> {
  for await (const { entry, content } of tree.streamAll(entries)) {
    const chunks: Buffer[] = [];
    let length = 0;
    for await (const chunk of content) {
      chunks.push(chunk);
      length += chunk.length;
      if (length >= HEAD) break;
    }
    yield { entry, head: Buffer.concat(chunks).subarray(0, HEAD) };
  }
}

/** The text of a regular file; undefined where there is none of that name, or it is no text of a sensible size. */
export async function readText(tree: Tree, path: string, limit = MAX_TEXT): Promise<string | undefined> {
  const entry = regularFile(tree, path);
  if (entry === undefined || entry.size > limit) return undefined;
  return (await tree.head(entry, limit)).toString('utf8');
}

/** The value of a JSON file that holds an object; undefined where it is missing or none. */
export async function readJsonObject(
  tree: Tree,
  path: string,
  limit = MAX_TEXT,
): Promise<Record<string, unknown> | undefined> {
  const text = await readText(tree, path, limit);
  if (text === undefined) return undefined;
  try {
    return objectIn(JSON.parse(text.replace(/^\ufeff/, '')));
  } catch {
    return undefined;
  }
}

/** A value as an object; undefined for lists, null and anything else. */
export function objectIn(value: unknown): Record<string, unknown> | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Record<string, unknown>)
    : undefined;
}

/** The first of `paths` that is a regular file of the tree. */
export function firstFile(tree: Tree, paths: readonly string[]): string | undefined {
  return paths.find((path) => regularFile(tree, path) !== undefined);
}

/** The file at a path, unless it is a link: links are data and followed by nobody here. */
export function regularFile(tree: Tree, path: string): TreeEntry | undefined {
  const entry = tree.find(path);
  return entry?.mode === '120000' ? undefined : entry;
}

/** What the first bytes of a file say it is, where that matters to somebody who wants to start it. */
export function formatOf(head: Buffer): 'elf' | 'macos' | 'windows' | 'lfs' | 'other' {
  if (head.length >= 4) {
    const magic = head.readUInt32BE(0);
    if (magic === 0x7f454c46) return 'elf';
    if ([0xfeedface, 0xfeedfacf, 0xcefaedfe, 0xcffaedfe].includes(magic)) return 'macos';
    // A universal binary begins like a Java class file; it has few architectures, a class a version above 44.
    if (magic === 0xcafebabe && head.length >= 8 && head.readUInt32BE(4) < 20) return 'macos';
  }
  if (head.toString('latin1', 0, 2) === 'MZ' && isPortableExecutable(head)) return 'windows';
  return isLfsPointer(head) ? 'lfs' : 'other';
}

/** The text that git-lfs commits in place of a file (git-lfs specification, version 1). */
export function isLfsPointer(head: Buffer): boolean {
  return head.toString('latin1', 0, 60).startsWith('version https://git-lfs.github.com/spec/');
}

function isPortableExecutable(head: Buffer): boolean {
  if (head.length < 64) return false;
  const at = head.readUInt32LE(60);
  return at + 4 > head.length || head.toString('latin1', at, at + 4) === 'PE\0\0';
}
