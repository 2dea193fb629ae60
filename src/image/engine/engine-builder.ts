import { DinpError } from '../../domain/errors.ts';
import { printable } from '../../domain/names.ts';
import { throwIfAborted } from '../abort.ts';
import type { BaseImagesOptions } from '../bases/base-images.ts';
import { BaseImages } from '../bases/base-images.ts';
import type { BuiltImage, ImageBuilder, ImageRequest } from '../builder.ts';
import type { Recipe } from '../direct/recipe.ts';
import { provideFor, readRecipe } from '../direct/recipe.ts';
import { buildLabels, IMAGE_LABEL, ImageTags } from '../registry/image-tags.ts';
import { explainBuild, explainPush } from './build-errors.ts';
import { contextTar } from './context.ts';
import type { BuilderKind, EngineFacts, ImageEngine } from './engine.ts';
import { DEFAULT_BUILD_LIMITS, EngineBuildError } from './engine.ts';
import { EngineStreamError } from './engine-stream.ts';
import { BuildOutput } from './output.ts';
import { PushProgress } from './push-progress.ts';

export interface EngineImageBuilderOptions extends BaseImagesOptions {
  engine: ImageEngine;
  /** Which server made it; a label. */
  server: string;
  builder?: BuilderKind | 'auto';
  /** Limits of a build's containers. */
  memoryBytes?: number;
  cpus?: number;
}

/** Makes images of Dockerfiles with a Docker Engine, and keeps them in our registry by content key (ImageBuilder says what it throws). */
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
    const tags = new ImageTags(this.#options.registries, request, recipe.key, platform);
    const known = await tags.reuse();
    if (known !== undefined) return known;
    const local = request.noCache ? [] : await this.#findLocal(request, recipe.key);
    const id = local[0] ?? (await this.#make(request, await provideFor(recipe, this.#bases), builder));
    const digest = await this.#push(request, await tags.freeTag(), id);
    // Never a release before the manifest is there: what the engine says it pushed is read back.
    const manifest = await own.getManifest(request.repository, digest, request.signal);
    if (manifest === undefined) {
      throw new DinpError('unavailable', `The registry ${own.address} does not have the image that was pushed to it.`);
    }
    return tags.finish(manifest);
  }

  /** An image of this content that the engine made before, and that never reached the registry or left it. */
  async #findLocal(request: ImageRequest, key: string): Promise<string[]> {
    return this.#options.engine.findByLabels({ [IMAGE_LABEL.key]: key, [IMAGE_LABEL.app]: request.app });
  }

  async #make(request: ImageRequest, recipe: Recipe, builder: BuilderKind): Promise<string> {
    const output = new BuildOutput(request.onOutput);
    try {
      return await this.#options.engine.build(
        {
          context: contextTar(request.tree, recipe.files),
          dockerfile: recipe.dockerfile,
          builder,
          stage: recipe.stage,
          args: recipe.args,
          labels: buildLabels(request, recipe.key, this.#options.server),
          noCache: request.noCache,
          memoryBytes: this.#options.memoryBytes ?? DEFAULT_BUILD_LIMITS.memoryBytes,
          cpus: this.#options.cpus ?? DEFAULT_BUILD_LIMITS.cpus,
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
  async #push(request: ImageRequest, tag: string, id: string): Promise<string> {
    const { engine, registries } = this.#options;
    const repository = `${registries.own.address}/${request.repository}`;
    const progress = new PushProgress(request.onOutput, repository);
    try {
      await engine.tag(id, repository, tag);
      const credentials = registries.credentialsFor(registries.own.address);
      return await engine.push({ repository, tag, credentials }, (record) => progress.take(record), request.signal);
    } catch (error) {
      throw error instanceof EngineStreamError ? explainPush(registries.own.address, error.message) : error;
    }
  }

  async #engineFacts(): Promise<EngineFacts> {
    this.#facts ??= await this.#options.engine.facts();
    const wanted = this.#options.builder ?? 'auto';
    return wanted === 'auto' ? this.#facts : { ...this.#facts, builder: wanted };
  }
}
