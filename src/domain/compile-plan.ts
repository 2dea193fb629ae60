import type { Tree } from './tree.ts';

/** What must be compiled before a commit can be planned: the builder of dinp.yml, its commands, and what they leave. */
export interface CompilePlan {
  /** Of the builder: a base of the catalogue, or an image by address. */
  image: string;
  /** Absolute folder of the builder that gets the sources. */
  workdir: string;
  /** Folder of the commit whose files are the sources, `.` for all. */
  sources: string;
  /** Folder of the sources where commands run and where `output` begins, `.` for their top. */
  dir: string;
  /** In the order in which they run. */
  commands: { script: 'scripts.build' | 'scripts.test'; line: string }[];
  /** Path of what is deployed; a folder or a file. */
  output: string;
  /** Environment of the commands. */
  env: Record<string, string>;
  /** Ids of the trees and blobs whose change makes compiling anew. */
  watch: string[];
  /** Everything else of the commit that decides what its image becomes, as one text. */
  packaging: string;
  timeoutMs: number | undefined;
  /** Repository of the image within the registry; undefined: named after the app. */
  repository: string | undefined;
}

/** What a builder has made of a commit. */
export type Compiled =
  | {
      /** The files that it left. */
      kind: 'files';
      tree: Tree;
    }
  | {
      /** Nothing, for the registry has the image that was made of the same sources in the same way. */
      kind: 'kept';
      contentKey: string;
      /** Kind of the artifact in it, where the image says. */
      artifact?: string | undefined;
    };
