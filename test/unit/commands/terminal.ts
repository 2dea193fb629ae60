import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import type { CommandContext } from '../../../src/commands/context.ts';
import { runCommand } from '../../../src/commands/registry.ts';
import { Addresses } from '../../../src/deploy/addresses.ts';
import { AppDomains } from '../../../src/deploy/app-domains.ts';
import type { KeptLog } from '../../../src/deploy/build-records.ts';
import type { CleanUpReport } from '../../../src/deploy/clean-up/clean-up.ts';
import { Hosts } from '../../../src/deploy/hosts/hosts.ts';
import type { AppInstances, InstanceStatus, Operations } from '../../../src/deploy/operations.ts';
import { BuildQueue } from '../../../src/deploy/queue.ts';
import { AllowedHosts } from '../../../src/deploy/uploads/allowed-hosts.ts';
import { ArtifactDeploys } from '../../../src/deploy/uploads/artifact-deploys.ts';
import { Downloads } from '../../../src/deploy/uploads/download.ts';
import { Uploads } from '../../../src/deploy/uploads/uploads.ts';
import type { ReconcileReport } from '../../../src/deploy/watch/reconcile.ts';
import type { App } from '../../../src/domain/app.ts';
import { DinpError } from '../../../src/domain/errors.ts';
import type { Identity } from '../../../src/domain/identity.ts';
import type { InstanceSpec } from '../../../src/domain/instance.ts';
import { DEFAULT_HEALTH, type Process } from '../../../src/domain/process.ts';
import type { Release } from '../../../src/domain/release.ts';
import type { UnitKind } from '../../../src/domain/unit-file.ts';
import type { BaseState } from '../../../src/image/bases/bases.ts';
import type { InspectedImage } from '../../../src/image/registry/inspect-image.ts';
import type { ExecStreams, LogLine, LogOptions, Target } from '../../../src/run/target.ts';
import { BuildLogs } from '../../../src/store/build-log.ts';
import { openDatabase } from '../../../src/store/database.ts';
import { Store } from '../../../src/store/store.ts';

export const ADMIN: Identity = { name: 'root', role: 'admin', fingerprint: undefined, apps: [] };

export function deployer(name: string, ...apps: string[]): Identity {
  return { name, role: 'deployer', fingerprint: 'SHA256:test', apps };
}

export function process(name: string, more: Partial<Process> = {}): Process {
  return {
    name,
    command: undefined,
    instances: 1,
    memoryBytes: 2 ** 28,
    port: name === 'web' ? 8080 : undefined,
    health: DEFAULT_HEALTH,
    stopMs: 10_000,
    volumes: {},
    ...more,
  };
}

interface Typed {
  as?: Identity;
  stdin?: string | Uint8Array;
  columns?: number;
  program?: string;
  signal?: AbortSignal;
  onOutput?(text: string): void;
}

export interface Printed {
  status: number;
  stdout: string;
  stderr: string;
}

/**
 * A server with a real store, queue and build logs whose operations change nothing but the store: enough to see what
 * commands understand, ask for and print.
 */
export class Terminal {
  readonly store: Store;
  readonly logs: BuildLogs;
  readonly queue: BuildQueue;
  readonly operations: MemoryOperations;
  readonly uploads: Uploads;
  readonly target = new MemoryTarget();
  readonly logged: object[] = [];
  readonly bases: BaseState[] = [];
  /** What the registry's images say, by base. */
  readonly baseVersions = new Map<string, string>();
  /** What the registry has, by digest. */
  readonly inspected = new Map<string, InspectedImage>();
  branches: string[] = [];
  /** What the registry has, by image. */
  readonly keptLogs = new Map<string, KeptLog>();
  readonly hosts: Hosts;
  readonly domains: AppDomains;
  /** Apps that lost a host. */
  readonly lost: string[] = [];
  /** Apps whose route was renewed; a failure of it to come. */
  readonly renewed: string[] = [];
  routeFailure: Error | undefined;
  reconciled: ReconcileReport = { apps: [], strays: [], problems: [], looked: 1 };
  cleanedUp: CleanUpReport = { untouched: [], removed: [], kept: [], notes: [] };

  constructor(context: TestContext) {
    const folder = mkdtempSync(join(tmpdir(), 'dinp-commands-'));
    this.store = new Store(openDatabase(join(folder, 'dinp.db')));
    this.logs = new BuildLogs(join(folder, 'logs'));
    this.queue = new BuildQueue({
      store: this.store,
      logs: this.logs,
      parallel: 1,
      run: (_build, _output, signal) =>
        new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason))),
      forPusher: (text) => text,
      onInternalError: (_build, error) => assert.fail(String(error)),
      onFinished: () => {},
    });
    this.operations = new MemoryOperations(this.store);
    this.domains = new AppDomains({
      store: this.store,
      addresses: new Addresses(this.store, {
        ...{ address: 'example.org', domain: 'apps.example.org', routerPort: 80 },
        ...{ appPorts: [1, 2] as [number, number], instancePorts: [3, 4] as [number, number] },
        placeOf: () => undefined,
        httpsPort: (host) => (host.startsWith('*') ? undefined : 443),
      }),
      rollouts: {
        exclusively: (app, _progress, work) => work(this.store.apps.findById(app.id)!),
        traffic: {
          renew: async (app) => {
            this.renewed.push(app.name);
            if (this.routeFailure) throw this.routeFailure;
          },
        },
        tidyLater: () => {},
      },
    });
    const noNetwork = () => assert.fail('no host is asked here');
    this.hosts = new Hosts({
      store: this.store,
      publicKey: () => 'ssh-ed25519 AAAA dinp',
      link: noNetwork,
      onAnswer: noNetwork,
      onLost: (apps) => this.lost.push(...apps),
      askHostKey: noNetwork,
      pushCheckImage: noNetwork,
      removeCheckImage: noNetwork,
      registry: { push: '127.0.0.1:5000', pull: undefined },
    });
    this.uploads = new Uploads(join(folder, 'uploads'), { maxSize: 1000, stallMs: 5_000, totalMs: 5_000 });
    context.after(() => {
      this.queue.close();
      this.store.close();
      rmSync(folder, { recursive: true });
    });
  }

  /** An app with one live release of the processes. */
  deployed(name: string, processes: Process[] = [process('web')]): App {
    const app = this.store.apps.create(name);
    this.store.apps.setDeployBranch(app.id, 'main');
    this.release(app, processes);
    return this.store.apps.find(name)!;
  }

  release(app: App, processes: Process[] = [process('web')], domains: string[] = []): Release {
    const release = this.store.releases.create({
      appId: app.id,
      cause: 'deploy',
      source: { kind: 'commit', sha: '0123456789abcdef0123456789abcdef01234567', ref: 'refs/heads/main' },
      fromNumber: undefined,
      buildId: undefined,
      target: 'docker',
      domains,
      services: [
        {
          service: app.name,
          commit: '0123456789abcdef0123456789abcdef01234567',
          image: { repository: `127.0.0.1:5000/${app.name}`, digest: `sha256:${'ab'.repeat(32)}` },
          contentKey: 'key',
          processes,
          env: {},
          releaseCommand: undefined,
        },
      ],
      config: this.store.config.get(app.id),
      by: 'alice',
    });
    this.store.releases.makeLive(release);
    return release;
  }

  async type(line: string | string[], typed: Typed = {}): Promise<Printed> {
    const printed: Printed = { status: -1, stdout: '', stderr: '' };
    const take = (fd: 'stdout' | 'stderr') => async (data: string | Uint8Array) => {
      const text = typeof data === 'string' ? data : Buffer.from(data).toString('utf8');
      printed[fd] += text;
      typed.onOutput?.(text);
    };
    const argv = typeof line === 'string' ? line.split(' ').filter((word) => word !== '') : line;
    printed.status = await runCommand(argv, {
      ...this.context(typed),
      out: { ...this.context(typed).out, stdout: take('stdout'), stderr: take('stderr') },
    });
    return printed;
  }

  #keptLog(image: string): KeptLog {
    const kept = this.keptLogs.get(image);
    if (kept) return kept;
    throw new DinpError('not-found', `there is no build's log beside the image ${image}.`);
  }

  /** What a command gets, its output thrown away. */
  context(typed: Typed): CommandContext {
    return {
      identity: typed.as ?? ADMIN,
      program: typed.program ?? 'dinp',
      store: this.store,
      operations: this.operations,
      queue: this.queue,
      buildLogs: this.logs,
      hosts: this.hosts,
      domains: this.domains,
      drainHost: async (host) => {
        this.store.hosts.setDrained(host.id, true);
        return this.store.placements.onHost(host.id);
      },
      buildRecords: {
        read: async ({ app, number }) => this.#keptLog(`${app}:b${number}`),
        readImage: async (reference) => this.#keptLog(reference),
        takeApart: (reference) => {
          const [repository = '', name = 'latest'] = reference.split(':');
          return { repository, name };
        },
      },
      reconciler: {
        run: async (isAsked, { dryRun }) => {
          const asked = this.store.apps.list().filter(isAsked);
          this.operations.calls.push(['reconcile', asked.map(({ name }) => name), dryRun]);
          return this.reconciled;
        },
      },
      cleanUp: {
        run: async (isAsked, isDryRun) => {
          this.operations.calls.push([
            'gc',
            this.store.apps
              .list()
              .filter(isAsked)
              .map(({ name }) => name),
            isDryRun,
          ]);
          return this.cleanedUp;
        },
      },
      artifacts: new ArtifactDeploys({
        store: this.store,
        queue: this.queue,
        uploads: this.uploads,
        bases: () => this.bases.map(({ name }) => name),
        createApp: (name) => this.operations.createApp(name),
        createOnDeploy: true,
      }),
      uploads: this.uploads,
      downloads: new Downloads({ uploads: this.uploads, allowed: new AllowedHosts(['127.0.0.1']) }),
      watchBuild: async (build, watcher) => {
        for await (const chunk of this.logs.follow(build.id, watcher.signal)) await watcher.write(chunk);
        return this.store.builds.get(build.id).state === 'succeeded' ? 0 : 1;
      },
      targets: ['docker', 'systemd', 'emit'],
      targetOf: () => this.target,
      bases: {
        list: () => this.bases,
        usableBases: async () =>
          new Map(
            [...this.baseVersions].map(([name, version]) => [name, { for: [], shell: true, usable: true, version }]),
          ),
        check: async (name) => this.bases.find((base) => base.name === name)!,
        build: async (name, onOutput) => {
          onOutput(`unpacking ${name}`);
          return { digest: 'sha256:11' };
        },
        sync: async (name, { onProgress }) => {
          onProgress?.(5_000_000, 9_000_000);
          onProgress?.(9_000_000, 9_000_000);
          return { digest: 'sha256:22', from: `hub/${name}:1` };
        },
        load: async (name, bytes, { image }) => {
          const chunks: Uint8Array[] = [];
          for await (const chunk of bytes) chunks.push(chunk);
          return { digest: `sha256:${name}-${image ?? 'only'}-${Buffer.concat(chunks)}` };
        },
      },
      inspectImage: async ({ digest }) => this.inspected.get(digest),
      repositories: { branches: async () => this.branches },
      server: {
        version: '1.2.3',
        address: 'example.org',
        sshPort: 2222,
        user: 'dinp',
        data: '/var/lib/dinp',
        target: 'docker',
      },
      checkServices: async () => [{ name: 'engine', ok: this.target.engineOk, detail: 'docker 27.0' }],
      out: {
        stdout: async () => {},
        stderr: async () => {},
        stdin: typed.stdin === undefined ? undefined : oneChunk(typed.stdin),
        columns: typed.columns,
        signal: typed.signal ?? new AbortController().signal,
      },
      log: { error: (fields) => this.logged.push(fields) },
    };
  }
}

async function* oneChunk(data: string | Uint8Array): AsyncGenerator<Uint8Array> {
  yield typeof data === 'string' ? Buffer.from(data) : data;
}

/** Keeps what it is asked for in `calls`, and does to the store what the real ones do. */
export class MemoryOperations implements Operations {
  readonly calls: unknown[][] = [];
  rows: InstanceStatus[] = [];
  /** Why it is not known what runs, by app. */
  readonly problems = new Map<string, string>();
  failure: unknown;
  readonly #store: Store;

  constructor(store: Store) {
    this.#store = store;
  }

  #called(...call: unknown[]): void {
    this.calls.push(call);
    if (this.failure !== undefined) throw this.failure;
  }

  async createApp(name: string): Promise<App> {
    this.#called('createApp', name);
    return this.#store.apps.create(name);
  }

  async renameApp(app: App, name: string): Promise<void> {
    this.#called('renameApp', app.name, name);
    this.#store.apps.rename(app.id, name);
  }

  async destroyApp(app: App, options: { volumes: boolean }): Promise<void> {
    this.#called('destroyApp', app.name, options);
    this.#store.apps.remove(app.id);
  }

  async setDeployBranch(app: App, branch: string): Promise<void> {
    this.#called('setDeployBranch', app.name, branch);
    this.#store.apps.setDeployBranch(app.id, branch);
  }

  async rollback(...[app, number, by, progress]: Parameters<Operations['rollback']>): Promise<Release> {
    this.#called('rollback', app.name, number, by.name);
    const source = this.#store.releases.find(app.id, number ?? 1)!;
    const release = this.#store.releases.create({ ...source, cause: 'rollback', fromNumber: source.number });
    progress.heading(`Starting v${release.number}`);
    progress.line('web.1 is healthy');
    this.#store.releases.makeLive(release);
    return release;
  }

  async changeConfig(...[app, values, by]: Parameters<Operations['changeConfig']>): Promise<Release | undefined> {
    this.#called('changeConfig', app.name, values, by.name);
    this.#store.config.change(app.id, values);
    const live = app.liveRelease === undefined ? undefined : this.#store.releases.find(app.id, app.liveRelease);
    const config = this.#store.config.get(app.id);
    if (live === undefined || isDeepStrictEqual(live.config, config)) return undefined;
    const release = this.#store.releases.create({ ...live, config, cause: 'config', fromNumber: live.number });
    this.#store.releases.makeLive(release);
    return release;
  }

  async scale(...[app, formation]: Parameters<Operations['scale']>): Promise<void> {
    this.#called('scale', app.name, formation);
    this.#store.formation.set(app.id, formation);
  }

  async restart(app: App): Promise<void> {
    this.#called('restart', app.name);
  }

  async stop(app: App): Promise<void> {
    this.#called('stop', app.name);
    this.#store.apps.setStopped(app.id, true);
  }

  async start(app: App): Promise<void> {
    this.#called('start', app.name);
    this.#store.apps.setStopped(app.id, false);
  }

  async instances(): Promise<InstanceStatus[]> {
    return this.rows;
  }

  async allInstances(apps: App[]): Promise<AppInstances[]> {
    return apps.map((app) => ({
      app,
      instances: this.rows.filter(({ name }) => name.startsWith(`dinp-${app.name}--`)),
      problem: this.problems.get(app.name),
    }));
  }

  formation(app: App): Record<string, number> {
    const scaled = this.#store.formation.get(app.id);
    return Object.fromEntries(this.#processes(app).map(({ name, instances }) => [name, scaled[name] ?? instances]));
  }

  specFor(app: App, name: string | undefined): InstanceSpec {
    return { name: `${app.name}-${name ?? 'web'}` } as InstanceSpec;
  }

  addresses(app: App): string[] {
    return app.liveRelease === undefined ? [] : [`http://${app.name}.localhost`];
  }

  volumes(app: App): ReturnType<Operations['volumes']> {
    return this.#processes(app).flatMap((each) =>
      Object.entries(each.volumes).map(([name, path]) => ({
        name,
        path,
        process: each.name,
        volume: `dinp-${app.name}-${name}`,
      })),
    );
  }

  async units(release: Release, kind: UnitKind): ReturnType<Operations['units']> {
    return ['web', 'worker'].map((each) => ({
      name: `dinp-${release.app}--${each}--v${release.number}--1.service`,
      text: `[Unit]\nDescription=${kind}\n`,
    }));
  }

  unitSecrets(release: Release, kind: UnitKind): ReturnType<Operations['unitSecrets']> {
    return [{ name: `/etc/${kind}/${release.app}.env`, text: 'A=hush\n' }];
  }

  #processes(app: App): Process[] {
    const release = this.#store.releases.find(app.id, app.liveRelease ?? 0);
    return release?.services.flatMap((service) => service.processes) ?? [];
  }
}

/** Has log lines to give and notes what it is asked to run. */
export class MemoryTarget implements Target {
  readonly name = 'docker';
  runs = true;
  engineOk = true;
  readonly calls: unknown[][] = [];
  readonly lines: LogLine[] = [];
  onRun: (streams: ExecStreams) => Promise<number> = async () => 0;

  async start(): Promise<void> {}
  async remove(): Promise<void> {}
  async restart(): Promise<void> {}

  async list(): Promise<[]> {
    return [];
  }

  async *logs(instances: string[], options: LogOptions): AsyncGenerator<LogLine> {
    this.calls.push(['logs', instances, options.tail, options.follow]);
    for (const name of instances) yield* this.lines.filter((line) => line.instance === name).slice(-options.tail);
    if (options.follow && !options.signal.aborted)
      await new Promise((resolve) => options.signal.addEventListener('abort', resolve));
  }

  exec(): Promise<number> {
    throw new DinpError('unavailable', 'not here');
  }

  runOnce(spec: InstanceSpec, command: string[], streams: ExecStreams): Promise<number> {
    this.calls.push(['runOnce', spec.name, command]);
    return this.onRun(streams);
  }

  async removeVolume(volume: string): Promise<void> {
    this.calls.push(['removeVolume', volume]);
  }
}

export function instance(name: string, index: number, more: Partial<InstanceStatus> = {}): InstanceStatus {
  const unit = `dinp-blog--${name}--v1--${index}`;
  return {
    name: unit,
    process: name,
    index,
    release: 1,
    desired: true,
    real: {
      name: unit,
      app: 'blog',
      release: 1,
      process: name,
      index,
      state: 'running',
      exitCode: undefined,
      healthy: undefined,
      startedAt: Date.now() - 125_000,
      restarts: 0,
      hostPort: name === 'web' ? 22_000 + index : undefined,
    },
    health: undefined,
    routed: undefined,
    ...more,
  };
}
