import { isDeepStrictEqual } from 'node:util';
import type { App } from '../domain/app.ts';
import { DinpError } from '../domain/errors.ts';
import type { Identity } from '../domain/identity.ts';
import type { InstanceSpec, RunningInstance } from '../domain/instance.ts';
import { parseAppName } from '../domain/names.ts';
import type { Release, ReleaseCause } from '../domain/release.ts';
import type { UnitFile, UnitKind } from '../domain/unit-file.ts';
import type { Target } from '../run/target.ts';
import type { Store } from '../store/store.ts';
import type { Addresses } from './addresses.ts';
import type { AppChanges } from './app-changes.ts';
import { upstreamsOf } from './app-routes.ts';
import { checkFormation, formationOf, listVolumes } from './instances.ts';
import type { AppInstances, InstanceStatus, Operations } from './operations.ts';
import type { Progress } from './progress.ts';
import type { Rollouts } from './rollout.ts';
import { findReal } from './watch/differences.ts';
import type { HealthWatch } from './watch/health-watch.ts';
import type { Reality } from './watch/reality.ts';

export interface OperationParts {
  store: Store;
  changes: AppChanges;
  rollouts: Rollouts;
  addresses: Addresses;
  target(name: string | undefined): Target;
  repositories: {
    create(app: string): Promise<void>;
    listRefs(app: string, prefix: string): Promise<unknown[]>;
    setHead(app: string, branch: string): Promise<void>;
    keepRef(app: string, release: number, sha: string): Promise<void>;
  };
  reality: Reality;
  watch: Pick<HealthWatch, 'healthOf' | 'routable'>;
  /** Told how the rollout of a release ended that no build made; `reason` where it failed. */
  onRelease(release: Release, reason: string | undefined): void;
  units: {
    render(kind: UnitKind, release: Release, specs: InstanceSpec[]): Promise<UnitFile[]>;
    secretFiles(kind: UnitKind, release: Release, specs: InstanceSpec[]): UnitFile[];
  };
}

export class AppOperations implements Operations {
  readonly #parts: OperationParts;

  constructor(parts: OperationParts) {
    this.#parts = parts;
  }

  async createApp(name: string): Promise<App> {
    parseAppName(name);
    const { store, repositories } = this.#parts;
    if (store.apps.find(name))
      throw new DinpError('exists', `there is an app ${name} already.`, { hint: `dinp apps info ${name}` });
    // The repository first: a row without one would be served to pushes.
    await repositories.create(name).catch((error: unknown) => {
      if (!(error instanceof DinpError && error.code === 'exists')) throw error;
    });
    return store.apps.find(name) ?? store.apps.create(name);
  }

  /** Removes an app that nothing was ever pushed to; one that has anything stays. */
  async discardApp(app: App): Promise<void> {
    const { store, repositories } = this.#parts;
    const isUsed = store.builds.list(app.id, 1).length > 0 || Object.keys(store.config.get(app.id)).length > 0;
    if (isUsed || (await repositories.listRefs(app.name, 'refs')).length > 0) return;
    await this.#parts.changes.destroy(app, { volumes: false }, { heading: () => undefined, line: () => undefined });
  }

  async renameApp(app: App, name: string, progress: Progress): Promise<void> {
    await this.#parts.changes.rename(app, name, progress);
  }

  async destroyApp(app: App, options: { volumes: boolean }, progress: Progress): Promise<void> {
    await this.#parts.changes.destroy(app, options, progress);
  }

  async setDeployBranch(app: App, branch: string): Promise<void> {
    if (!/^[A-Za-z0-9][A-Za-z0-9._/-]*$/.test(branch) || /\.\.|\/\/|\.lock$|[/.]$/.test(branch)) {
      throw new DinpError('usage', `"${branch}" is no branch name that can deploy.`, {
        hint: 'Use letters, digits, dots, slashes and hyphens, such as release/2.x.',
      });
    }
    await this.#parts.repositories.setHead(app.name, branch);
    this.#parts.store.apps.setDeployBranch(app.id, branch);
  }

  async rollback(
    app: App,
    number: number | undefined,
    by: Identity,
    progress: Progress,
    signal: AbortSignal,
  ): Promise<Release> {
    return await this.#parts.rollouts.exclusively(app, progress, (current) =>
      this.#rollBack(current, number, by, progress, signal),
    );
  }

  async #rollBack(
    app: App,
    number: number | undefined,
    by: Identity,
    progress: Progress,
    signal: AbortSignal,
  ): Promise<Release> {
    const wanted = number ?? this.#before(app);
    const source = this.#parts.store.releases.find(app.id, wanted);
    if (!source)
      throw new DinpError('not-found', `${app.name} has no release v${wanted}.`, {
        hint: `dinp releases list ${app.name}`,
      });
    if (source.number === app.liveRelease) throw new DinpError('refused', `v${wanted} of ${app.name} is live already.`);
    if (source.state === 'gone') {
      throw new DinpError('refused', `v${wanted} of ${app.name} is gone: its image was removed by clean-up.`, {
        hint: `${deployAgain(source)}\nThose that can be gone back to: dinp releases list ${app.name}`,
      });
    }
    if (source.state !== 'past') {
      throw new DinpError('refused', `v${wanted} of ${app.name} never ran: its rollout failed.`, {
        hint: `dinp releases list ${app.name}`,
      });
    }
    const release = await this.#release(app, source, 'rollback', source.config, by, progress, signal);
    const now = this.#parts.store.config.get(app.id);
    const names = [...new Set([...Object.keys(now), ...Object.keys(source.config)])].filter(
      (name) => now[name] !== source.config[name],
    );
    if (names.length > 0) {
      this.#parts.store.config.change(app.id, Object.fromEntries(names.map((name) => [name, source.config[name]])));
      progress.line(`Config went back with it: ${names.sort().join(', ')}`);
    }
    return release;
  }

  async changeConfig(
    app: App,
    values: Record<string, string | undefined>,
    by: Identity,
    progress: Progress,
    signal: AbortSignal,
  ): Promise<Release | undefined> {
    const { store, rollouts } = this.#parts;
    return await rollouts.exclusively(app, progress, async (current) => {
      store.config.change(app.id, values);
      const config = store.config.get(app.id);
      const live = this.#live(current);
      // Compared with what runs: a change whose release failed is tried again.
      if (!live || isDeepStrictEqual(live.config, config)) return undefined;
      return await this.#release(current, live, 'config', config, by, progress, signal);
    });
  }

  async scale(app: App, formation: Record<string, number>, progress: Progress, signal: AbortSignal): Promise<void> {
    const { store, rollouts } = this.#parts;
    checkFormation(app, this.#needLive(app), formation);
    await rollouts.exclusively(app, progress, async () => {
      const current = store.apps.findById(app.id)!;
      const wanted = { ...store.formation.get(app.id), ...formation };
      // Recorded once it runs: a number that cannot start is not what the next release should try again.
      const release = this.#needLive(current);
      try {
        await rollouts.converge(current, progress, signal, formationOf(release, wanted));
      } catch (error) {
        await rollouts.removeOthers(current, await rollouts.plans.plan(current, release), progress);
        throw error;
      }
      store.formation.set(app.id, formation);
    });
  }

  async restart(app: App, progress: Progress, signal: AbortSignal): Promise<void> {
    const { rollouts } = this.#parts;
    await rollouts.exclusively(app, progress, async () => {
      const specs = await rollouts.plans.plan(app, this.#needLive(app));
      for (const spec of specs) {
        progress.line(`Restarting ${spec.process}.${spec.index}`);
        await rollouts.liveTarget(app).restart([{ name: spec.name, stopMs: spec.stopMs }]);
        await rollouts.waitHealthy(app, spec, progress, signal);
        // It may have come up elsewhere.
        if (rollouts.liveTarget(app).schedules) await rollouts.traffic.renew(app, progress);
      }
    });
  }

  async stop(app: App, progress: Progress): Promise<void> {
    await this.#setStopped(app, true, progress, new AbortController().signal);
  }

  async start(app: App, progress: Progress, signal: AbortSignal): Promise<void> {
    await this.#setStopped(app, false, progress, signal);
  }

  async instances(app: App): Promise<InstanceStatus[]> {
    const target = this.#parts.rollouts.liveTarget(app);
    return this.#statuses(app, target.runs ? await target.list(app.name) : []);
  }

  async allInstances(apps: App[]): Promise<AppInstances[]> {
    const lists = new Map<Target, Promise<RunningInstance[]>>();
    const listOn = (target: Target) => {
      const list = lists.get(target) ?? (target.runs ? this.#parts.reality.list(target) : Promise.resolve([]));
      lists.set(target, list);
      return list;
    };
    return await Promise.all(
      apps.map(async (app) => {
        try {
          const list = await listOn(this.#parts.rollouts.liveTarget(app));
          const own = list.filter((instance) => instance.app === app.name);
          return { app, instances: this.#statuses(app, own), problem: undefined };
        } catch (error) {
          if (!(error instanceof DinpError)) throw error;
          return { app, instances: this.#statuses(app, []), problem: error.message };
        }
      }),
    );
  }

  #statuses(app: App, real: RunningInstance[]): InstanceStatus[] {
    const { rollouts, watch } = this.#parts;
    const release = this.#live(app);
    const desired = release && !app.stopped ? rollouts.plans.forDisplay(release) : [];
    const route = upstreamsOf(watch.routable(desired));
    const isRouted = (spec: InstanceSpec) => {
      const [own] = upstreamsOf([spec]);
      return own === undefined ? undefined : route.includes(own);
    };
    const rows = desired.map((spec) => ({
      name: spec.name,
      process: spec.process,
      index: spec.index,
      release: spec.release,
      host: spec.host,
      real: findReal(spec, real),
      desired: true,
      health: watch.healthOf(spec.name),
      routed: isRouted(spec),
    }));
    const strays = real.filter((instance) => !desired.some((spec) => findReal(spec, [instance])));
    return [
      ...rows,
      ...strays.map((instance) => ({
        ...instance,
        real: instance,
        desired: false,
        health: undefined,
        routed: undefined,
      })),
    ];
  }

  formation(app: App): Record<string, number> {
    const release = this.#live(app);
    return release ? formationOf(release, this.#parts.store.formation.get(app.id)) : {};
  }

  specFor(app: App, process: string | undefined): InstanceSpec {
    return this.#parts.rollouts.plans.one(this.#needLive(app), process);
  }

  addresses(app: App): string[] {
    const release = this.#live(app);
    return release ? this.#parts.addresses.list(app, release) : [];
  }

  volumes(app: App): { name: string; volume: string; path: string; process: string }[] {
    const release = this.#live(app);
    return release ? listVolumes(release) : [];
  }

  async units(release: Release, kind: UnitKind): Promise<UnitFile[]> {
    return await this.#parts.units.render(kind, release, this.#parts.rollouts.plans.forDisplay(release));
  }

  unitSecrets(release: Release, kind: UnitKind): UnitFile[] {
    return this.#parts.units.secretFiles(kind, release, this.#parts.rollouts.plans.forDisplay(release));
  }

  /** A new release of what `source` has, rolled out; under the app's lock. */
  async #release(
    app: App,
    source: Release,
    cause: ReleaseCause,
    config: Record<string, string>,
    by: Identity,
    progress: Progress,
    signal: AbortSignal,
  ): Promise<Release> {
    const { store, rollouts, repositories } = this.#parts;
    const release = store.releases.create({
      appId: app.id,
      cause,
      source: source.source,
      note: source.note,
      fromNumber: source.number,
      buildId: source.buildId,
      target: this.#parts.target(app.target ?? source.target).name,
      domains: source.domains,
      hosts: source.hosts,
      fleet: source.fleet,
      keep: source.keep,
      services: source.services,
      config,
      by: by.name,
    });
    progress.heading(`Starting v${release.number}`);
    if (source.source.kind === 'commit') await repositories.keepRef(app.name, release.number, source.source.sha);
    try {
      await rollouts.rollOut(app.id, release, progress, signal);
    } catch (error) {
      if (!signal.aborted) this.#parts.onRelease(release, (error as Error).message);
      throw error;
    }
    this.#parts.onRelease(release, undefined);
    return store.releases.find(app.id, release.number)!;
  }

  async #setStopped(app: App, stopped: boolean, progress: Progress, signal: AbortSignal): Promise<void> {
    const { store, rollouts } = this.#parts;
    await rollouts.exclusively(app, progress, async () => {
      store.apps.setStopped(app.id, stopped);
      await rollouts.converge(store.apps.findById(app.id)!, progress, signal);
    });
  }

  #live(app: App): Release | undefined {
    const current = this.#parts.store.apps.findById(app.id);
    return current?.liveRelease === undefined
      ? undefined
      : this.#parts.store.releases.find(app.id, current.liveRelease);
  }

  #needLive(app: App): Release {
    const release = this.#live(app);
    if (release) return release;
    throw new DinpError('not-found', `${app.name} has no release yet.`, {
      hint: `Push it: git push dinp ${app.deployBranch ?? 'main'}`,
    });
  }

  /** The newest release before the live one that ever served. */
  #before(app: App): number {
    const past = this.#parts.store.releases
      .list(app.id, 1_000)
      .find((release) => release.state === 'past' && release.number < (app.liveRelease ?? 0));
    if (past) return past.number;
    throw new DinpError('not-found', `${app.name} has no release before the live one.`, {
      hint: `dinp releases list ${app.name}`,
    });
  }
}

/** How what a removed image was made of is deployed anew. */
function deployAgain({ source }: Release): string {
  switch (source.kind) {
    case 'commit':
      return `Push its commit again: git push --force dinp ${source.sha}:${source.ref}`;
    case 'upload':
      return `Deploy its file again: ${source.filename} (SHA-256 ${source.sha256})`;
    case 'image':
      return `Deploy its image again: ${source.reference}`;
  }
}
