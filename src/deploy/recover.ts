import { setTimeout as sleep } from 'node:timers/promises';
import type { App } from '../domain/app.ts';
import { DinpError } from '../domain/errors.ts';
import type { Target } from '../run/target.ts';
import type { Store } from '../store/store.ts';
import type { AppChanges } from './app-changes.ts';
import type { Progress } from './progress.ts';
import type { Pushes } from './pushes.ts';
import type { BuildQueue } from './queue.ts';
import type { Rollouts } from './rollout.ts';

const CONVERGE_AT_ONCE = 4;
/** An engine or a router that comes later than we do is asked again. */
const FIRST_PAUSE_MS = 2_000;
const LAST_PAUSE_MS = 60_000;

export interface RecoveryParts {
  store: Store;
  queue: BuildQueue;
  pushes: Pushes;
  rollouts: Rollouts;
  changes: AppChanges;
  targets: Target[];
  /** Removes what killed git processes left in repositories; gives what it removed. */
  sweepRepositories(): Promise<string[]>;
  /** Removes half-received uploads; gives what it removed. */
  sweepUploads(): string[];
  /** Ends what builds of a process that died left on the hosts that build; gives what it ended. */
  sweepBuildHosts(): Promise<string[]>;
  /** Told what was found and done. */
  report(event: string, fields: Record<string, unknown>): void;
}

/**
 * Mends what a process that died left: half-received pushes, refs that moved without a build, releases in the middle
 * of their rollout, builds in the middle of anything. Safe to repeat; an engine that does not answer is left for
 * the next start.
 */
export async function recover(parts: RecoveryParts): Promise<void> {
  for (const target of parts.targets) {
    await target
      .removeLeftovers?.()
      .catch((err: unknown) =>
        parts.report('could not remove what one-off commands left', { target: target.name, err }),
      );
  }
  await parts.changes
    .moveRepositories()
    .catch((err: unknown) => parts.report('could not move the repository of a renamed app', { err }));
  const swept = await parts.sweepRepositories();
  if (swept.length > 0) parts.report('removed half-received pushes', { folders: swept });
  const halves = parts.sweepUploads();
  if (halves.length > 0) parts.report('removed half-received uploads', { files: halves });
  // Not waited for: hosts may be away, and a build that starts over sees to it first on its own.
  void sweepBuildHosts(parts);
  await abandonPending(parts);
  parts.queue.resume();
  for (const app of parts.store.apps.list()) await recoverRefs(parts, app);
}

/** Gives all routers the routes that the store says in one step: whoever lost them need not wait until each app's turn comes. */
export async function syncRoutes(parts: Pick<RecoveryParts, 'rollouts' | 'report'>): Promise<void> {
  for (const { router, set, removed, problems } of await parts.rollouts.traffic.sync()) {
    if (set.length + removed.length > 0) parts.report('set the routes of a router right', { router, set, removed });
    for (const { message } of problems) parts.report('a router does not take a route', { router, why: message });
  }
}

/**
 * Brings what runs of apps in line with their live releases, some apps at a time; again later where the engine or the
 * router does not answer. Takes as long as the slowest app needs to start, so nobody should wait for it: each app is
 * locked while it is its turn.
 */
export async function convergeApps(
  parts: Pick<RecoveryParts, 'rollouts' | 'changes' | 'report'>,
  all: App[],
): Promise<void> {
  let apps = [...all];
  for (let pauseMs = FIRST_PAUSE_MS; apps.length > 0; pauseMs = Math.min(pauseMs * 2, LAST_PAUSE_MS)) {
    const left: App[] = [];
    const workers = Array.from({ length: CONVERGE_AT_ONCE }, async () => {
      for (let app = apps.shift(); app; app = apps.shift()) if (!(await convergeApp(parts, app))) left.push(app);
    });
    await Promise.all(workers);
    if (left.length > 0) await sleep(pauseMs, undefined, { ref: false });
    apps = left;
  }
}

/** Gives what takes up apps that could not be set right: each is converged until it is, once at a time. */
export function tidier(
  parts: Pick<RecoveryParts, 'rollouts' | 'changes' | 'report'>,
  onError: (error: unknown) => void,
): (app: App) => void {
  const under = new Set<number>();
  return (app) => {
    if (under.has(app.id)) return;
    under.add(app.id);
    convergeApps(parts, [app])
      .finally(() => under.delete(app.id))
      .catch(onError);
  };
}

/** Builds refs of an app that moved without anybody hearing of it. */
export async function recoverRefs(parts: Pick<RecoveryParts, 'pushes' | 'report'>, app: App): Promise<void> {
  try {
    for (const build of await parts.pushes.recover(app))
      parts.report('built a ref that had moved without a build', { app: app.name, build: build.number });
  } catch (error) {
    parts.report('could not look for refs without a build', { app: app.name, err: error });
  }
}

async function sweepBuildHosts(parts: RecoveryParts): Promise<void> {
  try {
    const left = await parts.sweepBuildHosts();
    if (left.length > 0) parts.report('ended builds of a server that died', { units: left });
  } catch (err) {
    parts.report('could not look for builds that a server that died left on hosts', { err });
  }
}

async function abandonPending(parts: RecoveryParts): Promise<void> {
  for (const release of parts.store.releases.listPending()) {
    try {
      await parts.rollouts.abandon(release);
      parts.report('gave up a half rolled out release', { app: release.app, release: release.number });
    } catch (error) {
      parts.report('could not clean up after a half rolled out release', {
        app: release.app,
        release: release.number,
        err: error,
      });
    }
  }
}

/** What should run is started, routed, and everything else of the app removed. @returns false where it is to be tried again */
async function convergeApp(parts: Pick<RecoveryParts, 'rollouts' | 'changes' | 'report'>, app: App): Promise<boolean> {
  const lines: string[] = [];
  const progress: Progress = { heading: (text) => lines.push(text), line: (text) => lines.push(text) };
  try {
    await parts.rollouts.exclusively(app, progress, (current) =>
      parts.changes.converge(current, progress, AbortSignal.timeout(5 * 60_000)),
    );
    if (lines.length > 0)
      parts.report('brought what runs in line with the live release', { app: app.name, did: lines });
    return true;
  } catch (error) {
    parts.report('could not bring what runs in line with the live release', {
      app: app.name,
      why: error instanceof DinpError ? error.message : error,
    });
    return !(error instanceof DinpError && error.code === 'unavailable');
  }
}
