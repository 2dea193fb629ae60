import { DinpError } from '../domain/errors.ts';
import type { ImagePlan } from '../domain/plan.ts';
import { throwIfAborted } from './abort.ts';
import type { BaseCatalogue } from './bases.ts';
import { explainBuild, explainPull, explainPush } from './build-errors.ts';
import type { BuiltImage, ImageBuilder, ImageRequest } from './builder.ts';
import { contentKey } from './content-key.ts';
import type { ContextFile } from './context.ts';
import { contextEntries, contextTar, readText } from './context.ts';
import { imagesOf, parseDockerfile, withoutSyntax } from './dockerfile.ts';
import type { BuilderKind, EngineFacts } from './engine.ts';
import { EngineBuildError, type ImageEngine } from './engine.ts';
import { EngineStreamError } from './engine-stream.ts';
import { readImageConfig } from './image-config.ts';
import type { ImageName } from './image-name.ts';
import { branchTag, formatImageName, parseImageName } from './image-name.ts';
import { layersContext } from './layers.ts';
import { BuildOutput, LineBuffer } from './output.ts';
import { PushProgress } from './push-progress.ts';
import type { Registries } from './registries.ts';
import type { Manifest } from './registry.ts';

export interface EngineImageBuilderOptions {
  engine: ImageEngine;
  registries: Registries;
  bases: BaseCatalogue;
  /** Which server made it; a label. */
  server: string;
  /** Build a missing base of the catalogue when a push needs it, where that can be done here. */
  autoBases: boolean;
  builder?: BuilderKind | 'auto';
  /** Limits of a build's containers. */
  memoryBytes?: number;
  cpus?: number;
}

/** Everything an image is made from, known before anything is built. */
interface Recipe {
  key: string;
  dockerfile: string;
  /** Name of the Dockerfile for people. */
  shownDockerfile: string;
  files: ContextFile[];
  stage: string | undefined;
  args: Record<string, string>;
  builder: BuilderKind;
  contentTimes: boolean;
  ignored: boolean;
}

/** Labels of our images. Containers inherit them, so their names must not be those of labels on instances. */
const LABEL = { key: 'dinp.image.key', app: 'dinp.image.app', sha: 'dinp.image.sha', server: 'dinp.image.server' };
/** A name that no one has: the context's own Dockerfile of a layers plan, or one from outside the context. */
const OWN_DOCKERFILE = '.dinp.Dockerfile';
const DEFAULT_MEMORY = 4 * 1024 ** 3;
const DEFAULT_CPUS = 2;
/** The Dockerfile frontends that engines have built in, so that the line asking for one can be done without. */
const BUILT_IN_SYNTAX = /^(?:docker\.io\/)?docker\/dockerfile:[^@]+$/;

/** Makes images with a Docker Engine, and keeps them in our registry by content key (ImageBuilder says what it throws). */
export class EngineImageBuilder implements ImageBuilder {
  readonly #options: EngineImageBuilderOptions;
  #facts: EngineFacts | undefined;

  constructor(options: EngineImageBuilderOptions) {
    this.#options = options;
  }

  async build(request: ImageRequest): Promise<BuiltImage> {
    throwIfAborted(request.signal);
    const recipe = await this.#recipe(request);
    const { own } = this.#options.registries;
    if (!request.noCache) {
      const known = await own.getManifest(request.repository, keyTag(recipe.key), request.signal);
      if (known !== undefined) {
        await this.#tag(request, recipe.key, known);
        return this.#result(request, recipe.key, known.digest, true);
      }
    }
    const local = request.noCache ? [] : await this.#findLocal(request, recipe.key);
    const id = local[0] ?? (await this.#make(request, recipe));
    const digest = await this.#push(request, recipe.key, id);
    // Never a release before the manifest is there: what the engine says it pushed is read back.
    const manifest = await own.getManifest(request.repository, digest, request.signal);
    if (manifest === undefined) {
      throw new DinpError('unavailable', `The registry ${own.address} does not have the image that was pushed to it.`);
    }
    await this.#tag(request, recipe.key, manifest);
    return this.#result(request, recipe.key, digest, false);
  }

  async #recipe(request: ImageRequest): Promise<Recipe> {
    try {
      this.#facts ??= await this.#options.engine.facts();
    } catch (error) {
      throw engineWords(error);
    }
    const wanted = this.#options.builder ?? 'auto';
    const builder = wanted === 'auto' ? this.#facts.builder : wanted;
    return request.plan.kind === 'dockerfile'
      ? this.#dockerfileRecipe(request, request.plan, builder, this.#facts.platform)
      : this.#layersRecipe(request, request.plan, builder, this.#facts.platform);
  }

  async #layersRecipe(
    request: ImageRequest,
    plan: Extract<ImagePlan, { kind: 'layers' }>,
    builder: BuilderKind,
    platform: string,
  ): Promise<Recipe> {
    const base = await this.#base(plan.base, request);
    const reference = `${base.repository}@${base.digest}`;
    await this.#fetch(reference, undefined, request.signal, `the base ${plan.base}`);
    const { dockerfile, files } = layersContext(plan, request.tree, reference);
    const key = contentKey({ plan, watch: request.watch, recipe: [], bases: [[plan.base, base.digest]], platform });
    return {
      key,
      dockerfile: OWN_DOCKERFILE,
      shownDockerfile: `the image of ${request.app}`,
      files: [{ path: OWN_DOCKERFILE, mode: '100644', text: dockerfile }, ...files],
      stage: undefined,
      args: {},
      builder,
      contentTimes: true,
      ignored: false,
    };
  }

  async #dockerfileRecipe(
    request: ImageRequest,
    plan: Extract<ImagePlan, { kind: 'dockerfile' }>,
    builder: BuilderKind,
    platform: string,
  ): Promise<Recipe> {
    const entry = request.tree.find(plan.dockerfile);
    if (entry === undefined) throw new DinpError('refused', `The commit has no ${plan.dockerfile}.`);
    let text = await readText(request.tree, entry);
    const parsed = parseDockerfile(text, plan.args, platform);
    const files = await contextEntries(request.tree, plan.context, plan.dockerfile, builder === 'buildkit');
    const recipeIds = [entry.oid, ...files.filter((file) => /(?:^|\/|\.)\.?dockerignore$/.test(file.path)).map(oidOf)];
    const bases: [string, string][] = [];
    for (const { image, platform: only } of imagesOf(parsed, plan.stage)) {
      bases.push([image, await this.#baseOfDockerfile(image, only, request, plan.dockerfile)]);
    }
    const prefix = plan.context === '.' ? '' : `${plan.context}/`;
    const whole = request.tree.entries.filter((file) => file.path.startsWith(prefix)).length;
    const inside = plan.dockerfile.startsWith(prefix);
    let name = inside ? plan.dockerfile.slice(prefix.length) : OWN_DOCKERFILE;
    let context = files;
    let changed = !inside;
    if (
      builder === 'buildkit' &&
      parsed.syntax !== undefined &&
      !(await this.#haveSyntax(parsed.syntax, request, plan.dockerfile))
    ) {
      text = withoutSyntax(text);
      name = OWN_DOCKERFILE;
      changed = true;
    }
    if (changed)
      context = [
        ...files.filter((file) => file.path !== OWN_DOCKERFILE),
        { path: OWN_DOCKERFILE, mode: '100644', text },
      ];
    return {
      key: contentKey({ plan, watch: request.watch, recipe: recipeIds, bases, platform }),
      dockerfile: name,
      shownDockerfile: plan.dockerfile,
      files: context,
      stage: plan.stage,
      args: plan.args,
      builder,
      contentTimes: false,
      ignored: files.length < whole,
    };
  }

  /**
   * Whether the frontend image that a Dockerfile asks for is there. Docker's own one can be replaced by what the engine has built in.
   * @throws DinpError for another one that cannot be fetched
   */
  async #haveSyntax(syntax: string, request: ImageRequest, dockerfile: string): Promise<boolean> {
    try {
      await this.#fetch(syntax, undefined, request.signal, dockerfile);
      return true;
    } catch (error) {
      if (!(error instanceof DinpError) || error.code === 'canceled') throw error;
      if (!BUILT_IN_SYNTAX.test(syntax)) {
        throw new DinpError(
          'refused',
          `${dockerfile} asks for "# syntax=${syntax}", an image that cannot be fetched.`,
          {
            hint: 'Take that line out, or give this machine a way to that registry.',
            cause: error,
          },
        );
      }
      request.onOutput(
        `"# syntax=${syntax}" needs a hub, which does not answer: going on with the Dockerfile syntax that the engine has built in\n`,
      );
      return false;
    }
  }

  /** What an image that a Dockerfile names is now, for the content key; sees to it that the engine has that one. */
  async #baseOfDockerfile(
    image: string,
    platform: string | undefined,
    request: ImageRequest,
    dockerfile: string,
  ): Promise<string> {
    if (image.includes('$')) return image;
    let name: ImageName;
    try {
      name = parseImageName(image);
    } catch {
      return image;
    }
    const registry = this.#options.registries.find(name.host);
    if (registry === undefined) return (await this.#fetch(image, platform, request.signal, dockerfile)).id;
    const reference = name.digest ?? name.tag ?? 'latest';
    let digest = (await registry.findManifest(name.repository, reference, request.signal))?.digest;
    if (digest === undefined) {
      const base = this.#options.bases.nameOf(formatImageName(name));
      if (base === undefined) {
        throw new DinpError(
          'refused',
          `${dockerfile} builds on ${image}, which the registry ${name.host} does not have.`,
          {
            hint: 'See which bases this server has: dinp bases list',
          },
        );
      }
      digest = (await this.#base(base, request)).digest;
    }
    // An engine keeps what it once fetched under that tag: it must have what the registry has now.
    const local = await this.#options.engine.findImage(image);
    if (local === undefined || !local.digests.some((has) => has.endsWith(`@${digest}`))) {
      await this.#pull(image, platform, request.signal, dockerfile);
    }
    return digest;
  }

  /** A base of the catalogue, built when it is missing and can be. */
  async #base(name: string, request: ImageRequest): Promise<{ repository: string; digest: string }> {
    const { bases, autoBases } = this.#options;
    const state = await bases.check(name, request.signal);
    if (state.digest !== undefined && state.problem === undefined)
      return { repository: state.repository, digest: state.digest };
    const how = { hint: `Make it here, once: dinp bases build ${name}` };
    if (!state.buildable)
      throw new DinpError('refused', `The base ${name} is not usable: ${state.problem ?? 'it is missing'}.`, {
        hint: 'See dinp bases list',
      });
    if (!autoBases)
      throw new DinpError(
        'refused',
        `The base ${name} (${state.image}) is not usable: ${state.problem ?? 'it is missing'}.`,
        how,
      );
    const output = new BuildOutput(request.onOutput);
    const lines = new LineBuffer((line) => output.line(line));
    output.line(`The base ${name} is not in the registry yet: making it from Debian packages, once`);
    const built = await bases.ensure(name, (text) => lines.write(text), request.signal);
    return { repository: state.repository, digest: built.digest };
  }

  /** Has the engine fetch an image that it does not have. */
  async #fetch(
    reference: string,
    platform: string | undefined,
    signal: AbortSignal,
    dockerfile: string,
  ): Promise<{ id: string }> {
    const local = await this.#options.engine.findImage(reference);
    if (local !== undefined) return local;
    await this.#pull(reference, platform, signal, dockerfile);
    return (await this.#options.engine.findImage(reference)) ?? { id: reference };
  }

  async #pull(reference: string, platform: string | undefined, signal: AbortSignal, dockerfile: string): Promise<void> {
    const credentials = this.#options.registries.credentialsFor(parseImageName(reference).host);
    try {
      await this.#options.engine.pull(reference, { platform, credentials, signal });
    } catch (error) {
      throw error instanceof EngineStreamError ? explainPull(reference, error.message, dockerfile) : error;
    }
  }

  /** An image of this content that the engine made before, and that never reached the registry or left it. */
  async #findLocal(request: ImageRequest, key: string): Promise<string[]> {
    return this.#options.engine.findByLabels({ [LABEL.key]: key, [LABEL.app]: request.app });
  }

  async #make(request: ImageRequest, recipe: Recipe): Promise<string> {
    const output = new BuildOutput(request.onOutput);
    try {
      return await this.#options.engine.build(
        {
          context: contextTar(request.tree, recipe.files, recipe.contentTimes),
          dockerfile: recipe.dockerfile,
          builder: recipe.builder,
          stage: recipe.stage,
          args: recipe.args,
          labels: {
            [LABEL.key]: recipe.key,
            [LABEL.app]: request.app,
            [LABEL.sha]: request.sha,
            [LABEL.server]: this.#options.server,
            'org.opencontainers.image.revision': request.sha,
          },
          noCache: request.noCache,
          memoryBytes: this.#options.memoryBytes ?? DEFAULT_MEMORY,
          cpus: this.#options.cpus ?? DEFAULT_CPUS,
          credentials: this.#options.registries.credentials(),
          signal: request.signal,
        },
        output,
      );
    } catch (error) {
      const about = { dockerfile: recipe.shownDockerfile, ignored: recipe.ignored };
      if (error instanceof EngineBuildError) throw explainBuild(error.message, { ...about, failure: error.failure });
      if (error instanceof EngineStreamError) throw explainBuild(error.message, { ...about, failure: undefined });
      throw error;
    }
  }

  /** Tags the engine's image and has it pushed. @returns the digest of the manifest */
  async #push(request: ImageRequest, key: string, id: string): Promise<string> {
    const { engine, registries } = this.#options;
    const repository = `${registries.own.address}/${request.repository}`;
    const tag = await this.#freeTag(request, key, undefined);
    const progress = new PushProgress(request.onOutput, repository);
    try {
      await engine.tag(id, repository, tag);
      const credentials = registries.credentialsFor(registries.own.address);
      return await engine.push({ repository, tag, credentials }, (record) => progress.take(record), request.signal);
    } catch (error) {
      throw error instanceof EngineStreamError ? explainPush(registries.own.address, error.message) : error;
    }
  }

  /** The SHA as a tag, or `<sha>-<key8>` where the SHA stands for an image of another key (a changed base or argument). */
  async #freeTag(request: ImageRequest, key: string, digest: string | undefined): Promise<string> {
    const { own } = this.#options.registries;
    const taken = await own.findManifest(request.repository, request.sha, request.signal);
    if (taken === undefined || taken.digest === digest) return request.sha;
    const config = await readImageConfig(own, request.repository, taken.digest, await this.#platform(), request.signal);
    return config?.labels[LABEL.key] === key ? request.sha : `${request.sha}-${key.slice(0, 8)}`;
  }

  /** Sets every tag of the image. No blob moves. The key's tag comes last: where it is, the others are. */
  async #tag(request: ImageRequest, key: string, manifest: Manifest): Promise<void> {
    const { own } = this.#options.registries;
    const sha = await this.#freeTag(request, key, manifest.digest);
    const tags = [sha, branchTag(request.branch), `b${request.buildNumber}`];
    await Promise.all(tags.map((tag) => own.putManifest(request.repository, tag, manifest, request.signal)));
    await own.putManifest(request.repository, keyTag(key), manifest, request.signal);
  }

  async #result(request: ImageRequest, key: string, digest: string, reused: boolean): Promise<BuiltImage> {
    const { own, pullAddress } = this.#options.registries;
    const config = await readImageConfig(own, request.repository, digest, await this.#platform(), request.signal);
    if (config === undefined)
      throw new DinpError(
        'unavailable',
        `The registry ${own.address} has no image ${request.repository}@${digest} for this platform.`,
      );
    return {
      ref: { repository: `${pullAddress}/${request.repository}`, digest },
      contentKey: key,
      reused,
      exposedPort: config.exposedPort,
      hasHealthcheck: config.hasHealthcheck,
      hasCommand: config.hasCommand,
    };
  }

  async #platform(): Promise<string> {
    this.#facts ??= await this.#options.engine.facts();
    return this.#facts.platform;
  }
}

function keyTag(key: string): string {
  return `key-${key}`;
}

function oidOf(file: ContextFile): string {
  return 'entry' in file ? file.entry.oid : '';
}

function engineWords(error: unknown): unknown {
  return error instanceof EngineStreamError
    ? new DinpError('unavailable', `The Docker Engine answers: ${error.message}`, { cause: error })
    : error;
}
