import type { Download } from '../artifact/manifest-schema.ts';
import { planCompile } from '../artifact/plan-compile.ts';
import { planCompiled, planDeploy } from '../artifact/plan-deploy.ts';
import { planImage } from '../artifact/plan-image.ts';
import type { DeployParts, OpenTree } from '../deploy/deploy.ts';
import type { Source } from '../domain/source.ts';
import { EMPTY_TREE } from '../domain/tree.ts';
import type { Repositories } from '../git/repositories.ts';
import type { BaseCatalogue } from '../image/bases/bases.ts';
import type { Store } from '../store/store.ts';
import type { ArtifactSources } from './artifact-sources.ts';
import { hostArch } from './this-machine.ts';

/** What an image by address is made from. */
const NO_FILES: OpenTree = { ...EMPTY_TREE, [Symbol.asyncDispose]: async () => {} };

/** How deploys read their sources, and decide what those become. */
export function createPlanning(parts: {
  store: Store;
  repositories: Repositories;
  artifacts: ArtifactSources;
  bases: BaseCatalogue;
}): Pick<DeployParts, 'openSource' | 'planCompile' | 'planDeploy'> {
  const { store, repositories, artifacts, bases } = parts;
  return {
    openSource: async (app, source, signal) => {
      if (source.kind === 'commit') return await repositories.openTree(app, source.sha, signal);
      return source.kind === 'upload' ? await artifacts.openUpload(store.apps.get(app), source) : NO_FILES;
    },
    planCompile: async (tree, app, source) =>
      source.kind === 'image' ? undefined : await planCompile(tree, { app, base: baseAsked(source) }),
    planDeploy: async (tree, app, source, scope, signal, compiled) => {
      if (source.kind === 'image') return planImage(app, source.reference);
      const options = {
        app,
        hostArch: hostArch(),
        bases: await bases.usableBases(signal),
        scope,
        base: baseAsked(source),
        fetchArtifact: (artifact: Download) => artifacts.openDownload(store.apps.get(app), artifact, signal),
      };
      return compiled === undefined ? await planDeploy(tree, options) : await planCompiled(tree, compiled, options);
    },
  };
}

/** The base that an uploader asked for. */
function baseAsked(source: Source): string | undefined {
  return source.kind === 'upload' ? source.base : undefined;
}
