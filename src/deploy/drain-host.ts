import type { RunHost } from '../domain/run-host.ts';
import type { Placement } from '../store/placements.ts';
import type { Store } from '../store/store.ts';
import type { Progress } from './progress.ts';
import type { Rollouts } from './rollout.ts';

/**
 * Moves what a host runs to others: each instance starts there, gets the traffic, and only then the one here stops.
 * @returns what had to stay: instances whose volume is here, or whose app has no other host
 * @throws DinpError start-failed, unavailable: the app that failed still runs here
 */
export async function drainHost(
  parts: { store: Store; rollouts: Rollouts },
  host: RunHost,
  progress: Progress,
  signal: AbortSignal,
): Promise<Placement[]> {
  const { store, rollouts } = parts;
  store.hosts.setDrained(host.id, true);
  const names = new Set(store.placements.onHost(host.id).map(({ app }) => app));
  for (const app of store.apps.list().filter(({ name }) => names.has(name))) {
    progress.heading(`Moving ${app.name}`);
    await rollouts.exclusively(app, progress, (current) => rollouts.converge(current, progress, signal));
  }
  return store.placements.onHost(host.id);
}
