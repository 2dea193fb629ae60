import type { Source } from './source.ts';

/** waiting → running → succeeded | failed | canceled; or superseded while waiting. */
export type BuildState = 'waiting' | 'running' | 'succeeded' | 'failed' | 'canceled' | 'superseded';

export const STAGES = ['checkout', 'detect', 'compile', 'build', 'release', 'start', 'route'] as const;
export type Stage = (typeof STAGES)[number];

/** One attempt to turn one commit or upload into images and a release. */
export interface Build {
  id: number;
  appId: number;
  app: string;
  /** 1, 2, 3 … within the app. */
  number: number;
  source: Source;
  /** What is new, in the words of whoever deploys it. */
  note: string | undefined;
  state: BuildState;
  stage: Stage | undefined;
  /** When it entered which stage, in this order; milliseconds since the epoch. */
  stages: { stage: Stage; at: number }[];
  noCache: boolean;
  /** Name of the key that pushed. */
  by: string;
  /** Why it failed, one line. */
  reason: string | undefined;
  /** Number of the build that took its place, for superseded ones. */
  supersededBy: number | undefined;
  release: number | undefined;
  /** The pusher's session ended before the build did and nobody has been told the result yet. */
  unwatched: boolean;
  /** Milliseconds since the epoch. */
  createdAt: number;
  startedAt: number | undefined;
  finishedAt: number | undefined;
}

export function isFinished(state: BuildState): boolean {
  return state !== 'waiting' && state !== 'running';
}
