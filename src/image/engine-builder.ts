import { DinpError } from '../domain/errors.ts';
import { printable } from '../domain/names.ts';
import { throwIfAborted } from './abort.ts';
import type { BaseImagesOptions } from './base-images.ts';
import { BaseImages } from './base-images.ts';
import { explainBuild, explainPush } from './build-errors.ts';
import type { BuiltImage, ImageBuilder, ImageRequest } from './builder.ts';
import { contextTar } from './context.ts';
import type { BuilderKind, EngineFacts } from './engine.ts';
import { EngineBuildError } from './engine.ts';
import { EngineStreamError } from './engine-stream.ts';
import { readImageConfig } from './image-config.ts';
import { branchTag } from './image-name.ts';
import { BuildOutput } from './output.ts';
import { PushProgress } from './push-progress.ts';
import type { Recipe } from './recipe.ts';
import { provideFor, readRecipe } from './recipe.ts';
import type { Manifest } from './registry.ts';

export interface EngineImageBuilderOptions extends BaseImagesOptions {
  /** Which server made it; a label. */
  server: string;
  builder?: BuilderKind | 'auto';
  /** Limits of a build's containers. */
  memoryBytes?: number;
  cpus?: number;
}

/** Labels of our images. Containers inherit them, so their names must not be those of labels on instances. */
const LABEL = { key: 'dinp.image.key', app: 'dinp.image.app', server: 'dinp.image.server' };
const DEFAULT_MEMORY = 4 * 1024 ** 3;
const DEFAULT_CPUS = 2;
/** Makes images with a Docker Engine, and keeps them in our registry by content key (ImageBuilder says what it throws). */
export class EngineImageBuilder implements ImageBuilder {
  readonly #options: EngineImageBuilderOptions;
  readonly #bases: BaseImages;
  #facts: EngineFacts | undefined;

  constructor(options: EngineImageBuilderOptions) {
    this.#options = options;
    this.#bases = new BaseImages(options);
  }

  async build(request: ImageRequest): Promise<BuiltImage> {
    throwIfAborted(request.signal);
    try {
      return await this.#build(request);
    } catch (error) {
      if (!(error instanceof EngineStreamError)) throw error;
      throw new DinpError('unavailable', `The Docker Engine answers: ${printable(error.message)}`, { cause: error });
    }
  }

  async #build(request: ImageRequest): Promise<BuiltImage> {
    const { own } = this.#options.registries;
    const { builder, platform } = await this.#engineFacts();
    const recipe = await readRecipe(request, { bases: this.#bases, builder, platform });
    if (!request.noCache) {
      const known = await own.getManifest(request.repository, keyTag(recipe.key), request.signal);
      if (known !== undefined) {
        await this.#tag(request, recipe.key, known);
        return this.#result(request, recipe.key, known.digest, true);
      }
    }
    const local = request.noCache ? [] : await this.#findLocal(request, recipe.key);
    const id = local[0] ?? (await this.#make(request, await provideFor(recipe, this.#bases), builder));
    const digest = await this.#push(request, recipe.key, id);
    // Never a release before the manifest is there: what the engine says it pushed is read back.
    const manifest = await own.getManifest(request.repository, digest, request.signal);
    if (manifest === undefined) {
      throw new DinpError('unavailable', `The registry ${own.address} does not have the image that was pushed to it.`);
    }
    await this.#tag(request, recipe.key, manifest);
    return this.#result(request, recipe.key, digest, false);
  }

  /** An image of this content that the engine made before, and that never reached the registry or left it. */
  async #findLocal(request: ImageRequest, key: string): Promise<string[]> {
    return this.#options.engine.findByLabels({ [LABEL.key]: key, [LABEL.app]: request.app });
  }

  async #make(request: ImageRequest, recipe: Recipe, builder: BuilderKind): Promise<string> {
    const output = new BuildOutput(request.onOutput);
    try {
      return await this.#options.engine.build(
        {
          context: contextTar(request.tree, recipe.files, recipe.contentTimes),
          dockerfile: recipe.dockerfile,
          builder,
          stage: recipe.stage,
          args: recipe.args,
          labels: {
            [LABEL.key]: recipe.key,
            [LABEL.app]: request.app,
            [LABEL.server]: this.#options.server,
            ...(request.revision === undefined ? {} : { 'org.opencontainers.image.revision': request.revision }),
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
      const { asker, ignored } = recipe;
      if (error instanceof EngineBuildError)
        throw explainBuild(error.message, { dockerfile: asker.what, failure: error.failure, ignored });
      if (error instanceof EngineStreamError)
        throw explainBuild(error.message, { dockerfile: asker.what, failure: undefined, ignored });
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

  /** The source's tag, or `<tag>-<key8>` where that stands for an image of another key (a changed base or argument). */
  async #freeTag(request: ImageRequest, key: string, digest: string | undefined): Promise<string> {
    const { own } = this.#options.registries;
    const taken = await own.findManifest(request.repository, request.tag, request.signal);
    if (taken === undefined || taken.digest === digest) return request.tag;
    const config = await readImageConfig(
      own,
      request.repository,
      taken.digest,
      (await this.#engineFacts()).platform,
      request.signal,
    );
    return config?.labels[LABEL.key] === key ? request.tag : `${request.tag}-${key.slice(0, 8)}`;
  }

  /** Sets every tag of the image. No blob moves. The key's tag comes last: where it is, the others are. */
  async #tag(request: ImageRequest, key: string, manifest: Manifest): Promise<void> {
    const { own } = this.#options.registries;
    const tag = await this.#freeTag(request, key, manifest.digest);
    const branch = request.branch === undefined ? [] : [branchTag(request.branch)];
    const tags = [tag, ...branch, `b${request.buildNumber}`];
    await Promise.all(tags.map((tag) => own.putManifest(request.repository, tag, manifest, request.signal)));
    await own.putManifest(request.repository, keyTag(key), manifest, request.signal);
  }

  async #result(request: ImageRequest, key: string, digest: string, reused: boolean): Promise<BuiltImage> {
    const { own, pullAddress } = this.#options.registries;
    const config = await readImageConfig(
      own,
      request.repository,
      digest,
      (await this.#engineFacts()).platform,
      request.signal,
    );
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

  async #engineFacts(): Promise<EngineFacts> {
    this.#facts ??= await this.#options.engine.facts();
    const wanted = this.#options.builder ?? 'auto';
    return wanted === 'auto' ? this.#facts : { ...this.#facts, builder: wanted };
  }
}

function keyTag(key: string): string {
  return `key-${key}`;
}
