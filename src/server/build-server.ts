import Docker from 'dockerode';
import { withProgram } from '../commands/text.ts';
import { AppChanges } from '../deploy/app-changes.ts';
import { AppDomains } from '../deploy/app-domains.ts';
import { AppOperations } from '../deploy/app-operations.ts';
import { BuildRecords } from '../deploy/build-records.ts';
import { CleanUp } from '../deploy/clean-up/clean-up.ts';
import { ImageUse } from '../deploy/clean-up/image-use.ts';
import { deploy } from '../deploy/deploy.ts';
import { drainHost } from '../deploy/hosts/drain-host.ts';
import { HostImages } from '../deploy/hosts/host-images.ts';
import { Pushes } from '../deploy/pushes.ts';
import { BuildQueue } from '../deploy/queue.ts';
import { tidier } from '../deploy/recover.ts';
import { Rollouts } from '../deploy/rollout.ts';
import { AllowedHosts } from '../deploy/uploads/allowed-hosts.ts';
import { ArtifactDeploys } from '../deploy/uploads/artifact-deploys.ts';
import { Downloads } from '../deploy/uploads/download.ts';
import { PartialUploads } from '../deploy/uploads/partial-uploads.ts';
import type { ReceiveLimits } from '../deploy/uploads/received-file.ts';
import { Uploads } from '../deploy/uploads/uploads.ts';
import { buildEvent, releaseEvent } from '../deploy/watch/events.ts';
import type { App } from '../domain/app.ts';
import { parseSize } from '../domain/quantities.ts';
import { shortSource } from '../domain/source.ts';
import { Repositories } from '../git/repositories.ts';
import { ContextDoor } from '../image/host/context-door.ts';
import { RepositoryCleaner } from '../image/registry/repository-cleaner.ts';
import { DockerLeftovers } from '../run/docker/docker-leftovers.ts';
import { waitHealthy } from '../run/health.ts';
import { BuildLogs } from '../store/build-log.ts';
import { openDatabase } from '../store/database.ts';
import { ensureServerId } from '../store/meta.ts';
import { Store } from '../store/store.ts';
import { Api } from '../web/api.ts';
import { UploadSlots } from '../web/slots.ts';
import { ArtifactSources } from './artifact-sources.ts';
import { parseConfigDuration, type ServerConfig } from './config.ts';
import { Control } from './control.ts';
import { dataPaths } from './data-folder.ts';
import { findProgram } from './find-program.ts';
import { createBuildHosts, createHosts } from './host-side.ts';
import { createImageSide, inspectRelease } from './image-side.ts';
import type { ServerLog } from './log.ts';
import { createPlanning } from './planning.ts';
import { createRunSide } from './run-side.ts';
import { checkServices } from './services.ts';
import { hostPlatform, packageVersion } from './this-machine.ts';
import { createWatchSide } from './watch-side.ts';

const UPLOAD_STALL_MS = 60_000;

export type ServerParts = ReturnType<typeof buildServer>;

/** Builds every adapter once and hands each to whoever needs it. */
export function buildServer(config: ServerConfig, log: ServerLog) {
  const onError = (err: unknown): void => log.error({ err }, 'unexpected error');
  const report = (event: string, fields: Record<string, unknown>): void => log.warn(fields, event);
  const paths = dataPaths(config.data);
  const db = openDatabase(paths.database);
  const serverId = ensureServerId(db);
  const store = new Store(db);
  const logs = new BuildLogs(paths.logs);
  const repositories = new Repositories(config.data, findProgram('git'));
  const docker = new Docker({ socketPath: config.docker.socket });
  const uploads = new Uploads(paths.uploads, receiveLimits(config));
  const downloads = new Downloads({ uploads, allowed: new AllowedHosts(config.uploads.allow) });
  const artifacts = new ArtifactSources(uploads, downloads);
  const { registries, bases, builder, compiler, toolchains, referrers } = createImageSide({
    config,
    docker,
    serverId,
    scratch: uploads.scratch,
    place: (onOutput, signal) => buildHosts.place(onOutput, signal),
  });
  const contextDoor = new ContextDoor();
  const hosts = createHosts({
    config,
    store,
    serverId,
    registries,
    paths,
    door: contextDoor,
    // What it missed while it was away is set right.
    onAnswer: ({ id }) => tidyAll(store.placements.onHost(id).map(({ app }) => app)),
    onLost: (names) => tidyAll(names),
  });
  const buildHosts = createBuildHosts({ hosts, serverId, registries, door: contextDoor });
  const tidyAll = (names: string[]): void => {
    for (const app of store.apps.list()) if (names.includes(app.name)) tidy(app);
  };
  const { router, units, targets, target, addresses } = createRunSide({
    config,
    store,
    docker,
    serverId,
    repositories,
    registries,
    hosts,
    paths,
    // What was kept for its sake may go.
    onRouterAnswer: (name) => {
      log.info({ router: name }, 'router has the routes that it missed');
      for (const app of store.apps.list()) tidy(app);
    },
  });
  const rollouts = new Rollouts({
    store,
    addresses,
    router,
    target,
    waitHealthy: async (on, spec, onProgress, signal) => {
      const { milliseconds, proof } = await waitHealthy(on, spec, { onProgress, signal });
      onProgress(`${spec.process}.${spec.index} ${proof}, ${(milliseconds / 1000).toFixed(1)} s after its start`);
    },
    emitUnits: (release, specs) => units.emit(release, specs),
    pullRepository: (repository) =>
      repository.replace(config.registry.push, config.registry.pull ?? config.registry.push),
    tidyLater: (app) => tidy(app),
    routable: (specs) => after.watch.routable(specs),
  });
  const pusherProgram = sshProgram(config);
  const imageUse = new ImageUse();
  const planning = createPlanning({ store, repositories, artifacts, bases });
  const queue = new BuildQueue({
    store,
    logs,
    parallel: config.builds.parallel,
    run: (build, output, signal) =>
      deploy(
        {
          store,
          addresses,
          rollouts,
          imageUse,
          builder,
          compiler,
          ...planning,
          checkTarget: (name) => target(name).name,
          keepCommit: (app, release, sha) => repositories.keepRef(app, release, sha),
          defaultTimeoutMs: parseConfigDuration(config.builds.timeout),
        },
        build,
        output,
        signal,
      ),
    forPusher: (text) => withProgram(text, pusherProgram),
    onInternalError: (build, err) =>
      log.error({ err, app: build.app, build: build.id }, 'build failed for a reason of ours'),
    onFinished: (build, milliseconds) => {
      const { app, id, source, state, release } = build;
      log.info({ app, build: id, source: shortSource(source), state, release, milliseconds }, 'build finished');
      after.tell(buildEvent(build));
      repositories.maintain(app).then((done) => done && log.info({ app }, 'repository repacked'), onError);
      cleanUp.after(build).catch(onError);
    },
  });
  const buildRecords = new BuildRecords({
    store,
    logs,
    registries,
    referrers,
    platform: hostPlatform(),
    server: { id: serverId, version: packageVersion() },
    onFailure: ({ app, id }, err) =>
      log.warn({ err, app, build: id }, 'could not keep the log beside the image; it is tried again'),
  });
  const cleanUp = new CleanUp({
    store,
    logs,
    target,
    repositories,
    uploads,
    units,
    imageUse,
    keep: config.keep,
    records: buildRecords,
    cleaner: new RepositoryCleaner(registries.own, referrers, serverId),
    engine: new DockerLeftovers(docker, serverId),
    hostImages: new HostImages(hosts),
    report,
  });
  const changes = new AppChanges({
    store,
    logs,
    queue,
    rollouts,
    router,
    repositories,
    removeUnits: (app) => units.remove(app),
    removeCache: (app) => toolchains.caches.remove(app),
    removeUploads: (app) => uploads.removeAll(app),
  });
  const tidy = tidier({ rollouts, changes, report }, onError);
  const after = createWatchSide({ config, store, rollouts, changes, target, report, onError });
  const operations = new AppOperations({
    store,
    changes,
    rollouts,
    addresses,
    target,
    repositories,
    units,
    reality: after.reality,
    watch: after.watch,
    onRelease: (release, reason) => after.tell(releaseEvent(release, reason)),
  });
  const pushes = new Pushes({
    store,
    queue,
    logs,
    addresses,
    repositories,
    instances: (app) => operations.instances(app),
    createApp: (name) => operations.createApp(name),
    discardApp: (app) => operations.discardApp(app),
    createOnPush: config.apps.create,
  });
  const artifactDeploys = new ArtifactDeploys({
    store,
    queue,
    uploads,
    bases: () => bases.list().map(({ name }) => name),
    createApp: (name) => operations.createApp(name),
    createOnDeploy: config.apps.create,
  });
  const control = new Control({
    store,
    pushes,
    repositories,
    commands: {
      store,
      operations,
      queue,
      artifacts: artifactDeploys,
      uploads,
      downloads,
      watchBuild: (build, watcher) => pushes.watchTurn(build, watcher),
      buildLogs: logs,
      buildRecords,
      cleanUp,
      reconciler: after.reconciler,
      hosts,
      domains: new AppDomains({ store, rollouts, addresses }),
      drainHost: (host, progress, signal) => drainHost({ store, rollouts }, host, progress, signal),
      targets: [config.target, ...[...targets.keys()].filter((name) => name !== config.target)],
      targetOf: (app: App) => rollouts.liveTarget(app),
      bases,
      inspectImage: (image, signal) => inspectRelease(registries, image, signal),
      repositories: {
        branches: async (app: App) =>
          (await repositories.listRefs(app.name, 'refs/heads/')).map((ref) => ref.name.slice('refs/heads/'.length)),
      },
      server: {
        version: packageVersion(),
        address: config.address,
        sshPort: config.ssh.port,
        user: config.ssh.user,
        data: config.data,
        target: config.target,
      },
      checkServices: () => checkServices({ config, docker, registry: registries.own, router }),
      log,
    },
    log,
    pusherProgram,
  });
  const api = new Api({
    store,
    artifacts: artifactDeploys,
    uploads,
    partials: new PartialUploads(paths.partialUploads, receiveLimits(config)),
    slots: new UploadSlots(config.web.uploads),
    buildLogs: logs,
    watchBuild: (build, watcher) => pushes.watchTurn(build, watcher),
    addresses: (app) => operations.addresses(app),
    log,
  });
  const recovery = {
    store,
    queue,
    pushes,
    rollouts,
    changes,
    targets: [...targets.values()],
    sweepRepositories: () => repositories.sweep(),
    sweepUploads: () => uploads.sweep(store.apps.list()),
    sweepBuildHosts: async () => {
      if (config.builds.on !== 'hosts') return [];
      return (await Promise.all(buildHosts.list().map((host) => buildHosts.sweep(host)))).flat();
    },
    report,
  };
  return { store, queue, control, api, recovery, after, cleanUp, repositories, onError };
}

/** How people without the `dinp` program call its commands. */
export function sshProgram(config: ServerConfig): string {
  const { port, user } = config.ssh;
  return `ssh ${port === 22 ? '' : `-p ${port} `}${user}@${config.address}`;
}

function receiveLimits({ uploads }: ServerConfig): ReceiveLimits {
  return {
    maxSize: parseSize(uploads.maxSize)!,
    stallMs: UPLOAD_STALL_MS,
    totalMs: parseConfigDuration(uploads.timeout),
  };
}
