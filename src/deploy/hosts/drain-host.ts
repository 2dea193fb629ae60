import { DinpError } from '../../domain/errors.ts';
import type { RunHost } from '../../domain/run-host.ts';
import type { Placement } from '../../store/placements.ts';
import type { Store } from '../../store/store.ts';
import type { Progress } from '../progress.ts';
import type { Rollouts } from '../rollout.ts';

/**
 * Moves what a host runs to others: each instance starts there, gets the traffic, and only then the one here stops.
 * @returns what had to stay: instances whose volume is here, whose app has no other host, or that did not start there
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
    try {
      await rollouts.exclusively(app, progress, (current) => rollouts.converge(current, progress, signal));
    } catch (error) {
      if (!(error instanceof DinpError) || signal.aborted) throw error;
      progress.line(`${app.name} stays: ${[error.message, error.detail].filter(Boolean).join('\n')}`);
    }
  }
  // What a host that does not answer still has goes as soon as it does.
  return store.placements.onHost(host.id).filter(({ removing }) => !removing);
}
