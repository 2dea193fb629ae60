import type { App } from '../../domain/app.ts';
import { DinpError } from '../../domain/errors.ts';
import type { InstanceSpec, RunningInstance } from '../../domain/instance.ts';
import type { Look } from '../../run/look.ts';
import type { Target } from '../../run/target.ts';
import type { Store } from '../../store/store.ts';
import { SILENT } from '../progress.ts';
import type { Rollouts } from '../rollout.ts';
import { findReal } from './differences.ts';
import {
  afterLook,
  afterRestart,
  chooseRoutable,
  crashed,
  firstSeen,
  type Health,
  isOut,
  nextRestart,
  startedAnew,
} from './health-rules.ts';
import type { Reality } from './reality.ts';

/** How often it is looked for whose turn it is. */
const TICK_MS = 500;
/** How old what is known of all instances may become while all is well. */
const LIST_EVERY_MS = 15_000;
/** What is known may be so old when an instance that was healthy fails, and when it fails on. */
const FRESH_MS = 500;
const FRESH_ENOUGH_MS = 5_000;
/** An instance that may be starting is looked at so often, where its check does not say more often. */
const START_INTERVAL_MS = 1_000;

export interface WatchParts {
  store: Store;
  rollouts: Pick<Rollouts, 'isBusy' | 'exclusively' | 'liveTarget' | 'plans' | 'traffic'>;
  reality: Reality;
  lookAt(target: Target, spec: InstanceSpec, instance: RunningInstance | undefined, signal: AbortSignal): Promise<Look>;
  /** Told of apps of which an instance is not there or has ended. */
  onMissing(app: App): void;
  /** Told when an instance begins to fail, and when it is healthy again (`problem` undefined). */
  onChange(spec: InstanceSpec, health: Health): void;
  report(event: string, fields: Record<string, unknown>): void;
  onError(error: unknown): void;
}

interface Watched {
  app: App;
  spec: InstanceSpec;
  target: Target;
  /** As the last list had it. */
  real: RunningInstance | undefined;
  health: Health;
  /** When it is looked at next, milliseconds since the epoch. */
  dueAt: number;
  looking: boolean;
  restarting: boolean;
}

/**
 * Watches the instances of all live releases by their health checks: leads visitors past one that fails while others
 * are well, restarts it with growing pauses, and leads visitors to it again once it is healthy.
 */
export class HealthWatch {
  readonly #parts: WatchParts;
  readonly #watched = new Map<string, Watched>();
  /** Apps whose lock is held by this watch itself. */
  readonly #acting = new Set<number>();
  readonly #closing = new AbortController();
  #listedAt = 0;
  #refreshing: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(parts: WatchParts) {
    this.#parts = parts;
  }

  /** Begins to watch, until `close`. */
  start(): void {
    this.#timer = setInterval(() => this.tick(), TICK_MS).unref();
  }

  close(): void {
    clearInterval(this.#timer);
    this.#closing.abort();
  }

  /** What is known of an instance; undefined where it is not watched. */
  healthOf(instance: string): Health | undefined {
    return this.#watched.get(instance)?.health;
  }

  /** Of instances that visitors can be led to, those that they should be. */
  routable(specs: InstanceSpec[]): InstanceSpec[] {
    return chooseRoutable(specs, ({ name }) => this.healthOf(name));
  }

  /** Looks at all instances whose turn it is, and restarts what is due; returns before they have answered. */
  tick(): void {
    const now = Date.now();
    if (now - this.#listedAt >= LIST_EVERY_MS) this.#refresh().catch(this.#parts.onError);
    for (const each of this.#watched.values()) {
      if (each.looking || each.restarting || each.dueAt > now || this.#isBusy(each.app)) continue;
      each.looking = true;
      this.#look(each)
        .catch(this.#parts.onError)
        .finally(() => {
          each.looking = false;
          each.dueAt = Date.now() + pauseAfter(each);
        });
    }
    for (const each of this.#dueRestarts(now)) {
      each.restarting = true;
      this.#restart(each)
        .catch(this.#parts.onError)
        .finally(() => {
          each.restarting = false;
        });
    }
  }

  /** Takes up what should run now, and what of it does. */
  #refresh(): Promise<void> {
    this.#refreshing ??= this.#list().finally(() => {
      this.#refreshing = undefined;
    });
    return this.#refreshing;
  }

  async #list(): Promise<void> {
    this.#listedAt = Date.now();
    const planned = this.#plan();
    const names = new Set(planned.map(({ spec }) => spec.name));
    for (const name of this.#watched.keys()) if (!names.has(name)) this.#watched.delete(name);
    await Promise.all(
      [...new Set(planned.map(({ target }) => target))].map(async (target) => {
        try {
          const list = await this.#parts.reality.list(target);
          for (const { app, spec } of planned.filter((each) => each.target === target)) {
            this.#take(app, spec, target, findReal(spec, list));
          }
        } catch (error) {
          // What was known before is the best that there is; Reality has told whom it concerns.
          if (!(error instanceof DinpError)) throw error;
        }
      }),
    );
  }

  #plan(): { app: App; spec: InstanceSpec; target: Target }[] {
    const { store, rollouts } = this.#parts;
    return store.apps.list().flatMap((app) => {
      if (app.stopped || app.liveRelease === undefined) return [];
      const release = store.releases.find(app.id, app.liveRelease);
      if (release === undefined) return [];
      try {
        const target = rollouts.liveTarget(app);
        return target.runs ? rollouts.plans.forDisplay(release).map((spec) => ({ app, spec, target })) : [];
      } catch (error) {
        // A target that this server does not have any more: reconcile says so.
        if (error instanceof DinpError) return [];
        throw error;
      }
    });
  }

  #take(app: App, spec: InstanceSpec, target: Target, real: RunningInstance | undefined): void {
    const before = this.#watched.get(spec.name);
    if (before === undefined) {
      const health = firstSeen(real?.startedAt, spec.health);
      this.#watched.set(spec.name, { app, spec, target, real, health, dueAt: 0, looking: false, restarting: false });
      return;
    }
    let { health } = before;
    const now = Date.now();
    const started = real?.startedAt;
    if (started !== undefined && started !== health.startedAt) health = startedAnew(health, started, spec.health);
    const times = (real?.restarts ?? 0) - (before.real?.restarts ?? 0);
    if (real !== undefined && before.real !== undefined && times > 0) health = crashed(health, times, now);
    Object.assign(before, { app, spec, target, real, health });
  }

  /** Others change what runs of the app: what is seen now says nothing. */
  #isBusy(app: App): boolean {
    return this.#parts.rollouts.isBusy(app) && !this.#acting.has(app.id);
  }

  async #look(each: Watched): Promise<void> {
    const { signal } = this.#closing;
    let look = await this.#parts.lookAt(each.target, each.spec, each.real, signal);
    if (
      look.kind === 'failing' &&
      Date.now() - this.#listedAt > (each.health.failures > 0 ? FRESH_ENOUGH_MS : FRESH_MS)
    ) {
      const { real } = each;
      await this.#refresh();
      if (each.real?.state !== real?.state || each.real?.startedAt !== real?.startedAt) {
        look = await this.#parts.lookAt(each.target, each.spec, each.real, signal);
      }
    }
    if (signal.aborted || this.#watched.get(each.spec.name) !== each || this.#isBusy(each.app)) return;
    if (look.kind === 'failing' && !this.#isWanted(each)) return;
    const before = each.health;
    each.health = afterLook(before, look, each.spec.health, Date.now());
    this.#tellChange(each, before);
    const isMissing = each.real === undefined || each.real.state === 'exited';
    if (look.kind === 'failing' && isMissing) this.#parts.onMissing(each.app);
    if (isOut(before) !== isOut(each.health)) await this.#route(each.app);
  }

  /** Whether it still should run: what was planned may be older than the last change of the app. */
  #isWanted({ app: { id }, spec }: Watched): boolean {
    const { store, rollouts } = this.#parts;
    const app = store.apps.findById(id);
    if (app === undefined || app.stopped || app.liveRelease !== spec.release) return false;
    const release = store.releases.find(id, spec.release);
    return release !== undefined && rollouts.plans.forDisplay(release).some(({ name }) => name === spec.name);
  }

  #tellChange({ spec, health }: Watched, before: Health): void {
    if ((before.failingSince === undefined) === (health.failingSince === undefined)) return;
    const { app, name: instance } = spec;
    if (health.failingSince === undefined) this.#parts.report('an instance is healthy again', { app, instance });
    else this.#parts.report('an instance began to fail', { app, instance, problem: health.problem });
    this.#parts.onChange(spec, health);
  }

  /** The address follows; where that fails now, the next reconcile sets it right. */
  async #route(app: App): Promise<void> {
    await this.#act(app, (current) => this.#parts.rollouts.traffic.renew(current, SILENT)).catch((error: unknown) => {
      if (!(error instanceof DinpError)) throw error;
      this.#parts.report('could not lead visitors past or to an instance', { app: app.name, why: error.message });
    });
  }

  /** At most one a process, and none while another one of it is being restarted. */
  #dueRestarts(now: number): Watched[] {
    const processes = new Map<string, Watched[]>();
    for (const each of this.#watched.values()) {
      const key = `${each.app.id} ${each.spec.service} ${each.spec.process}`;
      processes.set(key, [...(processes.get(key) ?? []), each]);
    }
    return [...processes.values()].flatMap((instances) => {
      if (instances.some(({ restarting }) => restarting)) return [];
      const name = nextRestart(new Map(instances.map(({ spec, health }) => [spec.name, health])), now);
      const due = instances.find(({ spec }) => spec.name === name);
      const mayNow = due && due.real?.state !== 'unreachable' && !this.#parts.rollouts.isBusy(due.app);
      return mayNow ? [due] : [];
    });
  }

  async #restart(each: Watched): Promise<void> {
    const { app, spec } = each;
    await this.#act(app, async (current) => {
      if (this.#watched.get(spec.name) !== each || current.liveRelease !== spec.release || current.stopped) return;
      each.health = afterRestart(each.health, spec.health, Date.now());
      this.#parts.report('restarting an instance that fails', {
        app: app.name,
        instance: spec.name,
        problem: each.health.problem,
        restarts: each.health.restarts,
      });
      await each.target.restart([{ name: spec.name, stopMs: spec.stopMs }]);
    }).catch((error: unknown) => {
      if (!(error instanceof DinpError)) throw error;
      this.#parts.report('could not restart an instance', { app: app.name, instance: spec.name, why: error.message });
    });
    // To stop it may have taken long: its time to start begins now.
    each.health = { ...each.health, graceUntil: Date.now() + spec.health.startMs };
    each.dueAt = 0;
    this.#listedAt = 0;
  }

  /** Does something to what runs of an app, beside nobody else. */
  async #act(app: App, work: (current: App) => Promise<void>): Promise<void> {
    await this.#parts.rollouts.exclusively(app, SILENT, async (current) => {
      this.#acting.add(app.id);
      try {
        await work(current);
      } finally {
        this.#acting.delete(app.id);
      }
    });
  }
}

function pauseAfter({ health, spec }: Watched): number {
  return health.proven ? spec.health.intervalMs : Math.min(spec.health.intervalMs, START_INTERVAL_MS);
}
