import type { App } from '../domain/app.ts';
import { DinpError } from '../domain/errors.ts';
import { type InstanceSpec, isInstance, type RunningInstance } from '../domain/instance.ts';
import type { Release, ReleaseService } from '../domain/release.ts';
import type { Target } from '../run/target.ts';
import { LOOPBACK } from './app-routes.ts';
import { InstancePlans, type PlanParts } from './instance-plans.ts';
import { WEB } from './instances.ts';
import { Locks } from './lock.ts';
import { type Progress, SILENT } from './progress.ts';
import { runReleaseCommands } from './release-command.ts';
import { Traffic, type TrafficParts } from './traffic.ts';

/** How long requests to instances that are about to be stopped may take to end. */
const DRAIN_MS = 10_000;
/** How often the instances of a host that was lost while they started are given to others. */
const MOST_LOST_HOSTS = 2;

export interface RolloutParts extends PlanParts, Omit<TrafficParts, 'plans' | 'isBusy'> {
  /** Waits until an instance may get traffic. @throws DinpError start-failed with its last log lines */
  waitHealthy(target: Target, spec: InstanceSpec, progress: (line: string) => void, signal: AbortSignal): Promise<void>;
  /**
   * Writes the unit files of a release where operators find them, and checks them.
   * @returns what is to be said of them
   * @throws DinpError refused
   */
  emitUnits(release: Release, specs: InstanceSpec[]): Promise<string[]>;
  /** Told of an app whose instances or address could not be set right: it is converged once engine and router answer. */
  tidyLater(app: App): void;
}

/**
 * Makes releases the live ones: new instances start beside the old, are checked, get the traffic, and only then the
 * old ones stop. Whatever fails or dies before the release is recorded as live leaves the old one serving.
 */
export class Rollouts {
  readonly #parts: RolloutParts;
  readonly #locks = new Locks();

  readonly plans: InstancePlans;
  readonly traffic: Traffic;

  constructor(parts: RolloutParts) {
    this.#parts = parts;
    this.plans = new InstancePlans(parts);
    this.traffic = new Traffic({ ...parts, plans: this.plans, isBusy: (app) => this.isBusy(app) });
  }

  /**
   * Runs `work` while nobody else changes what runs of the app; it gets the app as it is once its turn has come.
   * @throws DinpError not-found where the app was removed meanwhile
   */
  exclusively<T>(app: App, progress: Progress, work: (app: App) => Promise<T>): Promise<T> {
    const run = async () => {
      const current = this.#parts.store.apps.findById(app.id);
      if (current) return await work(current);
      throw new DinpError('not-found', `the app ${app.name} was removed meanwhile.`);
    };
    return this.#locks.hold(`${app.id}`, run, () => progress.line('Waiting for another change of this app to end …'));
  }

  /** Whether somebody is changing what runs of the app right now. */
  isBusy(app: App): boolean {
    return this.#locks.isHeld(`${app.id}`);
  }

  /**
   * Rolls a pending release out, under the app's lock.
   * @param onTraffic called once all instances are healthy, before the traffic moves
   * @throws DinpError start-failed; the release is then failed, its instances removed and the old one untouched
   */
  async rollOut(
    appId: number,
    release: Release,
    progress: Progress,
    signal: AbortSignal,
    onTraffic: () => void = () => undefined,
  ): Promise<void> {
    const { store } = this.#parts;
    const app = store.apps.findById(appId)!;
    const target = this.#parts.target(release.target);
    let specs: InstanceSpec[] = [];
    let moved = false;
    try {
      specs = await this.plans.plan(app, release, { progress });
      // Beside the start, which takes longer: a release whose units systemd does not like gets no traffic either.
      const emitted = this.#parts.emitUnits(release, specs);
      emitted.catch(() => undefined);
      if (app.stopped || !target.runs) {
        for (const note of await emitted) progress.line(note);
        store.releases.makeLive(release);
        progress.line(whyNothingRuns(app));
        return;
      }
      const specOf = (service: ReleaseService) => this.plans.forReleaseCommand(release, service);
      await runReleaseCommands(target, release, specOf, progress, signal);
      specs = await this.#startSomewhere(app, release, specs, progress, signal);
      // Where they are is known only now.
      if (target.schedules) specs = await this.plans.plan(app, release);
      for (const note of await emitted) progress.line(note);
      signal.throwIfAborted();
      onTraffic();
      moved = true;
      await this.traffic.switchTo(app, release, specs, progress);
      store.releases.makeLive(release);
    } catch (error) {
      await this.#backOut(app, target, release, { specs, moved }, progress);
      throw error;
    }
    try {
      await this.removeOthers(app, specs, progress);
    } catch (error) {
      // The release is live: what is left of the old one is no failure of it.
      progress.line(`The instances before could not be removed yet: ${(error as Error).message}`);
      this.#parts.tidyLater(app);
    }
  }

  /** Converges the app later and again until that goes well: for changes that failed half way. */
  tidyLater(app: App): void {
    this.#parts.tidyLater(app);
  }

  /** Waits until an instance that was started may get traffic. */
  async waitHealthy(app: App, spec: InstanceSpec, progress: Progress, signal: AbortSignal): Promise<void> {
    await this.#parts.waitHealthy(this.liveTarget(app), spec, (line) => progress.line(line), signal);
  }

  /** Starts one instance of the live release beside the others and waits until it is healthy. @throws DinpError start-failed, unavailable */
  async start(app: App, spec: InstanceSpec, progress: Progress, signal: AbortSignal): Promise<void> {
    await this.liveTarget(app).start(spec, { onProgress: (line) => progress.line(line), signal });
    await this.waitHealthy(app, spec, progress, signal);
  }

  /** Brings what runs of the app in line with its live release: starts what is missing, routes, removes the rest. */
  async converge(app: App, progress: Progress, signal: AbortSignal, formation?: Record<string, number>): Promise<void> {
    const target = this.liveTarget(app);
    const release = this.#live(app);
    await this.abandonOrphans(app);
    if (!target.runs) {
      // Nothing to start, but the files say how many instances there should be.
      if (!release || app.stopped) return;
      const specs = await this.plans.plan(app, release, { ...(formation && { formation }) });
      await this.#parts.emitUnits(release, specs);
      return;
    }
    if (!release || app.stopped) {
      if (release) await this.traffic.switchTo(app, release, [], progress);
      else if (app.port !== undefined) await this.#parts.router?.removeRoute(app.name);
      await this.removeOthers(app, [], progress);
      return;
    }
    let specs = await this.plans.plan(app, release, { ...(formation && { formation }), moving: true, progress });
    await this.#parts.emitUnits(release, specs);
    const there = await target.list(app.name);
    const missing = specs.filter((spec) => !there.some((instance) => isUp(instance, spec)));
    try {
      await this.#startHealthy(target, missing, progress, signal);
    } catch (error) {
      // Those that should have moved still run where they were.
      await target.moveBack?.(missing);
      throw error;
    }
    if (target.schedules) specs = await this.plans.plan(app, release, { ...(formation && { formation }) });
    await this.traffic.switchTo(app, release, specs, progress);
    await this.removeOthers(app, specs, progress);
  }

  /** Removes instances of the app that are not among `keep`, from every target that it ever ran on; their ports are free again. */
  async removeOthers(app: App, keep: InstanceSpec[], progress: Progress): Promise<void> {
    const isKept = (instance: RunningInstance) => keep.some((spec) => isInstance(instance, spec));
    const names = new Set(keep.map((spec) => spec.name));
    for (const name of this.#parts.store.releases.targets(app.id)) {
      const target = this.#parts.target(name);
      const isLive = target === this.liveTarget(app);
      try {
        const others = (await target.list(app.name)).filter((instance) => !(isLive && isKept(instance)));
        // An app that is stopped, renamed or removed is meant to be gone, whoever still asks for it.
        const old = keep.length === 0 ? others : this.#withoutUsed(app, others, progress);
        await this.#remove(app, target, old, progress);
        const left = others.filter((instance) => !old.includes(instance)).map((instance) => instance.name);
        target.forgetPlaces?.(app.name, [...(isLive ? names : []), ...left]);
        // One that moved to another host keeps its port there.
        this.#parts.store.ports.release(old.map(({ name }) => name).filter((name) => !(isLive && names.has(name))));
      } catch (error) {
        // The live target must be right; another one may be gone for good, and what it ran with it.
        if (isLive || !(error instanceof DinpError)) throw error;
        progress.line(`What may still run on ${name} could not be removed: ${error.message}`);
      }
    }
  }

  /** What runs (or would run) the live release. */
  liveTarget(app: App): Target {
    const current = this.#parts.store.apps.findById(app.id)!;
    const release = this.#live(current);
    return this.#parts.target(release?.target ?? current.target);
  }

  /**
   * Gives up a release that never became live and removes what a dead server left of it.
   * @throws DinpError unavailable: it has failed all the same, and what is left of it goes when `converge` gets through
   */
  async abandon(release: Release): Promise<void> {
    const app = this.#parts.store.apps.findById(release.appId)!;
    await this.exclusively(app, SILENT, (current) => this.#abandon(current, release));
  }

  /** Gives up the app's orphans; under its lock. */
  async abandonOrphans(app: App): Promise<void> {
    for (const orphan of this.orphans(app)) await this.#abandon(app, orphan);
  }

  /** Releases that never became live, and of which no build takes care: what a full disk or a dead server leaves. */
  orphans(app: App): Release[] {
    const { store } = this.#parts;
    const builds = store.builds.listUnfinished().map((build) => build.id);
    return store.releases
      .listPending()
      .filter((release) => release.appId === app.id && !builds.includes(release.buildId ?? 0));
  }

  async #abandon(app: App, release: Release): Promise<void> {
    const { store } = this.#parts;
    store.releases.fail(release);
    const target = this.#parts.target(release.target);
    const left = target.runs
      ? (await target.list(app.name)).filter((instance) => instance.release === release.number)
      : [];
    // The server may have died between the switch of the traffic and the record of it.
    if (left.length > 0) await this.traffic.returnToLive(app);
    // Those that were planned may have a host and a port though nothing of them is there.
    const names = [...new Set([...left, ...this.plans.forDisplay(release)].map(({ name }) => name))];
    if (target.runs) await target.remove(names.map((name) => ({ name, stopMs: 1_000 })));
    store.ports.release(names);
  }

  async #remove(app: App, target: Target, old: RunningInstance[], progress: Progress): Promise<void> {
    if (old.length === 0) return;
    await this.#drain(old);
    progress.line(
      `Stopping ${old.map((instance) => `${instance.process}.${instance.index} of v${instance.release}`).join(', ')}`,
    );
    await target.remove(
      old.map((instance) => ({ name: instance.name, stopMs: this.#stopMs(app, instance), host: instance.host })),
    );
  }

  /**
   * Leaves out instances that a router which does not answer may still send requests to: once it answers and has the
   * new route, the app is converged again.
   */
  #withoutUsed(app: App, old: RunningInstance[], progress: Progress): RunningInstance[] {
    const usersOf = (instance: RunningInstance) =>
      instance.process === WEB ? this.#parts.router?.stillUsing(app.name, upstreamsOfRunning([instance])) : undefined;
    const used = old.filter((instance) => (usersOf(instance) ?? []).length > 0);
    if (used.length > 0) {
      const names = used.map((instance) => `${instance.process}.${instance.index} of v${instance.release}`).join(', ');
      progress.line(`Keeping ${names}: the router ${usersOf(used[0]!)!.join(', ')} may still send visitors there.`);
    }
    return old.filter((instance) => !used.includes(instance));
  }

  /** Lets requests end that are on their way to instances which get no new ones any more. */
  async #drain(old: RunningInstance[]): Promise<void> {
    const upstreams = upstreamsOfRunning(old);
    if (upstreams.length === 0) return;
    await this.#parts.router?.drain(upstreams, { maxMs: DRAIN_MS, signal: new AbortController().signal });
  }

  /**
   * Starts the instances of a new release. Where the connection to a host is lost meanwhile it is asked again, and where
   * it is gone its part goes to other hosts.
   * @returns the instances as they run now
   */
  async #startSomewhere(
    app: App,
    release: Release,
    planned: InstanceSpec[],
    progress: Progress,
    signal: AbortSignal,
  ): Promise<InstanceSpec[]> {
    const target = this.#parts.target(release.target);
    let specs = planned;
    for (let lost = 0; ; lost++) {
      try {
        await this.#startHealthy(target, specs, progress, signal);
        return specs;
      } catch (error) {
        const isLost = error instanceof DinpError && error.code === 'unavailable';
        if (!isLost || target.moveBack === undefined || lost === MOST_LOST_HOSTS || signal.aborted) throw error;
        progress.line(error.message);
        specs = await this.plans.plan(app, release, { moving: true, progress });
      }
    }
  }

  async #startHealthy(target: Target, specs: InstanceSpec[], progress: Progress, signal: AbortSignal): Promise<void> {
    // One failure ends the wait for the others: nobody wants to watch the rest of a rollout that is lost.
    const failed = new AbortController();
    const either = AbortSignal.any([signal, failed.signal]);
    const results = await Promise.allSettled(
      specs.map(async (spec) => {
        try {
          await target.start(spec, { onProgress: (line) => progress.line(line), signal: either });
          await this.#parts.waitHealthy(target, spec, (line) => progress.line(line), either);
        } catch (error) {
          if (!either.aborted) failed.abort(error);
          throw error;
        }
      }),
    );
    signal.throwIfAborted();
    if (failed.signal.aborted) throw failed.signal.reason;
    for (const result of results) if (result.status === 'rejected') throw result.reason;
  }

  /**
   * Undoes a rollout: the traffic is (again) the live release's, and the new instances go. It never throws, since why
   * the rollout failed matters more; what cannot be undone now is left for later, and instances that may still have
   * the traffic are left running.
   */
  async #backOut(
    app: App,
    target: Target,
    release: Release,
    { specs, moved }: { specs: InstanceSpec[]; moved: boolean },
    progress: Progress,
  ): Promise<void> {
    const { store } = this.#parts;
    try {
      store.releases.fail(release);
      if (moved) await this.traffic.returnToLive(app);
      // Where not even the plan came to its end, some may have a host or a port.
      const planned = specs.length > 0 ? specs : this.plans.forDisplay(release);
      if (target.runs)
        await target.remove(planned.map(({ name, stopMs }) => ({ name, stopMs: Math.min(stopMs, 5_000) })));
      store.ports.release(planned.map(({ name }) => name));
    } catch (error) {
      progress.line(`What was started of v${release.number} could not be removed yet: ${(error as Error).message}`);
      this.#parts.tidyLater(app);
    }
  }

  #live(app: App): Release | undefined {
    return this.#parts.store.releases.findLive(app);
  }

  #stopMs(app: App, instance: RunningInstance): number {
    const release = this.#parts.store.releases.find(app.id, instance.release);
    const process = release?.services
      .flatMap((service) => service.processes)
      .find((candidate) => candidate.name === instance.process);
    return process?.stopMs ?? 10_000;
  }
}

function upstreamsOfRunning(instances: RunningInstance[]): string[] {
  return instances.flatMap(({ hostPort, hostAddress = LOOPBACK }) =>
    hostPort === undefined ? [] : [`${hostAddress}:${hostPort}`],
  );
}

/** Runs, and where the traffic will look for it. */
function isUp(instance: RunningInstance, spec: InstanceSpec): boolean {
  return isInstance(instance, spec) && instance.state === 'running' && instance.hostPort === spec.port?.host;
}

function whyNothingRuns(app: App): string {
  return app.stopped
    ? `${app.name} is stopped; to run it: dinp start ${app.name}`
    : `Unit files are ready: dinp units show ${app.name}`;
}
