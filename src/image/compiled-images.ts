import { createHash } from 'node:crypto';
import type { CompilePlan } from '../domain/compile-plan.ts';
import { DinpError } from '../domain/errors.ts';
import type { BuiltImage, ImageBuilder, ImageRequest } from './builder.ts';
import { canonical } from './content-key.ts';
import { readConfigOf } from './image-config.ts';
import { parseImageName } from './image-name.ts';
import { findPlatform } from './platform.ts';
import { IMAGE_LABEL, ImageTags } from './registry/image-tags.ts';
import type { Registries } from './registry/registries.ts';
import { parseIndex } from './registry/registry.ts';

/** Raised whenever the same sources would be compiled in another way. */
const COMPILE_VERSION = 2;

export interface CompiledImagesOptions {
  registries: Registries;
  /** Of the hosts that run the images, `linux/amd64`. */
  platform: string;
}

/**
 * The images that were made of compiled files, by what was compiled: 64 hex digits that are equal where sources, commands, toolchain and
 * whatever dinp.yml says of packaging are. An image says by its labels what base it stands on; where that has changed since, it is not
 * taken for another deploy.
 */
export class CompiledImages implements ImageBuilder {
  readonly #options: CompiledImagesOptions;

  constructor(options: CompiledImagesOptions) {
    this.#options = options;
  }

  /** @param toolchain digest of the builder */
  keyOf(plan: CompilePlan, toolchain: string): string {
    const { repository, timeoutMs, ...decisive } = plan;
    const { platform } = this.#options;
    const text = canonical({ version: COMPILE_VERSION, ...decisive, toolchain, platform });
    return createHash('sha256').update(text).digest('hex');
  }

  /**
   * Looks whether the registry has an image of what is to be compiled.
   * @returns its content key, and what kind of artifact is in it
   */
  async find(
    repository: string,
    compileKey: string,
    signal: AbortSignal,
  ): Promise<{ contentKey: string; artifact: string | undefined } | undefined> {
    const { own } = this.#options.registries;
    const { platform } = this.#options;
    const manifest = await own.getManifest(repository, tagOf(compileKey), signal);
    if (manifest === undefined) return undefined;
    const { labels = {} } = (await readConfigOf(own, repository, manifest, platform, signal)) ?? {};
    const name = labels['org.opencontainers.image.base.name'];
    const digest = labels['org.opencontainers.image.base.digest'];
    if (name === undefined || digest === undefined || !(await this.#isStill(name, digest, signal))) return undefined;
    const contentKey = labels[IMAGE_LABEL.key];
    return contentKey === undefined ? undefined : { contentKey, artifact: labels[IMAGE_LABEL.artifact] };
  }

  /** Notes of what an image was compiled. */
  async remember(
    image: { repository: string; digest: string },
    compileKey: string,
    signal: AbortSignal,
  ): Promise<void> {
    const { own } = this.#options.registries;
    const manifest = await own.getManifest(image.repository, image.digest, signal);
    if (manifest !== undefined) await own.putManifest(image.repository, tagOf(compileKey), manifest, signal);
  }

  /** Takes the image that was found, and tags it for the request. */
  async build(request: ImageRequest): Promise<BuiltImage> {
    const { registries, platform } = this.#options;
    if (request.plan.kind !== 'kept') throw new Error(`an image of kind ${request.plan.kind} is not there yet`);
    const image = await new ImageTags(registries, request, request.plan.contentKey, platform).reuse();
    if (image !== undefined) return image;
    throw new DinpError('unavailable', `The registry ${registries.own.address} has just lost the image of this app.`, {
      hint: 'Push again: git push dinp <branch>:refs/deploy/now',
    });
  }

  /** Whether a tag still stands for an image, or for an index with it. */
  async #isStill(name: string, digest: string, signal: AbortSignal): Promise<boolean> {
    const { registries, platform } = this.#options;
    const { host, repository, tag, digest: pinned } = parseImageName(name, registries.own.address);
    const registry = registries.find(host);
    const manifest = await registry?.getManifest(repository, pinned ?? tag ?? 'latest', signal);
    if (manifest === undefined) return false;
    return manifest.digest === digest || findPlatform(parseIndex(manifest.bytes), platform)?.digest === digest;
  }
}

function tagOf(compileKey: string): string {
  return `compiled-${compileKey}`;
}
