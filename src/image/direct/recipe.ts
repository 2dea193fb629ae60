import { DinpError } from '../../domain/errors.ts';
import type { BaseImages, FoundBase } from '../bases/base-images.ts';
import type { Asker } from '../bases/catalogued-bases.ts';
import type { ImageRequest } from '../builder.ts';
import { contentKey } from '../content-key.ts';
import type { ContextFile } from '../engine/context.ts';
import { readContext, readText } from '../engine/context.ts';
import { imagesOf, parseDockerfile, withoutSyntax } from '../engine/dockerfile.ts';
import type { BuilderKind } from '../engine/engine.ts';

/** Everything an image is made from, known before anything is built. */
export interface Recipe {
  key: string;
  /** Who it is for, in errors and output. */
  asker: Asker;
  /** Path of the Dockerfile in the context. */
  dockerfile: string;
  files: ContextFile[];
  stage: string | undefined;
  args: Record<string, string>;
  bases: FoundBase[];
  /** Whether .dockerignore took files away. */
  ignored: boolean;
  /** The frontend image that `# syntax=` asks for, and the Dockerfile's text, where that matters. */
  syntax: { image: string; text: string } | undefined;
}

export interface Kitchen {
  bases: BaseImages;
  builder: BuilderKind;
  /** `linux/amd64`. */
  platform: string;
}

/** A name that nobody has, for a Dockerfile that is not as it is in the context: changed, or from outside of it. */
const OWN_DOCKERFILE = '.dinp.Dockerfile';
/** The frontends that engines have built in, so that the line asking for one can be done without. */
const BUILT_IN_SYNTAX = /^(?:docker\.io\/)?docker\/dockerfile:[^@]+$/;

/** Reads what a request asks for. @throws DinpError refused, unavailable, canceled */
export async function readRecipe(request: ImageRequest, kitchen: Kitchen): Promise<Recipe> {
  const { tree, plan } = request;
  if (plan.kind !== 'dockerfile') throw new Error(`an engine does not make images of kind ${plan.kind}`);
  const asker = askerOf(request, plan.dockerfile);
  const entry = tree.find(plan.dockerfile);
  if (entry === undefined) throw new DinpError('refused', `The commit has no ${plan.dockerfile}.`);
  const text = await readText(tree, entry);
  const parsed = parseDockerfile(text, plan.args, kitchen.platform);
  const { files, ignoreFile, ignored } = await readContext(
    tree,
    plan.context,
    plan.dockerfile,
    kitchen.builder === 'buildkit',
  );
  const bases: FoundBase[] = [];
  for (const { image, platform } of imagesOf(parsed, plan.stage))
    bases.push(await kitchen.bases.named(image, platform, asker));
  const prefix = plan.context === '.' ? '' : `${plan.context}/`;
  const inside = plan.dockerfile.startsWith(prefix);
  return {
    key: contentKey({
      plan,
      watch: request.watch,
      recipe: [entry.oid, ...(ignoreFile === undefined ? [] : [ignoreFile.oid])],
      bases: bases.map(({ name, is }) => [name, is] as const),
      platform: kitchen.platform,
    }),
    asker,
    dockerfile: inside ? plan.dockerfile.slice(prefix.length) : OWN_DOCKERFILE,
    files: inside ? files : [...files, ownDockerfile(text)],
    stage: plan.stage,
    args: plan.args,
    bases,
    ignored: ignored > 0,
    syntax: parsed.syntax === undefined || kitchen.builder === 'classic' ? undefined : { image: parsed.syntax, text },
  };
}

/**
 * Sees to it that the engine has what the recipe needs. A frontend of Docker's own that cannot be fetched is replaced by the one that
 * the engine has built in.
 * @returns the recipe as it can be built
 * @throws DinpError refused for another frontend that cannot be fetched; unavailable, canceled
 */
export async function provideFor(recipe: Recipe, bases: BaseImages): Promise<Recipe> {
  const { asker, syntax } = recipe;
  await bases.provide(recipe.bases, asker);
  if (syntax === undefined || (await bases.canFetch(syntax.image, { ...asker, onOutput: () => {} }))) return recipe;
  if (!BUILT_IN_SYNTAX.test(syntax.image)) {
    throw new DinpError(
      'refused',
      `${asker.what} asks for "# syntax=${syntax.image}", an image that cannot be fetched.`,
      {
        hint: 'Take that line out, or give this machine a way to that registry.',
      },
    );
  }
  asker.onOutput(
    `"# syntax=${syntax.image}" needs a hub, which does not answer: going on with the syntax that the engine has built in\n`,
  );
  const text = withoutSyntax(syntax.text);
  const files = recipe.files.map(
    (file): ContextFile => (file.path === recipe.dockerfile ? { path: file.path, mode: file.mode, text } : file),
  );
  return { ...recipe, files };
}

function ownDockerfile(text: string): ContextFile {
  return { path: OWN_DOCKERFILE, mode: '100644', text };
}

function askerOf(request: ImageRequest, what: string): Asker {
  return { what, onOutput: (text) => request.onOutput(text), signal: request.signal };
}
