import type { ImageRef } from '../domain/image-ref.ts';
import type { ImagePlan } from '../domain/plan.ts';
import type { Tree } from '../domain/tree.ts';

export interface ImageRequest {
  app: string;
  /** `blog` or `blog/worker`: the repository within the registry. */
  repository: string;
  /** The tag of the image's source: the full SHA of the pushed commit, `up-…` of an upload. */
  tag: string;
  /** The pushed commit, for a label; undefined for uploads. */
  revision: string | undefined;
  /** Short branch name, whose slug is a tag of the image; undefined for uploads. */
  branch: string | undefined;
  buildNumber: number;
  plan: ImagePlan;
  /** Tree ids whose contents the image depends on. */
  watch: string[];
  /** What the plan's paths are read from. */
  tree: Tree;
  noCache: boolean;
  /** Milliseconds after which the signal aborts at the latest, for what must end even where nobody is left to stop it. */
  timeoutMs?: number | undefined;
  /** Output for the pusher, as it comes; may hold partial lines. */
  onOutput(text: string): void;
  signal: AbortSignal;
}

export interface BuiltImage {
  ref: ImageRef;
  contentKey: string;
  /** true: the registry had this content already, only tags were set. */
  reused: boolean;
  /** The one TCP port that the image EXPOSEs, if there is exactly one. */
  exposedPort: number | undefined;
  hasHealthcheck: boolean;
  hasCommand: boolean;
}

/** Makes the image of one service and puts it into the registry. */
export interface ImageBuilder {
  /**
   * @throws DinpError build-failed with the last lines of output as detail, canceled when the signal aborts,
   *   unavailable when engine or registry do not answer, refused for a missing base
   */
  build(request: ImageRequest): Promise<BuiltImage>;
}
