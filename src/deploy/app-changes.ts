import type { App } from '../domain/app.ts';
import { DinpError } from '../domain/errors.ts';
import { parseAppName } from '../domain/names.ts';
import type { Router } from '../router/router.ts';
import type { BuildLogs } from '../store/build-log.ts';
import type { Store } from '../store/store.ts';
import { listVolumes } from './instances.ts';
import type { Progress } from './progress.ts';
import type { BuildQueue } from './queue.ts';
import type { Rollouts } from './rollout.ts';

export interface ChangeParts {
  store: Store;
  logs: BuildLogs;
  queue: BuildQueue;
  rollouts: Rollouts;
  router: Router | undefined;
  repositories: {
    rename(app: string, to: string): Promise<void>;
    remove(app: string): Promise<void>;
  };
  removeUnits(app: string): Promise<void>;
  removeUploads(app: App): void;
  /** Removes what builders have downloaded for an app of this name. */
  removeCache(app: string): Promise<void>;
}

/**
 * Renames and removes apps. Both touch repository, instances, address, unit files and rows, which no transaction holds
 * together: what is meant is recorded first, each step can be repeated, and the next start goes on where a server died.
 */
export class AppChanges {
  readonly #parts: ChangeParts;

  constructor(parts: ChangeParts) {
    this.#parts = parts;
  }

  async rename(app: App, name: string, progress: Progress): Promise<void> {
    parseAppName(name);
    const { store, rollouts } = this.#parts;
    this.#refuseTaken(name);
    await rollouts.exclusively(app, progress, async (current) => {
      await this.#goOn(current, progress);
      this.#refuseTaken(name);
      this.#refuseRename(current);
      store.transaction(() => {
        store.apps.rename(app.id, name);
        store.changes.begin(app.id, { kind: 'rename', from: current.name });
      });
      try {
        await this.#moveRepository(current.name, name);
      } catch (error) {
        store.transaction(() => {
          store.apps.rename(app.id, current.name);
          store.changes.end(app.id);
        });
        throw error;
      }
      try {
        await this.#endRename(app.id, current.name, progress);
        await rollouts.converge(store.apps.findById(app.id)!, progress, new AbortController().signal);
      } catch (error) {
        rollouts.tidyLater(app);
        throw error;
      }
    });
  }

  async destroy(app: App, options: { volumes: boolean }, progress: Progress): Promise<void> {
    const { store, queue, rollouts } = this.#parts;
    await queue.cancelAll(app.id, 'apps destroy');
    await rollouts.exclusively(app, progress, async (current) => {
      await this.#goOn(current, progress);
      store.changes.begin(app.id, { kind: 'destroy', volumes: options.volumes });
      try {
        await this.#endDestroy(current, options.volumes, progress);
      } catch (error) {
        // Whoever asked for it is told: it is tried again when they ask again, and not at some later start.
        store.changes.end(app.id);
        rollouts.tidyLater(app);
        throw error;
      }
    });
  }

  /** Moves the repositories of renames that a dead server began; to be called at start, before anybody looks for one. */
  async moveRepositories(): Promise<void> {
    const { store } = this.#parts;
    for (const app of store.apps.list()) {
      const change = store.changes.find(app.id);
      if (change?.kind === 'rename') await this.#moveRepository(change.from, app.name);
    }
  }

  /**
   * Goes on with what a dead server began, and then brings what runs of the app in line with its live release; under
   * its lock.
   */
  async converge(app: App, progress: Progress, signal: AbortSignal): Promise<void> {
    await this.#goOn(app, progress);
    const current = this.#parts.store.apps.findById(app.id);
    if (current) await this.#parts.rollouts.converge(current, progress, signal);
  }

  async #goOn(app: App, progress: Progress): Promise<void> {
    const change = this.#parts.store.changes.find(app.id);
    if (change?.kind === 'rename') {
      await this.#endRename(app.id, change.from, progress);
    } else if (change?.kind === 'destroy') {
      await this.#endDestroy(app, change.volumes, progress);
    }
  }

  /** Removes what bears the old name: instances, address and unit files. */
  async #endRename(appId: number, from: string, progress: Progress): Promise<void> {
    const { store, rollouts, router } = this.#parts;
    // Where a new app has taken the name meanwhile, all of this is its own.
    if (!store.apps.find(from)) {
      await rollouts.removeOthers({ ...store.apps.findById(appId)!, name: from }, [], progress);
      await router?.removeRoute(from);
      await this.#parts.removeUnits(from);
      await this.#parts.removeCache(from).catch(() => undefined);
    }
    store.changes.end(appId);
  }

  async #endDestroy(app: App, withVolumes: boolean, progress: Progress): Promise<void> {
    const { store, logs, rollouts, router, repositories } = this.#parts;
    const live = store.releases.findLive(app);
    const volumes = [...new Set(live ? listVolumes(live).map((each) => each.volume) : [])];
    await router?.removeRoute(app.name);
    await rollouts.removeOthers(app, [], progress);
    if (withVolumes) for (const volume of volumes) await rollouts.liveTarget(app).removeVolume(volume);
    await this.#parts.removeUnits(app.name);
    // Where no engine answers it stays, and no app gets it: a cache knows whose it is.
    await this.#parts.removeCache(app.name).catch(() => undefined);
    this.#parts.removeUploads(app);
    // Before the row: a repository without one would be taken up by the next app of that name.
    await repositories.remove(app.name).catch(ignoreMissing);
    for (const build of store.builds.list(app.id, Number.MAX_SAFE_INTEGER)) logs.remove(build.id);
    store.apps.remove(app.id);
    if (volumes.length > 0 && !withVolumes) progress.line(`Its volumes are kept: ${volumes.join(', ')}`);
  }

  async #moveRepository(from: string, to: string): Promise<void> {
    await this.#parts.repositories.rename(from, to).catch(ignoreMissing);
  }

  #refuseTaken(name: string): void {
    if (this.#parts.store.apps.find(name)) throw new DinpError('exists', `there is an app ${name} already.`);
  }

  #refuseRename(app: App): void {
    const { store } = this.#parts;
    const build = store.builds.listUnfinished().find((candidate) => candidate.appId === app.id);
    if (build) {
      throw new DinpError('refused', `build #${build.number} of ${app.name} is not over.`, {
        hint: `Wait for it, or: dinp builds cancel ${app.name}`,
      });
    }
    const live = store.releases.findLive(app);
    if (live && listVolumes(live).length > 0) {
      throw new DinpError('refused', `${app.name} has volumes, which are named after the app.`, {
        hint: 'Create a new app, and move the data over.',
      });
    }
  }
}

/** What an earlier try did already. */
function ignoreMissing(error: unknown): void {
  if (!(error instanceof DinpError && error.code === 'not-found')) throw error;
}
