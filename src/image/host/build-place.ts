import type { Readable } from 'node:stream';
import type { BuilderKind } from '../engine/engine.ts';

/** What a build unit is to do, all of it decided before. */
export interface BuildJob {
  app: string;
  buildNumber: number;
  /** What the context is of: a commit's full SHA, `up-…`. */
  source: string;
  /** Gives the context as tar. */
  context(): Readable;
  builder: BuilderKind;
  /** Path within the context. */
  dockerfile: string;
  stage: string | undefined;
  args: Record<string, string>;
  labels: Record<string, string>;
  noCache: boolean;
  /** Repository and tag that it is pushed to, as the place calls our registry. */
  image: string;
  /** Of the containers of RUN, as far as the builder keeps to them. */
  limits: { memoryBytes: number; cpus: number };
  /** Milliseconds until it is killed. */
  timeoutMs: number;
}

/** How a build unit ended. */
export interface BuildEnd {
  /** The command that failed; undefined where all went well. */
  failed: 'fetch' | 'build' | 'push' | 'other' | undefined;
  /** For people, of a failure: `exit status 1`, `its time was over`. */
  how: string;
}

/** One machine for one build. What the build leaves there goes when it is disposed of. */
export interface BuildPlace extends AsyncDisposable {
  /** For people. */
  readonly name: string;
  /** `127.0.0.1:5000`: our registry, as that machine reaches it. */
  readonly registry: string;
  /** Runs the docker CLI there with the credentials of the build. @throws DinpError unavailable, canceled */
  docker(args: string[], signal: AbortSignal): Promise<{ code: number; stdout: string; stderr: string }>;
  /**
   * Has the unit build and push.
   * @param onLine each line that it prints, as it comes
   * @throws DinpError unavailable, refused (what no unit can hold), canceled once it has ended
   */
  run(job: BuildJob, onLine: (line: string) => void, signal: AbortSignal): Promise<BuildEnd>;
}
