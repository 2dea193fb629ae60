/** One file of a commit, as git's tree has it. */
export interface TreeEntry {
  /** Path from the root, `/` between parts, never absolute, never `..`. */
  path: string;
  /** 100644 a file, 100755 an executable file, 120000 a symbolic link (its blob is the target text). */
  mode: '100644' | '100755' | '120000';
  /** Object id of the blob. */
  oid: string;
  /** Bytes. */
  size: number;
}

/**
 * The files of one commit, read from git's objects without a checkout. Submodules are refused when the tree is
 * opened, so they never appear here.
 */
export interface Tree {
  /** Full object id of the root tree: equal ids mean equal contents. */
  readonly oid: string;
  /** Every file in the order of git's index (byte order of paths). */
  readonly entries: readonly TreeEntry[];
  /** The entry at exactly this path, if there is one. */
  find(path: string): TreeEntry | undefined;
  /**
   * Object id of a folder (`.` for the root): equal ids mean equal names, modes and contents below it; undefined where
   * there is no such folder.
   */
  treeId(path: string): string | undefined;
  /** The first `limit` bytes of a blob (all of it where it is shorter). Calls at the same time are answered in one go. */
  head(entry: TreeEntry, limit: number): Promise<Buffer>;
  /** The whole blob as a stream of bytes, for content that may be large. */
  stream(entry: TreeEntry): AsyncIterable<Buffer>;
  /**
   * The blobs of many entries in the order given, small ones read ahead: ten times as fast as one `stream` after the
   * other. Each content is to be consumed before the next one is asked for.
   */
  streamAll(entries: Iterable<TreeEntry>): AsyncIterable<{ entry: TreeEntry; content: AsyncIterable<Buffer> }>;
}

/** No files at all: what an image by address is made from. */
export const EMPTY_TREE: Tree = {
  oid: '',
  entries: [],
  find: () => undefined,
  treeId: () => undefined,
  head: async () => Buffer.alloc(0),
  async *stream() {},
  async *streamAll() {},
};
