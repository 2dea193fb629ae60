import { DinpError } from '../../domain/errors.ts';
import { printable } from '../../domain/names.ts';
import { throwIfAborted } from '../abort.ts';
import { BaseImages } from '../bases/base-images.ts';
import type { CataloguedBasesOptions } from '../bases/catalogued-bases.ts';
import type { BuiltImage, ImageBuilder, ImageRequest } from '../builder.ts';
import { provideFor, type Recipe, readRecipe } from '../direct/recipe.ts';
import { explainBuild, explainPush } from '../engine/build-errors.ts';
import { contextTar } from '../engine/context.ts';
import type { BuilderKind } from '../engine/engine.ts';
import { DEFAULT_BUILD_LIMITS } from '../engine/engine.ts';
import { EngineStreamError } from '../engine/engine-stream.ts';
import { BuildOutput } from '../engine/output.ts';
import { readConfigOf } from '../image-config.ts';
import { buildLabels, IMAGE_LABEL, ImageTags } from '../registry/image-tags.ts';
import type { Registries } from '../registry/registries.ts';
import type { Manifest } from '../registry/registry.ts';
import type { BuildEnd, BuildPlace } from './build-place.ts';
import { CliEngine } from './cli-engine.ts';
import { type CliProgress, cliProgress } from './cli-progress.ts';

export interface HostImageBuilderOptions extends CataloguedBasesOptions {
  registries: Registries;
  /** Which server has it made; a label. */
  server: string;
  /** Finds a machine for a build. @throws DinpError unavailable, refused, canceled */
  place(onOutput: (text: string) => void, signal: AbortSignal): Promise<BuildPlace>;
}

const DEFAULT_TIMEOUT_MS = 15 * 60_000;

/** Has images of Dockerfiles made on other machines, each by a unit there. This machine needs no engine for them. */
export class HostImageBuilder implements ImageBuilder {
  readonly #options: HostImageBuilderOptions;

  constructor(options: HostImageBuilderOptions) {
    this.#options = options;
  }

  async build(request: ImageRequest): Promise<BuiltImage> {
    throwIfAborted(request.signal);
    await using place = await this.#options.place(request.onOutput, request.signal);
    try {
      return await this.#buildAt(place, request);
    } catch (error) {
      throwIfAborted(request.signal);
      if (!(error instanceof EngineStreamError)) throw error;
      throw new DinpError('unavailable', `The Docker Engine of ${place.name} answers: ${printable(error.message)}`, {
        cause: error,
      });
    }
  }

  async #buildAt(place: BuildPlace, request: ImageRequest): Promise<BuiltImage> {
    const { registries } = this.#options;
    const engine = new CliEngine(place, registries.own.address, request.signal);
    const bases = new BaseImages({ ...this.#options, engine });
    const { builder, platform } = await engine.facts();
    const recipe = await readRecipe(request, { bases, builder, platform });
    const tags = new ImageTags(registries, request, recipe.key, platform);
    const known = await tags.reuse();
    if (known !== undefined) return known;
    const tag = await tags.freeTag();
    const digest = await this.#make(place, request, await provideFor(recipe, bases), { builder, tag });
    // A journal may have lost the line with the digest; the tag is this build's as well.
    return await tags.finish(await this.#pushed(request, digest ?? tag, { key: recipe.key, platform }));
  }

  /** @returns the digest that was pushed, by what the CLI says */
  async #make(
    place: BuildPlace,
    request: ImageRequest,
    recipe: Recipe,
    { builder, tag }: { builder: BuilderKind; tag: string },
  ): Promise<string | undefined> {
    const labels = buildLabels(request, recipe.key, this.#options.server);
    const lines = new UnitLines(request, builder, Object.keys(labels).length, this.#ownName(request));
    const end = await place.run(
      {
        app: request.app,
        buildNumber: request.buildNumber,
        source: request.tag,
        context: () => contextTar(request.tree, recipe.files),
        builder,
        dockerfile: recipe.dockerfile,
        stage: recipe.stage,
        args: recipe.args,
        labels,
        noCache: request.noCache,
        image: `${place.registry}/${request.repository}:${tag}`,
        limits: DEFAULT_BUILD_LIMITS,
        timeoutMs: request.timeoutMs ?? DEFAULT_TIMEOUT_MS,
      },
      (line) => lines.take(line),
      request.signal,
    );
    lines.finish();
    if (end.failed !== undefined) throw this.#problem(place, end, lines, recipe);
    return lines.digest;
  }

  /** The image that the registry has by now: never a release before the manifest is there, and of this content. */
  async #pushed(
    { repository, signal }: ImageRequest,
    reference: string,
    { key, platform }: { key: string; platform: string },
  ): Promise<Manifest> {
    const { own } = this.#options.registries;
    const manifest = await own.getManifest(repository, reference, signal);
    const config = manifest && (await readConfigOf(own, repository, manifest, platform, signal));
    if (manifest !== undefined && config?.labels[IMAGE_LABEL.key] === key) return manifest;
    throw new DinpError('unavailable', `The registry ${own.address} does not have the image that was pushed to it.`);
  }

  #problem(place: BuildPlace, end: BuildEnd, lines: UnitLines, recipe: Recipe): DinpError {
    const { asker, ignored } = recipe;
    const last = { detail: lines.tail };
    switch (end.failed) {
      case 'build':
        if (lines.said !== '')
          return explainBuild(lines.said, { dockerfile: asker.what, failure: lines.failure, ignored });
        return new DinpError('build-failed', `The build of ${asker.what} on ${place.name} ended: ${end.how}.`, last);
      case 'push':
        return explainPush(place.registry, lines.last);
      case 'fetch':
        return new DinpError('unavailable', `${place.name} could not fetch the commit from this server.`, {
          ...last,
          hint: `See what is wrong with it: dinp hosts check ${place.name}`,
        });
      default:
        return new DinpError('unavailable', `The build unit on ${place.name} ended: ${end.how}.`, last);
    }
  }

  #ownName({ repository }: ImageRequest): string {
    return `${this.#options.registries.own.address}/${repository}`;
  }
}

/** What the unit prints: the builder's lines until the push begins, then those of the push. */
class UnitLines {
  digest: string | undefined;
  readonly #request: ImageRequest;
  readonly #name: string;
  readonly #progress: CliProgress;
  #isPushing = false;
  #tail: string[] = [];

  constructor(request: ImageRequest, builder: BuilderKind, labels: number, name: string) {
    this.#request = request;
    this.#name = name;
    this.#progress = cliProgress(builder, new BuildOutput(request.onOutput), labels);
  }

  take(line: string): void {
    this.#tail = [...this.#tail.slice(-4), printable(line)];
    if (this.#isPushing) {
      this.digest = /: digest: (sha256:[0-9a-f]{64}) size: \d+$/.exec(line)?.[1] ?? this.digest;
    } else if (line.startsWith('The push refers to repository [')) {
      this.#isPushing = true;
      this.#progress.finish();
      this.#request.onOutput(`Pushing to ${this.#name}\n`);
    } else {
      this.#progress.line(line);
    }
  }

  finish(): void {
    this.#progress.finish();
  }

  get failure() {
    return this.#progress.failure;
  }

  get said(): string {
    return this.#progress.said;
  }

  get last(): string {
    return this.#tail.at(-1) ?? '';
  }

  /** The last lines as they came. */
  get tail(): string {
    return this.#tail.join('\n');
  }
}
