import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import Docker from 'dockerode';
import type { Download } from '../artifact/manifest-schema.ts';
import { openOutput } from '../artifact/output-tree.ts';
import { planCompile } from '../artifact/plan-compile.ts';
import { planCompiled, planDeploy } from '../artifact/plan-deploy.ts';
import { planImage } from '../artifact/plan-image.ts';
import { withProgram } from '../commands/text.ts';
import { Addresses } from '../deploy/addresses.ts';
import { AllowedHosts } from '../deploy/allowed-hosts.ts';
import { AppChanges } from '../deploy/app-changes.ts';
import { AppOperations } from '../deploy/app-operations.ts';
import { ArtifactDeploys } from '../deploy/artifact-deploys.ts';
import { BuildRecords } from '../deploy/build-records.ts';
import { CleanUp } from '../deploy/clean-up.ts';
import { Compiler } from '../deploy/compile.ts';
import { deploy, type OpenTree } from '../deploy/deploy.ts';
import { Downloads } from '../deploy/download.ts';
import { ImageUse } from '../deploy/image-use.ts';
import { PartialUploads } from '../deploy/partial-uploads.ts';
import { Pushes } from '../deploy/pushes.ts';
import { BuildQueue } from '../deploy/queue.ts';
import type { ReceiveLimits } from '../deploy/received-file.ts';
import { convergeApps, recover, recoverRefs, tidier } from '../deploy/recover.ts';
import { Rollouts } from '../deploy/rollout.ts';
import { Uploads } from '../deploy/uploads.ts';
import type { App } from '../domain/app.ts';
import { DinpError } from '../domain/errors.ts';
import type { ImageRef } from '../domain/image-ref.ts';
import type { ImagePlan } from '../domain/plan.ts';
import { parseSize } from '../domain/quantities.ts';
import { type Source, shortSource } from '../domain/source.ts';
import { EMPTY_TREE } from '../domain/tree.ts';
import { Repositories } from '../git/repositories.ts';
import { BaseCatalogue } from '../image/bases.ts';
import type { ImageBuilder } from '../image/builder.ts';
import { CompiledImages } from '../image/compiled-images.ts';
import { DirectImageBuilder } from '../image/direct-builder.ts';
import { ImageEngine } from '../image/engine.ts';
import { EngineImageBuilder } from '../image/engine-builder.ts';
import { ImageCopier } from '../image/image-copier.ts';
import { parseImageName } from '../image/image-name.ts';
import { type InspectedImage, inspectImage } from '../image/inspect-image.ts';
import { Referrers } from '../image/referrers.ts';
import { Registries } from '../image/registries.ts';
import { RepositoryCleaner } from '../image/repository-cleaner.ts';
import { ToolchainImages } from '../image/toolchain-images.ts';
import { CaddyRouter } from '../router/caddy.ts';
import type { Router } from '../router/router.ts';
import { DockerLeftovers } from '../run/docker-leftovers.ts';
import { DockerTarget } from '../run/docker-target.ts';
import { EmitTarget } from '../run/emit-target.ts';
import { waitHealthy } from '../run/health.ts';
import { LocalHost } from '../run/local-host.ts';
import { SystemdTarget } from '../run/systemd-target.ts';
import type { Target } from '../run/target.ts';
import { Toolchains } from '../run/toolchain.ts';
import { openFrontDoor } from '../ssh/front-door.ts';
import { respond } from '../ssh/responder.ts';
import { BuildLogs } from '../store/build-log.ts';
import { openDatabase } from '../store/database.ts';
import { ensureServerId } from '../store/meta.ts';
import { Store } from '../store/store.ts';
import { RunUnits } from '../unit/run-unit.ts';
import { verifyUnits } from '../unit/verify.ts';
import { Api } from '../web/api.ts';
import { type OpenWeb, openWeb } from '../web/server.ts';
import { UploadSlots } from '../web/slots.ts';
import { ArtifactSources } from './artifact-sources.ts';
import { loadConfig, parseConfigDuration, parseListen, parsePortRange, type ServerConfig } from './config.ts';
import { Control } from './control.ts';
import { listenForCommands } from './control-socket.ts';
import { dataPaths, lockDataFolder } from './data-folder.ts';
import { findProgram } from './find-program.ts';
import { createLog, type ServerLog } from './log.ts';
import { ReleaseUnits } from './release-units.ts';
import { checkServices } from './services.ts';

const PACKAGE = join(import.meta.dirname, '../..');
const MAX_PACK_BYTES = 4 * 1024 ** 3;
const UPLOAD_STALL_MS = 60_000;

export interface ServeOptions {
  config: string | undefined;
  /** `key.path=value` settings of the command line. */
  settings?: string[];
}

/**
 * Runs the server until SIGTERM or SIGINT. Builds that run then are left as they are; the next start takes them up.
 * @throws DinpError config, unavailable
 */
export async function serve(options: ServeOptions): Promise<void> {
  const config = loadConfig(options.config, process.env, options.settings);
  using _lock = lockDataFolder(config.data);
  const log = createLog(config.log.level);
  const server = buildServer(config, log);
  await recover(server.recovery);
  const socket = await listenForCommands(dataPaths(config.data).socket, server.control, server.onError);
  const door = await openDoor(config, server, log);
  const web = await openWebDoor(config, server);
  log.info(
    { ssh: door.port, hostKey: door.hostKey.fingerprint, nativeCrypto: door.nativeCrypto, web: web?.port },
    'server started',
  );
  convergeApps(server.recovery, server.store.apps.list())
    .then(() => server.cleanUp.soon(server.store.apps.list().map(({ id }) => id)))
    .catch(server.onError);
  const signal = await nextSignal();
  log.info({ signal }, 'server stopping');
  server.queue.close();
  await Promise.all([door.close(), web?.close()]);
  socket.close();
  server.store.close();
  log.info('server stopped');
  // Builds and watchers hold connections open; they are rows and files by now.
  process.exit(0);
}

type ServerParts = ReturnType<typeof buildServer>;

/** Builds every adapter once and hands each to whoever needs it. */
function buildServer(config: ServerConfig, log: ServerLog) {
  const onError = (err: unknown): void => log.error({ err }, 'unexpected error');
  const report = (event: string, fields: Record<string, unknown>): void => log.warn(fields, event);
  const paths = dataPaths(config.data);
  const db = openDatabase(paths.database);
  const serverId = ensureServerId(db);
  const store = new Store(db);
  const logs = new BuildLogs(paths.logs);
  const repositories = new Repositories(config.data, findProgram('git'));
  const docker = new Docker({ socketPath: config.docker.socket });
  const registries = new Registries({
    own: {
      address: config.registry.push,
      credentials: config.registry.auth,
      ca: config.registry.ca === undefined ? undefined : readFileSync(config.registry.ca, 'utf8'),
    },
    pullAddress: config.registry.pull,
  });
  const bases = new BaseCatalogue({ registries, file: config.bases.file, mirrors: config.bases.mirrors });
  const direct = { registries, bases, autoBases: config.bases.auto, platform: `linux/${hostArch()}` };
  const engineSide = { engine: new ImageEngine(docker), registries, bases, autoBases: config.bases.auto };
  const compiledImages = new CompiledImages(direct);
  const builders: Record<ImagePlan['kind'], ImageBuilder> = {
    layers: new DirectImageBuilder(direct),
    image: new ImageCopier(direct),
    dockerfile: new EngineImageBuilder({ ...engineSide, server: serverId }),
    kept: compiledImages,
  };
  const uploads = new Uploads(paths.uploads, receiveLimits(config));
  const downloads = new Downloads({ uploads, allowed: new AllowedHosts(config.uploads.allow) });
  const artifacts = new ArtifactSources(uploads, downloads);
  const toolchains = new Toolchains(docker, { serverId });
  const compiler = new Compiler({
    toolchainImages: new ToolchainImages(engineSide),
    toolchains,
    images: compiledImages,
    openOutput: (tar, what) => openOutput(tar, what, { scratch: uploads.scratch }),
  });
  const router = config.router.caddy === 'none' ? undefined : createRouter(config);
  const host = new LocalHost();
  const units = new ReleaseUnits(
    new RunUnits(join(PACKAGE, 'unit-templates'), {
      docker: findProgram('docker', '/usr/bin/docker'),
      server: serverId,
      environmentFolder: paths.environment,
    }),
    paths.units,
    (files) => verifyUnits(files, host),
  );
  const targets = createTargets({ docker, serverId, registries, units, host, paths });
  const target = (name: string | undefined): Target => findTarget(targets, name ?? config.target);
  const addresses = new Addresses(store, {
    address: config.address,
    domain: config.domain,
    routerPort: router && portOf(config.router.listen),
    appPorts: parsePortRange(config.ports.apps),
    instancePorts: parsePortRange(config.ports.instances),
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
  });
  const pusherProgram = sshProgram(config);
  const imageUse = new ImageUse();
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
          builder: { build: (request) => builders[request.plan.kind].build(request) },
          openSource: async (app, source, abort) => {
            if (source.kind === 'commit') return await repositories.openTree(app, source.sha, abort);
            return source.kind === 'upload' ? await artifacts.openUpload(store.apps.get(app), source) : NO_FILES;
          },
          compiler,
          planCompile: async (tree, app, source) =>
            source.kind === 'image' ? undefined : await planCompile(tree, { app, base: baseAsked(source) }),
          planDeploy: async (tree, app, source, scope, abort, compiled) => {
            if (source.kind === 'image') return planImage(app, source.reference);
            const planning = {
              app,
              hostArch: hostArch(),
              bases: await bases.usableBases(abort),
              scope,
              base: baseAsked(source),
              fetchArtifact: (artifact: Download) => artifacts.openDownload(store.apps.get(app), artifact, abort),
            };
            return compiled === undefined
              ? await planDeploy(tree, planning)
              : await planCompiled(tree, compiled, planning);
          },
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
      repositories.maintain(app).then((done) => done && log.info({ app }, 'repository repacked'), onError);
      cleanUp.after(build).catch(onError);
    },
  });
  const referrers = new Referrers(registries.own);
  const buildRecords = new BuildRecords({
    store,
    logs,
    registries,
    referrers,
    platform: direct.platform,
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
  const operations = new AppOperations({
    store,
    changes,
    rollouts,
    addresses,
    target,
    repositories,
    renderUnits: (specs, kind) => units.render(specs, kind),
  });
  const pushes = new Pushes({
    store,
    queue,
    logs,
    addresses,
    repositories,
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
    report,
  };
  return { store, queue, control, api, recovery, cleanUp, repositories, onError };
}

async function openDoor(config: ServerConfig, server: ServerParts, log: ServerLog) {
  const { host, port, user, workers } = config.ssh;
  return await openFrontDoor({
    host,
    port,
    user,
    program: sshProgram(config),
    hostKeyPath: dataPaths(config.data).hostKey,
    compileCache: dataPaths(config.data).compileCache,
    git: { git: findProgram('git'), hooks: join(PACKAGE, 'hooks'), maxPackBytes: MAX_PACK_BYTES },
    ...(workers === undefined ? {} : { workers }),
    onWorker: (link) => respond(link, server.control, server.onError),
    onWorkerLost: (apps) => {
      for (const name of apps) {
        const app = server.store.apps.find(name);
        if (app) recoverRefs(server.recovery, app).catch(server.onError);
      }
    },
    log: (level, message, fields) => log[level](fields ?? {}, message),
  });
}

/** Listens for HTTP where the config says so. @throws DinpError unavailable */
async function openWebDoor(config: ServerConfig, { api }: ServerParts): Promise<OpenWeb | undefined> {
  const { listen } = config.web;
  if (listen === undefined) return undefined;
  const settings = { ...parseListen(listen)!, requestMs: parseConfigDuration(config.uploads.timeout) };
  try {
    return await openWeb(settings, (req, res) => api.handle(req, res));
  } catch (cause) {
    throw new DinpError('unavailable', `web.listen ${listen} cannot be had: ${(cause as Error).message}.`, { cause });
  }
}

/** How people without the `dinp` program call its commands. */
function sshProgram(config: ServerConfig): string {
  const { port, user } = config.ssh;
  return `ssh ${port === 22 ? '' : `-p ${port} `}${user}@${config.address}`;
}

function createRouter(config: ServerConfig): Router {
  return new CaddyRouter({ admin: config.router.caddy, listen: config.router.listen, bind: config.router.bind });
}

function createTargets(parts: {
  docker: Docker;
  serverId: string;
  registries: Registries;
  units: ReleaseUnits;
  host: LocalHost;
  paths: ReturnType<typeof dataPaths>;
}): Map<string, Target> {
  const { docker, serverId, registries, units, host, paths } = parts;
  const all: Target[] = [
    new DockerTarget(docker, {
      serverId,
      findLogin: (repository) => registries.credentialsFor(repository.split('/')[0]!),
    }),
    new SystemdTarget(host, {
      renderer: units.renderer,
      server: serverId,
      docker: findProgram('docker', '/usr/bin/docker'),
      environmentFolder: paths.environment,
      verify: (files) => verifyUnits(files, host),
    }),
    new EmitTarget(paths.units),
  ];
  return new Map(all.map((target) => [target.name, target]));
}

function findTarget(targets: Map<string, Target>, name: string): Target {
  const found = targets.get(name);
  if (found) return found;
  throw new DinpError('config', `there is no target ${name}.`, {
    hint: `This server has: ${[...targets.keys()].join(', ')}.`,
  });
}

/** What an image by address is made from. */
const NO_FILES: OpenTree = { ...EMPTY_TREE, [Symbol.asyncDispose]: async () => {} };

function receiveLimits({ uploads }: ServerConfig): ReceiveLimits {
  return {
    maxSize: parseSize(uploads.maxSize)!,
    stallMs: UPLOAD_STALL_MS,
    totalMs: parseConfigDuration(uploads.timeout),
  };
}

/** The base that an uploader asked for. */
function baseAsked(source: Source): string | undefined {
  return source.kind === 'upload' ? source.base : undefined;
}

/** Docker's and Go's name of this machine's architecture. */
function hostArch(): string {
  return { x64: 'amd64', ia32: '386', arm: 'arm' }[process.arch as string] ?? process.arch;
}

/** The port of a listen address such as `:80` or `0.0.0.0:8080`. */
function portOf(listen: string): number {
  return Number(listen.slice(listen.lastIndexOf(':') + 1));
}

function packageVersion(): string {
  return (JSON.parse(readFileSync(join(PACKAGE, 'package.json'), 'utf8')) as { version: string }).version;
}

function nextSignal(): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    process.once('SIGTERM', resolve);
    process.once('SIGINT', resolve);
  });
}

/** What our registry has of a release's image, which names the repository by the address that hosts pull from. */
async function inspectRelease(
  registries: Registries,
  image: ImageRef,
  signal: AbortSignal,
): Promise<InspectedImage | undefined> {
  const { repository } = parseImageName(image.repository, registries.own.address);
  return await inspectImage(registries.own, repository, image.digest, `linux/${hostArch()}`, signal);
}
