import type { App } from '../domain/app.ts';
import type { Identity } from '../domain/identity.ts';
import type { InstanceSpec, RunningInstance } from '../domain/instance.ts';
import type { Release } from '../domain/release.ts';
import type { UnitFile, UnitKind } from '../domain/unit-file.ts';
import type { Progress } from './progress.ts';
import type { Health } from './watch/health-rules.ts';

/** One row of `dinp ps`: what should run beside what does. */
export interface InstanceStatus {
  name: string;
  process: string;
  index: number;
  release: number;
  /** Where it is or should be; undefined: this machine. */
  host?: string | undefined;
  /** undefined: nothing of that name is there. */
  real: RunningInstance | undefined;
  /** false: a stray that should not run. */
  desired: boolean;
  /** What its health checks say; undefined where it is not watched. */
  health: Health | undefined;
  /** Whether visitors are led to it; undefined for processes that have no address. */
  routed: boolean | undefined;
}

/** The instances of one app. */
export interface AppInstances {
  app: App;
  instances: InstanceStatus[];
  /** Why it is not known what runs; the instances are then those that should. */
  problem: string | undefined;
}

/** What operators do to apps besides pushing; every change of what runs goes through the app's rollout lock. */
export interface Operations {
  createApp(name: string): Promise<App>;
  renameApp(app: App, name: string, progress: Progress): Promise<void>;
  /** Stops everything, removes route, containers, units, repository, logs and rows; volumes only where asked. */
  destroyApp(app: App, options: { volumes: boolean }, progress: Progress): Promise<void>;
  setDeployBranch(app: App, branch: string): Promise<void>;

  /** A new release that is an older one again (default: the one before the live one): source, images, processes and config. */
  rollback(
    app: App,
    number: number | undefined,
    by: Identity,
    progress: Progress,
    signal: AbortSignal,
  ): Promise<Release>;
  /** Sets (or with undefined unsets) config and makes a new release of the live image; undefined where nothing is live yet or nothing changed. */
  changeConfig(
    app: App,
    values: Record<string, string | undefined>,
    by: Identity,
    progress: Progress,
    signal: AbortSignal,
  ): Promise<Release | undefined>;
  scale(app: App, formation: Record<string, number>, progress: Progress, signal: AbortSignal): Promise<void>;
  restart(app: App, progress: Progress, signal: AbortSignal): Promise<void>;
  stop(app: App, progress: Progress): Promise<void>;
  start(app: App, progress: Progress, signal: AbortSignal): Promise<void>;

  instances(app: App): Promise<InstanceStatus[]>;
  /** The same of several apps, each target asked once; one that does not answer is said. */
  allInstances(apps: App[]): Promise<AppInstances[]>;
  /** How many instances of each process of the live release are wanted. */
  formation(app: App): Record<string, number>;
  /** The spec of a process's first instance of the live release, for one-off commands; process undefined: web or the first. */
  specFor(app: App, process: string | undefined): InstanceSpec;
  /** Addresses of the app, best first (`http://blog.localhost:8080`, `http://127.0.0.1:21000`); empty before its first release. */
  addresses(app: App): string[];
  /** Engine volume names by the names the release gives them. */
  volumes(app: App): { name: string; volume: string; path: string; process: string }[];
  /** The unit files of a release, as they are written when it is rolled out. */
  units(release: Release, kind: UnitKind): Promise<UnitFile[]>;
  /** The files with config values that those units name. */
  unitSecrets(release: Release, kind: UnitKind): UnitFile[];
}
