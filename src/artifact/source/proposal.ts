import type { Tree } from '../../domain/tree.ts';

export interface SourceTree {
  tree: Tree;
  app: string;
  hostArch: string;
}

/** A language whose sources can be told by a file, and the Dockerfile that builds them. */
export interface SourceKind {
  /** The file that tells, as it lies in the tree; undefined where it is not this language. */
  find(tree: Tree): string | undefined;
  /** Behind "but no …": what a build would have left. */
  missing: string;
  /** Command lines that build it here, so that the result can be committed; empty where that is no use. */
  build(source: SourceTree): Promise<string[]>;
  /** Lines of a Dockerfile that builds and runs it. */
  dockerfile(source: SourceTree): Promise<string[]>;
}

/** A Dockerfile as a hint: indented, which Dockerfiles allow, so that it can be pasted as it is. */
export function dockerfileHint(lines: string[]): string {
  return [
    'Commit this as "Dockerfile" and push again:',
    '',
    ...lines.map((line) => (line === '' ? '' : `  ${line}`)),
  ].join('\n');
}
