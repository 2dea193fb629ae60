import type { AppChanges } from '../deploy/app-changes.ts';
import type { Rollouts } from '../deploy/rollout.ts';
import { instanceEvent, reachEvent, type ServerEvent } from '../deploy/watch/events.ts';
import { HealthWatch } from '../deploy/watch/health-watch.ts';
import { Notifier } from '../deploy/watch/notifier.ts';
import { Reach } from '../deploy/watch/reach.ts';
import { Reality } from '../deploy/watch/reality.ts';
import { Reconciler } from '../deploy/watch/reconcile.ts';
import { lookAt } from '../run/look.ts';
import type { Target } from '../run/target.ts';
import type { Store } from '../store/store.ts';
import { parseConfigDuration, type ServerConfig } from './config.ts';

/** What goes on after rollouts: health checks, reconcile, and telling the operator's webhook. */
export function createWatchSide(parts: {
  config: ServerConfig;
  store: Store;
  rollouts: Rollouts;
  changes: AppChanges;
  target(name: string | undefined): Target;
  report(event: string, fields: Record<string, unknown>): void;
  onError(error: unknown): void;
}) {
  const { config, store, rollouts, report, onError } = parts;
  const notifier = createNotifier(config, store, report);
  const tell = (event: ServerEvent | undefined): void => {
    if (event !== undefined) notifier?.tell(event);
  };
  const reach = new Reach((kind, name, problem) => {
    report(problem === undefined ? 'it answers again' : 'it does not answer', { [kind]: name, problem });
    tell(reachEvent(kind, name, problem));
  });
  const reality = new Reality(reach);
  const watch = new HealthWatch({
    store,
    rollouts,
    reality,
    lookAt,
    onMissing: (app) => void reconciler.soon(app).catch(onError),
    onChange: (spec, health) => tell(instanceEvent(spec, health)),
    report,
    onError,
  });
  const reconciler = new Reconciler({
    ...parts,
    reality,
    reach,
    isHealthy: (instance) => watch.healthOf(instance)?.healthySince !== undefined,
  });
  return {
    tell,
    reality,
    watch,
    reconciler,
    start(): void {
      notifier?.deliver();
      watch.start();
      reconciler.start(parseConfigDuration(config.reconcile.every), onError);
    },
    close(): void {
      reconciler.close();
      watch.close();
      notifier?.close();
    },
  };
}

function createNotifier(
  { notify, address }: ServerConfig,
  { notifications }: Store,
  report: (event: string, fields: Record<string, unknown>) => void,
): Notifier | undefined {
  const { url, secret } = notify;
  if (url === undefined) return undefined;
  return new Notifier({
    notifications,
    url,
    secret,
    timeoutMs: parseConfigDuration(notify.timeout),
    server: address,
    report,
  });
}
