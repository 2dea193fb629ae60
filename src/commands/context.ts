import type { AppDomains } from '../deploy/app-domains.ts';
import type { BuildRecords } from '../deploy/build-records.ts';
import type { CleanUp } from '../deploy/clean-up/clean-up.ts';
import type { Hosts } from '../deploy/hosts/hosts.ts';
import type { Operations } from '../deploy/operations.ts';
import type { Progress } from '../deploy/progress.ts';
import type { Watcher } from '../deploy/pushes.ts';
import type { BuildQueue } from '../deploy/queue.ts';
import type { ArtifactDeploys } from '../deploy/uploads/artifact-deploys.ts';
import type { Downloads } from '../deploy/uploads/download.ts';
import type { Uploads } from '../deploy/uploads/uploads.ts';
import type { Reconciler } from '../deploy/watch/reconcile.ts';
import type { App } from '../domain/app.ts';
import type { Build } from '../domain/build.ts';
import type { Identity } from '../domain/identity.ts';
import type { ImageRef } from '../domain/image-ref.ts';
import type { RunHost } from '../domain/run-host.ts';
import type { BaseCatalogue } from '../image/bases/bases.ts';
import type { InspectedImage } from '../image/registry/inspect-image.ts';
import type { Target } from '../run/target.ts';
import type { BuildLogs } from '../store/build-log.ts';
import type { Placement } from '../store/placements.ts';
import type { Store } from '../store/store.ts';

/** Everything a command may use: given anew for each command line by whoever received it. */
export interface CommandContext {
  /** Who typed it. */
  identity: Identity;
  /** How people call us from where they are: `dinp` or `ssh -p 2222 dinp@host`; begins every command in a hint. */
  program: string;
  store: Store;
  operations: Operations;
  queue: Pick<BuildQueue, 'cancel' | 'position'>;
  artifacts: Pick<ArtifactDeploys, 'creates' | 'check' | 'deployUpload' | 'deployImage'>;
  uploads: Pick<Uploads, 'receive'>;
  downloads: Pick<Downloads, 'fetch'>;
  /** Shows a build from its place in the queue to its end. Gives 0 when it released. */
  watchBuild(build: Build, watcher: Watcher): Promise<number>;
  buildLogs: Pick<BuildLogs, 'follow' | 'read' | 'has'>;
  /** Logs that are kept beside images. */
  buildRecords: Pick<BuildRecords, 'read' | 'readImage' | 'takeApart'>;
  cleanUp: Pick<CleanUp, 'run'>;
  reconciler: Pick<Reconciler, 'run'>;
  hosts: Pick<Hosts, 'publicKey' | 'list' | 'get' | 'add' | 'pin' | 'check' | 'undrain' | 'remove'>;
  domains: Pick<AppDomains, 'list' | 'add' | 'remove'>;
  /** Moves what a host runs to others; gives what had to stay. */
  drainHost(host: RunHost, progress: Progress, signal: AbortSignal): Promise<Placement[]>;
  /** Names that `apps set --target` takes, the server's default first. */
  targets: readonly string[];
  targetOf(app: App): Target;
  /** What the registry has of an image; undefined where it is gone. */
  inspectImage(image: ImageRef, signal: AbortSignal): Promise<InspectedImage | undefined>;
  bases: Pick<BaseCatalogue, 'list' | 'usableBases' | 'check' | 'build' | 'sync' | 'load'>;
  repositories: AppRepositories;
  server: ServerInfo;
  /** Whether what the server needs answers: engine, registry, router. */
  checkServices(): Promise<ServiceStatus[]>;
  out: CommandIo;
  /** The operator's log, for errors nobody expected. */
  log: { error(fields: object, message: string): void };
}

/** The command line's own streams. Writes settle when the reader has room for more. */
export interface CommandIo {
  stdout(data: string | Uint8Array): Promise<void>;
  stderr(data: string | Uint8Array): Promise<void>;
  /** undefined where the caller sends none. */
  stdin: AsyncIterable<Uint8Array> | undefined;
  /** Width of the terminal that shows stdout; undefined where it is no terminal. */
  columns: number | undefined;
  /** Aborted when the reader is gone or pressed Ctrl-C. */
  signal: AbortSignal;
}

export interface AppRepositories {
  /** Short names of the branches that were pushed. */
  branches(app: App): Promise<string[]>;
}

/** The server as its users reach it. */
export interface ServerInfo {
  version: string;
  /** Host name or address for git remotes. */
  address: string;
  sshPort: number;
  /** The one user name of the front door. */
  user: string;
  /** Data folder. */
  data: string;
  /** Name of the target of apps that name none. */
  target: string;
}

export interface ServiceStatus {
  /** `engine`, `registry`, `router`. */
  name: string;
  ok: boolean;
  /** Version and address, or what is wrong. */
  detail: string;
}

/** A command under way: the context, and the words that were typed (for hints that repeat them corrected). */
export interface Call extends CommandContext {
  argv: readonly string[];
}
