import type { Build, Stage } from '../domain/build.ts';
import type { Compiled, CompilePlan } from '../domain/compile-plan.ts';
import { DinpError } from '../domain/errors.ts';
import type { DeployPlan, ImagePlan, ServicePlan } from '../domain/plan.ts';
import type { Process } from '../domain/process.ts';
import type { Release, ReleaseService } from '../domain/release.ts';
import { describeSource, type Source, shortSource, sourceTag } from '../domain/source.ts';
import type { Tree } from '../domain/tree.ts';
import type { BuiltImage, ImageBuilder } from '../image/builder.ts';
import { branchTag } from '../image/image-name.ts';
import type { Store } from '../store/store.ts';
import type { Addresses } from './addresses.ts';
import type { BuildOutput } from './build-output.ts';
import type { Compiler } from './compile.ts';
import type { ImageUse } from './image-use.ts';
import type { Rollouts } from './rollout.ts';

const DEFAULT_PORT = 8080;
/** A watcher sees a sign of life at least this often; it also keeps NAT and proxies from dropping a silent session. */
const HEARTBEAT_MS = 15_000;

/** The files of a source, and what closes the process or file that they are read from. */
export type OpenTree = Tree & AsyncDisposable;

export interface DeployParts {
  store: Store;
  addresses: Addresses;
  rollouts: Rollouts;
  builder: ImageBuilder;
  /** Keeps clean-up away from an app's images while a build works with them. */
  imageUse: ImageUse;
  /** The files of a commit or an upload; an image by address has none. */
  openSource(app: string, source: Source, signal: AbortSignal): Promise<OpenTree>;
  /** What a builder must compile before there can be a plan; undefined where there is none. */
  planCompile(tree: Tree, app: string, source: Source): Promise<CompilePlan | undefined>;
  compiler: Compiler;
  /**
   * @param scope closes what the plan's trees are read from
   * @param compiled what the builder has made, where there is one
   */
  planDeploy(
    tree: Tree,
    app: string,
    source: Source,
    scope: AsyncDisposableStack,
    signal: AbortSignal,
    compiled?: Compiled,
  ): Promise<DeployPlan>;
  /** The name of a target, the server's own where none is named. @throws DinpError config for one that this server does not have */
  checkTarget(name: string | undefined): string;
  /** Keeps a release's commit from git's garbage collection. */
  keepCommit(app: string, release: number, sha: string): Promise<void>;
  /** Where dinp.yml sets none; milliseconds. */
  defaultTimeoutMs: number;
}

/**
 * The way of a push, once its build's turn has come: one line a stage. The build's row says how far it got, the
 * output what the pusher reads; whatever throws ends the build and leaves the release before serving.
 */
export async function deploy(
  parts: DeployParts,
  build: Build,
  output: BuildOutput,
  cancel: AbortSignal,
): Promise<void> {
  if (await finishInterrupted(parts, build, output)) return;
  const run = new Run(parts, build, output, cancel);
  const app = parts.store.apps.findById(build.appId)!;
  try {
    await using scope = new AsyncDisposableStack();
    // Until the release has an end: what is found in the registry now must be there when it starts.
    scope.use(await parts.imageUse.use(app.name));
    const tree = await run.stage('checkout', `Reading ${shortSource(build.source)} of ${app.name}`, async (signal) =>
      scope.use(await parts.openSource(app.name, build.source, signal)),
    );
    const found = await run.stage('detect', 'Looking for what to deploy', (signal) =>
      detect(parts, build, tree, { output, scope, signal }),
    );
    run.setTimeout(longestTimeout(found) ?? parts.defaultTimeoutMs);
    const plan = isPlan(found)
      ? found
      : await run.stage('compile', `Building in ${found.image}`, (signal) =>
          compile(parts, build, tree, found, { output, scope, signal }),
        );
    const images = await run.stage('build', 'Making the image', (signal) =>
      buildImages(parts, build, plan, output, signal),
    );
    const release = await run.stage('release', 'Recording the release', () =>
      recordRelease(parts, build, plan, images, output),
    );
    await run.stage('start', `Starting v${release.number}`, (signal) =>
      parts.rollouts.exclusively(app, output, () =>
        parts.rollouts.rollOut(app.id, release, output, signal, () => run.enter('route', 'Moving the traffic')),
      ),
    );
    announce(parts, build, release, output);
  } finally {
    run.end();
  }
}

/** What a stage works with besides values. */
interface Surroundings {
  output: BuildOutput;
  /** Closes what a later stage still reads. */
  scope: AsyncDisposableStack;
  signal: AbortSignal;
}

/** Runs stages under one time limit, and says which stage ran out of it. */
class Run {
  readonly #parts: DeployParts;
  readonly #build: Build;
  readonly #output: BuildOutput;
  readonly #timeout = new AbortController();
  readonly #signal: AbortSignal;
  readonly #startedAt = performance.now();
  #timer: NodeJS.Timeout | undefined;
  #stage: Stage = 'checkout';
  readonly #heartbeat: NodeJS.Timeout;

  constructor(parts: DeployParts, build: Build, output: BuildOutput, cancel: AbortSignal) {
    this.#parts = parts;
    this.#build = build;
    this.#output = output;
    this.#signal = AbortSignal.any([cancel, this.#timeout.signal]);
    this.setTimeout(parts.defaultTimeoutMs);
    this.#heartbeat = setInterval(() => {
      if (output.silence >= HEARTBEAT_MS) output.line(`… still in stage ${this.#stage} (${output.elapsed()})`);
    }, HEARTBEAT_MS / 5);
  }

  async stage<T>(stage: Stage, heading: string, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    this.#signal.throwIfAborted();
    this.enter(stage, heading);
    try {
      return await work(this.#signal);
    } catch (error) {
      // What was interrupted reports it in its own words; the reason is what people need.
      throw this.#signal.aborted ? this.#signal.reason : error;
    }
  }

  enter(stage: Stage, heading: string): void {
    this.#stage = stage;
    this.#parts.store.builds.setStage(this.#build.id, stage);
    this.#output.heading(heading);
  }

  /** @param milliseconds counted from the build's start */
  setTimeout(milliseconds: number): void {
    clearTimeout(this.#timer);
    const left = Math.max(0, this.#startedAt + milliseconds - performance.now());
    this.#timer = setTimeout(() => {
      this.#timeout.abort(
        new DinpError(
          'timeout',
          `stage ${this.#stage} was still going when the build's ${Math.round(milliseconds / 1000)} s were over.`,
          {
            hint: 'Set a longer "timeout:" in dinp.yml (such as 30m), or builds.timeout in the server\'s config.',
          },
        ),
      );
    }, left);
  }

  end(): void {
    clearInterval(this.#heartbeat);
    clearTimeout(this.#timer);
  }
}

/** A build whose release went live just before the server died has nothing left to do; one that died earlier starts over. */
async function finishInterrupted(parts: DeployParts, build: Build, output: BuildOutput): Promise<boolean> {
  if (build.release === undefined) return false;
  const release = parts.store.releases.find(build.appId, build.release);
  if (release?.state === 'pending') await parts.rollouts.abandon(release);
  // Past: an operator went back from it meanwhile.
  if (release?.state !== 'live' && release?.state !== 'past') return false;
  announce(parts, build, release, output);
  return true;
}

async function detect(
  parts: DeployParts,
  build: Build,
  tree: Tree,
  { output, scope, signal }: Surroundings,
): Promise<DeployPlan | CompilePlan> {
  const builder = await parts.planCompile(tree, build.app, build.source);
  if (builder === undefined) return told(await parts.planDeploy(tree, build.app, build.source, scope, signal), output);
  output.line(`Found a builder in dinp.yml: ${builder.image}`);
  return builder;
}

function told(plan: DeployPlan, output: BuildOutput): DeployPlan {
  for (const note of plan.notes) output.line(note);
  for (const service of plan.services) output.line(`Found ${service.found}`);
  return plan;
}

function isPlan(found: DeployPlan | CompilePlan): found is DeployPlan {
  return 'services' in found;
}

/** Has the builder compile, and looks at what it left as if that had been pushed. */
async function compile(
  parts: DeployParts,
  build: Build,
  tree: Tree,
  plan: CompilePlan,
  { output, scope, signal }: Surroundings,
): Promise<DeployPlan> {
  const repository = repositoryOf(build, { name: build.app, repository: plan.repository });
  const { compiled, key } = await parts.compiler.compile({ build, plan, tree, repository, output, scope, signal });
  const planned = await parts.planDeploy(tree, build.app, build.source, scope, signal, compiled);
  return told({ ...planned, services: planned.services.map((each) => ({ ...each, compileKey: key })) }, output);
}

async function buildImages(
  parts: DeployParts,
  build: Build,
  plan: DeployPlan,
  output: BuildOutput,
  signal: AbortSignal,
): Promise<Map<ServicePlan, BuiltImage>> {
  const images = new Map<ServicePlan, BuiltImage>();
  for (const service of plan.services) {
    const image = await parts.builder.build({
      app: build.app,
      repository: repositoryOf(build, service),
      tag: sourceTag(build.source),
      revision: commitOf(build.source),
      branch: branchOf(build.source),
      buildNumber: build.number,
      plan: service.image,
      watch: service.watch,
      tree: service.tree,
      noCache: build.noCache,
      onOutput: (text) => output.raw(text),
      signal,
    });
    // An image of a Dockerfile does not say what it stands on, so that nobody could tell whether that has changed.
    if (service.compileKey !== undefined && service.image.kind === 'layers')
      await parts.compiler.remember(
        { repository: repositoryOf(build, service), digest: image.ref.digest },
        service.compileKey,
        signal,
      );
    parts.store.images.add(madeImage(build, service, image));
    output.line(
      `${image.reused ? 'Unchanged, reusing' : 'Pushed'} ${image.ref.repository}@${image.ref.digest.slice(0, 19)}`,
    );
    images.set(service, image);
  }
  return images;
}

function repositoryOf(build: Build, { name, repository }: Pick<ServicePlan, 'name' | 'repository'>): string {
  return repository ?? (name === build.app ? build.app : `${build.app}/${name}`);
}

/** What clean-up and the image's own record need to know of it. */
function madeImage(build: Build, service: ServicePlan, image: BuiltImage) {
  const tag = sourceTag(build.source);
  const branch = branchOf(build.source);
  return {
    buildId: build.id,
    appId: build.appId,
    image: image.ref,
    contentKey: image.contentKey,
    recipe: describeRecipe(service.image),
    tags: [
      tag,
      `${tag}-${image.contentKey.slice(0, 8)}`,
      `b${build.number}`,
      `key-${image.contentKey}`,
      ...(service.compileKey === undefined ? [] : [`compiled-${service.compileKey}`]),
      ...(branch === undefined ? [] : [branchTag(branch)]),
    ],
  };
}

/** `dockerfile docker/Dockerfile`, `war over tomcat10`, `copy of shop:7`. */
function describeRecipe(plan: ImagePlan): string {
  switch (plan.kind) {
    case 'dockerfile':
      return `dockerfile ${plan.dockerfile}`;
    case 'layers':
      return `${plan.artifact} over ${plan.base}`;
    case 'image':
      return `copy of ${plan.reference}`;
    case 'kept':
      return 'compiled before';
  }
}

async function recordRelease(
  parts: DeployParts,
  build: Build,
  plan: DeployPlan,
  images: Map<ServicePlan, BuiltImage>,
  output: BuildOutput,
): Promise<Release> {
  const services = plan.services
    .filter((service) => service.deploys)
    .map((service) => releaseService(build, service, images.get(service)!));
  if (services.length === 0)
    throw new DinpError('refused', 'the manifest says "deploy: false": an image was made and there is nothing to run.');
  checkDomains(parts, build, plan);
  const release = parts.store.transaction(() => {
    const created = parts.store.releases.create({
      appId: build.appId,
      cause: 'deploy',
      source: build.source,
      note: build.note,
      fromNumber: undefined,
      buildId: build.id,
      target: parts.checkTarget(plan.target ?? parts.store.apps.findById(build.appId)!.target),
      domains: plan.domains,
      keep: plan.keep,
      services,
      config: parts.store.config.get(build.appId),
      by: build.by,
    });
    parts.store.builds.setRelease(build.id, created.number);
    return created;
  });
  const commit = commitOf(build.source);
  if (commit !== undefined) await parts.keepCommit(build.app, release.number, commit);
  output.line(
    `v${release.number} is ${describeSource(build.source)} with ${Object.keys(release.config).length} config values`,
  );
  return release;
}

function releaseService(build: Build, plan: ServicePlan, image: BuiltImage): ReleaseService {
  if (!image.hasCommand && plan.processes.some((process) => process.command === undefined)) {
    throw new DinpError(
      'refused',
      `the image of ${plan.name} has neither CMD nor ENTRYPOINT, so there is nothing to start.`,
      {
        hint: 'Add a CMD to the Dockerfile, or a Procfile with a line such as "web: ./server".',
      },
    );
  }
  return {
    service: plan.name,
    commit: commitOf(build.source),
    image: image.ref,
    contentKey: image.contentKey,
    processes: plan.processes.map((process) => withPort(process, image.exposedPort)),
    env: plan.env,
    releaseCommand: plan.releaseCommand,
  };
}

function branchOf(source: Source): string | undefined {
  return source.kind === 'commit' ? source.ref.replace('refs/heads/', '') : undefined;
}

function commitOf(source: Source): string | undefined {
  return source.kind === 'commit' ? source.sha : undefined;
}

/** Only `web` listens without saying so: on the port its image EXPOSEs, or 8080. */
function withPort(process: Process, exposed: number | undefined): Process {
  return process.name === 'web' && process.port === undefined ? { ...process, port: exposed ?? DEFAULT_PORT } : process;
}

/** @throws DinpError refused when a domain of dinp.yml belongs to another app, or may come to */
function checkDomains(parts: DeployParts, build: Build, plan: DeployPlan): void {
  for (const name of plan.domains) {
    if (parts.addresses.isReserved(name)) {
      throw new DinpError(
        'refused',
        `the domain ${name} of dinp.yml is under the server's own, whose names are those of apps.`,
        {
          hint: `Take it out of dinp.yml; every app has APP.DOMAIN without being asked.`,
        },
      );
    }
    const owner = parts.store.domains.findOwner(name);
    if (owner === undefined || owner === build.appId) continue;
    throw new DinpError('refused', `the domain ${name} of dinp.yml belongs to another app.`, {
      hint: 'Take it out of one of the two dinp.yml files.',
    });
  }
}

function announce(parts: DeployParts, build: Build, release: Release, output: BuildOutput): void {
  const app = parts.store.apps.findById(build.appId)!;
  const [first, ...others] = parts.addresses.list(app, release);
  for (const other of others) output.line(`Also at ${other}`);
  output.released(['Released', `v${release.number}`, first ? ` ${first}` : ''].join(' ').trimEnd());
}

function longestTimeout(found: DeployPlan | CompilePlan): number | undefined {
  const all = isPlan(found) ? found.services : [found];
  const set = all.flatMap(({ timeoutMs }) => timeoutMs ?? []);
  return set.length === 0 ? undefined : Math.max(...set);
}
