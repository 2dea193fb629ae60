import type { App } from '../domain/app.ts';
import { DinpError } from '../domain/errors.ts';
import { type InstanceSpec, isInstance, type RunningInstance } from '../domain/instance.ts';
import type { Release, ReleaseService } from '../domain/release.ts';
import type { Route, Router, RouteSync, WantedRoutes } from '../router/router.ts';
import type { Target } from '../run/target.ts';
import type { Store } from '../store/store.ts';
import type { Addresses } from './addresses.ts';
import { LOOPBACK, routeOf, upstreamsOf } from './app-routes.ts';
import { findProcess, formationOf, type InstanceSettings, planInstance, planInstances, WEB } from './instances.ts';
import { Locks } from './lock.ts';
import type { Progress } from './progress.ts';
import { runReleaseCommands } from './release-command.ts';

/** How long requests to instances that are about to be stopped may take to end. */
const DRAIN_MS = 10_000;
/** How often the instances of a host that was lost while they started are given to others. */
const MOST_LOST_HOSTS = 2;
const SILENT: Progress = { heading: () => undefined, line: () => undefined };

export interface RolloutParts {
  store: Store;
  addresses: Addresses;
  router: Router | undefined;
  /** @throws DinpError config for a target this server does not have */
  target(name: string | undefined): Target;
  /** Waits until an instance may get traffic. @throws DinpError start-failed with its last log lines */
  waitHealthy(target: Target, spec: InstanceSpec, progress: (line: string) => void, signal: AbortSignal): Promise<void>;
  /**
   * Writes the unit files of a release where operators find them, and checks them.
   * @returns what is to be said of them
   * @throws DinpError refused
   */
  emitUnits(release: Release, specs: InstanceSpec[]): Promise<string[]>;
  pullRepository(repository: string): string;
  /** Told of an app whose instances or address could not be set right: it is converged once engine and router answer. */
  tidyLater(app: App): void;
  /** Of the instances that visitors could be led to, those that they should be; others are left as they are. */
  routable(specs: InstanceSpec[]): InstanceSpec[];
}

export interface PlanOptions {
  /** How many of each process; as the operator and the manifest want it where not given. */
  formation?: Record<string, number>;
  /** Instances that cannot stay where they are get another host. */
  moving?: boolean;
  progress?: Progress;
}

/**
 * Makes releases the live ones: new instances start beside the old, are checked, get the traffic, and only then the
 * old ones stop. Whatever fails or dies before the release is recorded as live leaves the old one serving.
 */
export class Rollouts {
  readonly #parts: RolloutParts;
  readonly #locks = new Locks();

  constructor(parts: RolloutParts) {
    this.#parts = parts;
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
      specs = await this.plan(app, release, { progress });
      // Beside the start, which takes longer: a release whose units systemd does not like gets no traffic either.
      const emitted = this.#parts.emitUnits(release, specs);
      emitted.catch(() => undefined);
      if (app.stopped || !target.runs) {
        for (const note of await emitted) progress.line(note);
        store.releases.makeLive(release);
        progress.line(whyNothingRuns(app));
        return;
      }
      const specOf = (service: ReleaseService) => this.#releaseSpec(release, service);
      await runReleaseCommands(target, release, specOf, progress, signal);
      specs = await this.#startSomewhere(app, release, specs, progress, signal);
      // Where they are is known only now.
      if (target.schedules) specs = await this.plan(app, release);
      for (const note of await emitted) progress.line(note);
      signal.throwIfAborted();
      onTraffic();
      moved = true;
      await this.#switchTraffic(app, release, specs, progress);
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

  /** The instances a release should have now, each with its port and, of a target with several hosts, its host. */
  async plan(app: App, release: Release, options: PlanOptions = {}): Promise<InstanceSpec[]> {
    const { moving = false, progress = SILENT } = options;
    const formation = options.formation ?? formationOf(release, this.#parts.store.formation.get(app.id));
    const draft = planInstances(
      release,
      formation,
      this.#settings(release, () => 0),
    );
    const target = this.#parts.target(release.target);
    const held = await target.place?.(draft, { moving, onProgress: (line) => progress.line(line) });
    const withPort = draft.filter(({ port }) => port !== undefined).map(({ name }) => name);
    await this.#parts.addresses.ensureInstancePorts(app, withPort, held);
    return planInstances(release, formation, this.#settings(release));
  }

  /** The instances of any release, as its unit files show them; takes no ports: those of a release that is gone read 0. */
  planForDisplay(release: Release): InstanceSpec[] {
    const formation = formationOf(release, this.#parts.store.formation.get(release.appId));
    return planInstances(
      release,
      formation,
      this.#settings(release, (name) => this.#parts.store.ports.find(name) ?? 0),
    );
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

  /** The first instance of a process, as one-off commands need it; holds no port. */
  planOne(release: Release, process: string | undefined): InstanceSpec {
    const found = findProcess(release, process);
    return planInstance(
      release,
      found.service,
      found.process,
      1,
      this.#settings(release, (name) => this.#parts.store.ports.find(name) ?? 0),
    );
  }

  /** Brings what runs of the app in line with its live release: starts what is missing, routes, removes the rest. */
  async converge(app: App, progress: Progress, signal: AbortSignal, formation?: Record<string, number>): Promise<void> {
    const target = this.liveTarget(app);
    const release = this.#live(app);
    await this.abandonOrphans(app);
    if (!target.runs) {
      // Nothing to start, but the files say how many instances there should be.
      if (!release || app.stopped) return;
      const specs = await this.plan(app, release, { ...(formation && { formation }) });
      await this.#parts.emitUnits(release, specs);
      return;
    }
    if (!release || app.stopped) {
      if (release) await this.#switchTraffic(app, release, [], progress);
      else if (app.port !== undefined) await this.#parts.router?.removeRoute(app.name);
      await this.removeOthers(app, [], progress);
      return;
    }
    let specs = await this.plan(app, release, { ...(formation && { formation }), moving: true, progress });
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
    if (target.schedules) specs = await this.plan(app, release, { ...(formation && { formation }) });
    await this.#switchTraffic(app, release, specs, progress);
    await this.removeOthers(app, specs, progress);
  }

  /** Gives the app's address its host names as they are now, under the app's lock. @throws DinpError as Router.setRoute */
  async renewRoute(app: App, progress: Progress): Promise<void> {
    const live = this.#live(app);
    if (live === undefined || !this.#parts.target(live.target).runs) return;
    await this.#switchTraffic(app, live, app.stopped ? [] : await this.plan(app, live), progress);
  }

  /**
   * Makes every router have the routes that the store says, all at once; what is right is not touched, nor apps whose
   * instances are being changed.
   * @param options.isAsked of other apps nothing is changed
   * @param options.dryRun nothing is changed at all
   */
  async syncRoutes(
    options: { isAsked(app: App): boolean; dryRun: boolean } = { isAsked: () => true, dryRun: false },
  ): Promise<RouteSync[]> {
    return (await this.#parts.router?.syncRoutes(() => this.#wantedRoutes(options.isAsked), options)) ?? [];
  }

  #wantedRoutes(isAsked: (app: App) => boolean): WantedRoutes {
    const { store } = this.#parts;
    const routes: Route[] = [];
    const leave = new Set<string>();
    for (const app of store.apps.list()) {
      const isLeft = !isAsked(app) || this.#locks.isHeld(`${app.id}`);
      const route = isLeft ? undefined : this.#wantedRoute(app);
      if (route) routes.push(route);
      else leave.add(app.name);
    }
    return { routes, leave };
  }

  /** undefined where none is known: no address yet, or instances that were never placed. */
  #wantedRoute(app: App): Route | undefined {
    const live = this.#live(app);
    if (live === undefined || app.port === undefined || this.#parts.store.changes.find(app.id)) return undefined;
    const target = this.#parts.target(live.target);
    if (!target.runs) return undefined;
    const specs = app.stopped ? [] : this.planForDisplay(live);
    const isPlaced = (spec: InstanceSpec) => !target.placeOf || target.placeOf(spec.name) !== undefined;
    const withPort = specs.filter((spec) => spec.port);
    // An engine that moves instances may have no place for one; the others have the visitors then.
    const reachable = target.schedules ? withPort.filter(isPlaced) : withPort;
    if (withPort.length > 0 && reachable.length === 0) return undefined;
    if (reachable.some((spec) => spec.port!.host === 0 || !isPlaced(spec))) return undefined;
    return routeOf(app, live, this.#parts.routable(reachable), {
      hosts: this.#parts.addresses.hosts(app, live),
      port: app.port,
    });
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
    if (left.length > 0) await this.#routeToLive(app);
    // Those that were planned may have a host and a port though nothing of them is there.
    const names = [...new Set([...left, ...this.planForDisplay(release)].map(({ name }) => name))];
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
        specs = await this.plan(app, release, { moving: true, progress });
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

  /** What the release command of a service runs in: as its first process does, without its port. */
  #releaseSpec(release: Release, service: ReleaseService): InstanceSpec {
    const first = service.processes.find((process) => process.name === WEB) ?? service.processes[0]!;
    const settings = this.#settings(release, () => 0);
    return planInstance(release, service, first, 1, settings);
  }

  /** Points the app's address at the instances. */
  async #switchTraffic(app: App, release: Release, specs: InstanceSpec[], progress: Progress): Promise<void> {
    const { router, addresses, store } = this.#parts;
    const reachable = this.#reachable(release, specs);
    const hasWeb = upstreamsOf(reachable).length > 0 || app.port !== undefined;
    if (!hasWeb) return;
    if (!router) {
      progress.line('No router is configured: the address changes with every release.');
      return;
    }
    const port = await addresses.ensureAppPort(app);
    const current = store.apps.findById(app.id)!;
    const route = routeOf(current, release, this.#parts.routable(reachable), {
      hosts: addresses.hosts(current, release),
      port,
    });
    const away = await router.setRoute(route);
    if (route.upstreams.length > 0) progress.line(`Traffic goes to ${specs[0]!.app} v${specs[0]!.release}`);
    for (const each of away) progress.line(`The router ${each} does not answer; it gets the route once it does.`);
  }

  /** Those that can be reached: an instance that its engine has not placed yet has no address. */
  #reachable(release: Release, specs: InstanceSpec[]): InstanceSpec[] {
    if (!this.#parts.target(release.target).schedules) return specs;
    return specs.filter((spec) => spec.port?.address !== undefined);
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
      if (moved) await this.#routeToLive(app);
      // Where not even the plan came to its end, some may have a host or a port.
      const planned = specs.length > 0 ? specs : this.planForDisplay(release);
      if (target.runs)
        await target.remove(planned.map(({ name, stopMs }) => ({ name, stopMs: Math.min(stopMs, 5_000) })));
      store.ports.release(planned.map(({ name }) => name));
    } catch (error) {
      progress.line(`What was started of v${release.number} could not be removed yet: ${(error as Error).message}`);
      this.#parts.tidyLater(app);
    }
  }

  /** Points the address at the live release again, where a rollout that came to nothing may have moved it. */
  async #routeToLive(app: App): Promise<void> {
    const live = this.#live(app);
    if (app.stopped) return;
    if (live) await this.#switchTraffic(app, live, await this.plan(app, live), SILENT);
    else await this.#parts.router?.removeRoute(app.name);
  }

  #live(app: App): Release | undefined {
    return app.liveRelease === undefined ? undefined : this.#parts.store.releases.find(app.id, app.liveRelease);
  }

  #stopMs(app: App, instance: RunningInstance): number {
    const release = this.#parts.store.releases.find(app.id, instance.release);
    const process = release?.services
      .flatMap((service) => service.processes)
      .find((candidate) => candidate.name === instance.process);
    return process?.stopMs ?? 10_000;
  }

  #settings(
    release: Release,
    hostPort = (name: string): number => this.#parts.store.ports.find(name)!,
  ): InstanceSettings {
    const target = this.#parts.target(release.target);
    return { pullRepository: this.#parts.pullRepository, hostPort, placeOf: (name) => target.placeOf?.(name) };
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
