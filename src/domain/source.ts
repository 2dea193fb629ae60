import { createHash } from 'node:crypto';

/** What a build is made from. */
export type Source =
  | {
      kind: 'commit';
      /** Full object id. */
      sha: string;
      /** The deploy branch, `refs/heads/main`. */
      ref: string;
    }
  | {
      kind: 'upload';
      /** Of the uploaded bytes, 64 hex digits. */
      sha256: string;
      /** Its name where it came from, for people and for a look at its ending. */
      filename: string;
      /** Base that the uploader asked for; undefined: the one that fits. */
      base?: string | undefined;
    }
  | {
      kind: 'image';
      /** As it was asked for, `registry.example.com/shop:7` or with a digest. */
      reference: string;
    };

/** Hex digits of a SHA-256 that a tag holds. */
const TAG_DIGITS = 12;

/** `3f2a91c`, `up-3f2a91c04bd1`, `shop:7`: the source in a word, for tables and sentences. */
export function shortSource(source: Source): string {
  switch (source.kind) {
    case 'commit':
      return source.sha.slice(0, 7);
    case 'upload':
      return sourceTag(source);
    case 'image':
      return source.reference;
  }
}

/** `commit 3f2a91c`, `upload shop.war (up-3f2a91c04bd1)`, `image shop:7`, for people. */
export function describeSource(source: Source): string {
  switch (source.kind) {
    case 'commit':
      return `commit ${shortSource(source)}`;
    case 'upload':
      return `upload ${source.filename} (${shortSource(source)})`;
    case 'image':
      return `image ${source.reference}`;
  }
}

/** The tag that the source's images get: the full SHA of a commit; `up-` or `img-` and a beginning of a SHA-256 for others. */
export function sourceTag(source: Source): string {
  switch (source.kind) {
    case 'commit':
      return source.sha;
    case 'upload':
      return `up-${source.sha256.slice(0, TAG_DIGITS)}`;
    case 'image':
      return `img-${createHash('sha256').update(source.reference).digest('hex').slice(0, TAG_DIGITS)}`;
  }
}

/** Full SHA of the commit; undefined for a source of another kind. */
export function commitOf(source: Source): string | undefined {
  return source.kind === 'commit' ? source.sha : undefined;
}

/** Short name of the branch that was pushed; undefined for a source of another kind. */
export function branchOf(source: Source): string | undefined {
  return source.kind === 'commit' ? source.ref.replace('refs/heads/', '') : undefined;
}
