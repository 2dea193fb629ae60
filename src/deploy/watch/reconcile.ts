import type { App } from '../../domain/app.ts';
import { DinpError } from '../../domain/errors.ts';
import type { InstanceSpec, RunningInstance } from '../../domain/instance.ts';
import type { Release } from '../../domain/release.ts';
import type { Target } from '../../run/target.ts';
import type { Store } from '../../store/store.ts';
import type { AppChanges } from '../app-changes.ts';
import { Locks } from '../lock.ts';
import { type Progress, SILENT } from '../progress.ts';
import type { Rollouts } from '../rollout.ts';
import { compareInstances, type Difference, type Found, findReal, whyStart } from './differences.ts';
import type { Reach } from './reach.ts';
import type { Reality } from './reality.ts';

const APPS_AT_ONCE = 4;
/** An instance whose host is away for so long, and that does not answer, is started elsewhere. */
const LOST_AFTER_MS = 5 * 60_000;
const MEND_TIMEOUT_MS = 5 * 60_000;
const STRAY_STOP_MS = 10_000;

export interface ReconcileParts {
  store: Store;
  rollouts: Rollouts;
  changes: Pick<AppChanges, 'converge'>;
  target(name: string | undefined): Target;
  reality: Reality;
  reach: Reach;
  /** Whether an instance answered its last health check, also where its host cannot be asked. */
  isHealthy(instance: string): boolean;
  /** What the operator should read. */
  report(event: string, fields: Record<string, unknown>): void;
}

export interface ReconcileOptions {
  /** Nothing is changed. */
  dryRun: boolean;
  /** true: waits for rollouts that are under way, and stops at once what belongs to no app. */
  asked: boolean;
  progress: Progress;
  signal: AbortSignal;
}

/** What was found of an app, and what came of it. */
export interface AppReport {
  app: string;
  /** What was (or, in a dry run, would be) done. */
  differences: Difference[];
  /** What could not be found out or set right, and why. */
  failed: string[];
  /** Somebody else was changing it. */
  skipped: boolean;
}

export interface ReconcileReport {
  /** Apps of which anything was not as it should be. */
  apps: AppReport[];
  /** Instances of ours that belong to no app. */
  strays: { instance: string; target: string; stopped: boolean }[];
  /** Targets and routers that did not answer, and routes that a router does not take. */
  problems: string[];
  /** How many apps were looked at. */
  looked: number;
}

/** Reality, asked once for a whole pass. */
interface Facts {
  lists: Map<Target, RunningInstance[]>;
  failures: Map<Target, string>;
  problems: string[];
}

/**
 * Compares the store with what really runs and with the routes, and sets right what differs. What cannot be asked is
 * left as it is: only what was seen and belongs to this server is ever stopped.
 */
export class Reconciler {
  readonly #parts: ReconcileParts;
  readonly #locks = new Locks();
  /** Apps under repair, and until when none is tried again that failed. */
  readonly #resting = new Map<number, number>();
  #strays = new Set<string>();
  #everyMs = 60_000;
  #said = '';
  #timer: NodeJS.Timeout | undefined;

  constructor(parts: ReconcileParts) {
    this.#parts = parts;
  }

  /** Looks at all apps every so often from now on; one pass at a time. */
  start(everyMs: number, onError: (error: unknown) => void): void {
    this.#everyMs = everyMs;
    const next = () => {
      this.#timer = setTimeout(() => {
        this.pass()
          .catch(onError)
          .finally(() => this.#timer && next());
      }, everyMs).unref();
    };
    next();
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  /** One look at all apps, as it is done every so often; tells the operator's log. */
  async pass(): Promise<void> {
    this.#log(await this.run(() => true, { dryRun: false, asked: false, progress: SILENT, signal: patience() }));
  }

  /** Looks at one app now, unless it is looked at already or could not be set right a moment ago. */
  async soon(app: App): Promise<void> {
    if ((this.#resting.get(app.id) ?? 0) > Date.now() || this.#parts.rollouts.isBusy(app)) return;
    this.#resting.set(app.id, Number.POSITIVE_INFINITY);
    let failed = true;
    try {
      const options = { dryRun: false, asked: false, progress: SILENT, signal: patience() };
      const report = await this.#lookAt([app], options);
      failed = report.apps.some((each) => each.failed.length > 0) || report.problems.length > 0;
      this.#log(report);
    } finally {
      this.#resting.set(app.id, failed ? Date.now() + this.#everyMs : 0);
    }
  }

  /** Compares, and unless it is a dry run sets right. Never throws for what does not answer: the report says so. */
  async run(isAsked: (app: App) => boolean, options: ReconcileOptions): Promise<ReconcileReport> {
    return await this.#locks.hold('pass', async () => {
      const { store } = this.#parts;
      const apps = store.apps.list().filter(isAsked);
      const isWhole = apps.length === store.apps.list().length;
      // What is seen in the middle of a rollout says nothing.
      if (options.asked) await Promise.all(apps.map((app) => this.#waitForOthers(app, options.progress)));
      return await this.#lookAt(apps, options, isWhole);
    });
  }

  async #lookAt(apps: App[], options: ReconcileOptions, withStrays = false): Promise<ReconcileReport> {
    const facts = await this.#gather(apps, withStrays);
    const reports: AppReport[] = [];
    const queue = [...apps];
    const workers = Array.from({ length: APPS_AT_ONCE }, async () => {
      for (let app = queue.shift(); app; app = queue.shift())
        reports.push(await this.#reconcileApp(app, facts, options));
    });
    await Promise.all(workers);
    await this.#syncRoutes(reports, facts, options);
    const strays = withStrays ? await this.#stopStrays(facts, options) : [];
    const different = reports.filter(({ differences, failed }) => differences.length > 0 || failed.length > 0);
    different.sort((a, b) => (a.app < b.app ? -1 : 1));
    return { apps: different, strays, problems: facts.problems, looked: apps.length };
  }

  async #waitForOthers(app: App, progress: Progress): Promise<void> {
    const { rollouts } = this.#parts;
    if (!rollouts.isBusy(app)) return;
    await rollouts.exclusively(app, progress, async () => undefined).catch(ignoreRemoved);
  }

  /** One list a target, and one of the router. */
  async #gather(apps: App[], withStrays: boolean): Promise<Facts> {
    const facts: Facts = { lists: new Map(), failures: new Map(), problems: [] };
    const live = new Set(apps.flatMap((app) => this.#liveTarget(app) ?? []));
    const targets = new Set([...live, ...apps.flatMap((app) => this.#targetsOf(app))]);
    if (withStrays) targets.add(this.#parts.target(undefined));
    await Promise.all(
      [...targets]
        .filter(({ runs }) => runs)
        .map(async (target) => {
          try {
            facts.lists.set(target, await this.#parts.reality.list(target));
          } catch (error) {
            if (!(error instanceof DinpError)) throw error;
            facts.failures.set(target, error.message);
            // One that apps ran on before may be gone for good.
            if (live.has(target)) facts.problems.push(error.message);
          }
        }),
    );
    return facts;
  }

  /** All routers and apps in one go, once the instances are right; what was set is added to the reports. */
  async #syncRoutes(reports: AppReport[], facts: Facts, { dryRun }: ReconcileOptions): Promise<void> {
    const { rollouts, reach, store } = this.#parts;
    const asked = new Map(reports.filter(({ skipped }) => !skipped).map((report) => [report.app, report]));
    for (const sync of await rollouts.traffic.sync({ isAsked: ({ name }) => asked.has(name), dryRun })) {
      const away = sync.problems.find(({ code }) => code === 'unavailable');
      if (away) reach.away('router', sync.router, away.message, Date.now());
      else reach.answered('router', sync.router);
      facts.problems.push(...sync.problems.map(({ message }) => message));
      for (const app of sync.set)
        asked.get(app)?.differences.push({ kind: 'route', text: `set its route in ${sync.router}` });
      for (const app of sync.removed.filter((name) => store.apps.find(name) === undefined)) {
        const text = `remove its route from ${sync.router}: there is no such app`;
        reports.push({ app, differences: [{ kind: 'route', text }], failed: [], skipped: false });
      }
    }
  }

  async #reconcileApp(app: App, facts: Facts, options: ReconcileOptions): Promise<AppReport> {
    const { rollouts, store } = this.#parts;
    const report: AppReport = { app: app.name, differences: [], failed: [], skipped: false };
    try {
      if (rollouts.isBusy(app) && !options.asked) return { ...report, skipped: true };
      const current = store.apps.findById(app.id);
      if (current === undefined) return report;
      const differences = this.#compare(current, facts);
      report.differences = differences;
      if (differences.length === 0 || options.dryRun) return report;
      await rollouts.exclusively(current, options.progress, async (held) => {
        report.failed = await this.#mend(held, differences, options);
      });
    } catch (error) {
      if (!(error instanceof DinpError)) throw error;
      report.failed.push(error.message);
    }
    return report;
  }

  #compare(app: App, { lists, failures }: Facts): Difference[] {
    const { rollouts, store } = this.#parts;
    if (store.changes.find(app.id)) return [{ kind: 'change', text: 'go on with its rename or removal' }];
    const live = rollouts.liveTarget(app);
    const orphans = rollouts.orphans(app);
    const differences: Difference[] = orphans.map(({ number }) => ({
      kind: 'release',
      text: `give up v${number}: nobody rolls it out any more`,
    }));
    if (!live.runs) return differences;
    if (!failures.has(live)) {
      const targets = [...new Set([live, ...this.#targetsOf(app)])];
      const found = targets.flatMap((target): Found[] =>
        (lists.get(target) ?? [])
          .filter((instance) => instance.app === app.name)
          .map((instance) => ({ instance, onLiveTarget: target === live })),
      );
      differences.push(...compareInstances(this.#planned(app), found, (instance) => this.#isLost(instance)));
    }
    return differences;
  }

  /** @returns what could not be set right */
  async #mend(app: App, differences: Difference[], { progress, signal }: ReconcileOptions): Promise<string[]> {
    const { store, rollouts } = this.#parts;
    if (store.changes.find(app.id)) {
      await this.#parts.changes.converge(app, progress, signal);
      return [];
    }
    const release = liveRelease(store, app);
    if (release === undefined || app.stopped || !rollouts.liveTarget(app).runs) {
      await rollouts.converge(app, progress, signal);
      return [];
    }
    const kinds = new Set(differences.map(({ kind }) => kind));
    if (kinds.has('release')) await rollouts.abandonOrphans(app);
    if (!kinds.has('start') && !kinds.has('move') && !kinds.has('stop')) return [];
    return await this.#mendInstances(app, release, kinds.has('move'), progress, signal);
  }

  /** Each instance for itself: one that cannot be started keeps no other from being started. */
  async #mendInstances(
    app: App,
    release: Release,
    moving: boolean,
    progress: Progress,
    signal: AbortSignal,
  ): Promise<string[]> {
    const { rollouts } = this.#parts;
    const target = rollouts.liveTarget(app);
    const specs = await rollouts.plans.plan(app, release, { moving, progress });
    // Asked again under the lock: a rollout may have come between.
    const there = await target.list(app.name);
    const missing = specs.filter((spec) => whyStart(spec, findReal(spec, there)) !== undefined);
    const failed = new Map<InstanceSpec, string>();
    await Promise.all(
      missing.map(async (spec) => {
        try {
          await rollouts.start(app, spec, progress, signal);
        } catch (error) {
          if (!(error instanceof DinpError)) throw error;
          failed.set(spec, error.message);
        }
      }),
    );
    // One that should have moved and could not stays where it was.
    if (moving && failed.size > 0) await target.moveBack?.([...failed.keys()]);
    await rollouts.traffic.renew(app, progress);
    await rollouts.removeOthers(app, await rollouts.plans.plan(app, release), progress);
    return [...failed.values()];
  }

  /** Stops instances of ours whose app is in no store; unless somebody asked, only what an earlier pass saw, too. */
  async #stopStrays(facts: Facts, { dryRun, asked }: ReconcileOptions): Promise<ReconcileReport['strays']> {
    const { store } = this.#parts;
    const apps = store.apps.list();
    const known = new Set(apps.map(({ name }) => name));
    for (const { id } of apps) {
      const change = store.changes.find(id);
      if (change?.kind === 'rename') known.add(change.from);
    }
    const before = this.#strays;
    this.#strays = new Set();
    const strays: ReconcileReport['strays'] = [];
    for (const [target, list] of facts.lists) {
      for (const { name, app, host, state } of list) {
        if (known.has(app) || state === 'unreachable') continue;
        const isSure = asked || before.has(name);
        if (!isSure && !dryRun) this.#strays.add(name);
        const stopped =
          isSure && !dryRun && (await this.#stopStray(target, { name, stopMs: STRAY_STOP_MS, host }, facts));
        strays.push({ instance: name, target: target.name, stopped });
      }
    }
    return strays;
  }

  async #stopStray(target: Target, stray: Parameters<Target['remove']>[0][number], facts: Facts): Promise<boolean> {
    try {
      await target.remove([stray]);
      return true;
    } catch (error) {
      if (!(error instanceof DinpError)) throw error;
      facts.problems.push(error.message);
      return false;
    }
  }

  #planned(app: App): InstanceSpec[] {
    const release = liveRelease(this.#parts.store, app);
    return release === undefined || app.stopped ? [] : this.#parts.rollouts.plans.forDisplay(release);
  }

  /** Targets that the app ever ran on and that this server still has. */
  #targetsOf(app: App): Target[] {
    return this.#parts.store.releases
      .targets(app.id)
      .flatMap((name) => orNothing(() => this.#parts.target(name)) ?? []);
  }

  #liveTarget(app: App): Target | undefined {
    return orNothing(() => this.#parts.rollouts.liveTarget(app));
  }

  #isLost({ name, host, hostPort }: RunningInstance): boolean {
    const since = host === undefined ? undefined : this.#parts.reach.awaySince('host', host);
    const answers = hostPort !== undefined && this.#parts.isHealthy(name);
    return since !== undefined && Date.now() - since >= LOST_AFTER_MS && !answers;
  }

  #log({ apps, strays, problems }: ReconcileReport): void {
    // What stays wrong is said once.
    const said = problems.join('\n');
    if (said !== this.#said && said !== '') this.#parts.report('could not look at everything', { problems });
    this.#said = said;
    for (const { app, differences, failed } of apps) {
      const did = differences.map(({ text }) => text);
      if (failed.length > 0) this.#parts.report('could not bring an app in line with the store', { app, did, failed });
      else this.#parts.report('brought an app in line with the store', { app, did });
    }
    for (const { instance, target, stopped } of strays) {
      const event = stopped
        ? 'stopped an instance of no app'
        : 'found an instance of no app; the next reconcile stops it';
      this.#parts.report(event, { instance, target });
    }
  }
}

function liveRelease(store: Store, app: App): Release | undefined {
  return store.releases.findLive(app);
}

function patience(): AbortSignal {
  return AbortSignal.timeout(MEND_TIMEOUT_MS);
}

/** A target that this server does not have is said where the app is looked at. */
function orNothing<T>(find: () => T): T | undefined {
  try {
    return find();
  } catch (error) {
    if (error instanceof DinpError) return undefined;
    throw error;
  }
}

function ignoreRemoved(error: unknown): void {
  if (!(error instanceof DinpError && error.code === 'not-found')) throw error;
}
