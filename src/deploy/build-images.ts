import type { Build } from '../domain/build.ts';
import type { DeployPlan, ImagePlan, ServicePlan } from '../domain/plan.ts';
import { branchOf, commitOf, sourceTag } from '../domain/source.ts';
import type { BuiltImage, ImageBuilder } from '../image/builder.ts';
import { branchTag } from '../image/image-name.ts';
import type { Store } from '../store/store.ts';
import type { BuildOutput } from './build-output.ts';
import type { Compiler } from './compile.ts';

export interface ImageParts {
  store: Store;
  builder: ImageBuilder;
  compiler: Compiler;
  /** Where dinp.yml sets none; milliseconds. */
  defaultTimeoutMs: number;
}

/** Makes the image of each service, or takes the one that is there, and notes it down. */
export async function buildImages(
  parts: ImageParts,
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
      timeoutMs: service.timeoutMs ?? parts.defaultTimeoutMs,
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

/** Where the images of a service lie in the registry. */
export function repositoryOf(build: Build, { name, repository }: Pick<ServicePlan, 'name' | 'repository'>): string {
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
