import type { Build } from '../domain/build.ts';
import type { Compiled, CompilePlan } from '../domain/compile-plan.ts';
import type { DeployPlan } from '../domain/plan.ts';
import type { Release } from '../domain/release.ts';
import { type Source, shortSource } from '../domain/source.ts';
import type { Tree } from '../domain/tree.ts';
import { buildImages, type ImageParts, repositoryOf } from './build-images.ts';
import type { BuildOutput } from './build-output.ts';
import { BuildRun } from './build-run.ts';
import type { ImageUse } from './clean-up/image-use.ts';
import { type RecordParts, recordRelease } from './record-release.ts';
import type { Rollouts } from './rollout.ts';

/** The files of a source, and what closes the process or file that they are read from. */
export type OpenTree = Tree & AsyncDisposable;

export interface DeployParts extends ImageParts, RecordParts {
  rollouts: Rollouts;
  /** Keeps clean-up away from an app's images while a build works with them. */
  imageUse: ImageUse;
  /** The files of a commit or an upload; an image by address has none. */
  openSource(app: string, source: Source, signal: AbortSignal): Promise<OpenTree>;
  /** What a builder must compile before there can be a plan; undefined where there is none. */
  planCompile(tree: Tree, app: string, source: Source): Promise<CompilePlan | undefined>;
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
  const run = new BuildRun(parts.store.builds, build, output, { cancel, timeoutMs: parts.defaultTimeoutMs });
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
