import { DinpError } from '../../domain/errors.ts';
import { explainPull } from '../engine/build-errors.ts';
import type { ImageEngine } from '../engine/engine.ts';
import { EngineStreamError } from '../engine/engine-stream.ts';
import type { ImageName } from '../image-name.ts';
import { formatImageName, parseImageName } from '../image-name.ts';
import type { Registries } from '../registry/registries.ts';
import type { Asker, CataloguedBasesOptions } from './catalogued-bases.ts';
import { CataloguedBases } from './catalogued-bases.ts';

/** What finding bases needs of the engine that builds. */
export type BaseEngine = Pick<ImageEngine, 'findImage' | 'pull'>;

export interface BaseImagesOptions extends CataloguedBasesOptions {
  engine: BaseEngine;
  registries: Registries;
}

/** An image that another one is built on. */
export interface FoundBase {
  /** As it was asked for. */
  name: string;
  /** What it is now, for the content key: a digest, the engine's id, or the name where neither can be known. */
  is: string;
  /** What the engine must have before it can build. */
  needs: { reference: string; platform: string | undefined; digest: string } | undefined;
}

/** Finds the images that builds stand on, and sees to it that the engine has them. */
export class BaseImages {
  readonly #options: BaseImagesOptions;
  readonly #catalogued: CataloguedBases;

  constructor(options: BaseImagesOptions) {
    this.#options = options;
    this.#catalogued = new CataloguedBases(options);
  }

  /** An image that a Dockerfile names. @throws DinpError refused where it is not there, unavailable, canceled */
  async named(image: string, platform: string | undefined, asker: Asker): Promise<FoundBase> {
    const parsed = image.includes('$') ? undefined : tryParse(image);
    if (parsed === undefined) return { name: image, is: image, needs: undefined };
    const registry = this.#options.registries.find(parsed.host);
    // Of a public hub the engine's copy counts, so that a push does not depend on what the hub says today.
    if (registry === undefined) return { name: image, is: await this.#fetch(image, platform, asker), needs: undefined };
    const head = await registry.findManifest(parsed.repository, parsed.digest ?? parsed.tag ?? 'latest', asker.signal);
    if (head !== undefined)
      return { name: image, is: head.digest, needs: { reference: image, platform, digest: head.digest } };
    const base = this.#options.bases.nameOf(formatImageName(parsed));
    if (base === undefined) {
      throw new DinpError(
        'refused',
        `${asker.what} builds on ${image}, which the registry ${parsed.host} does not have.`,
        {
          hint: 'See which bases this server has: dinp bases list',
        },
      );
    }
    const { digest } = await this.#catalogued.find(base, asker);
    return { name: image, is: digest, needs: { reference: image, platform, digest } };
  }

  /**
   * Has the engine fetch what it needs. An engine keeps what it once got under a tag; it must have what the registry has now.
   * @throws DinpError refused, unavailable, canceled
   */
  async provide(found: readonly FoundBase[], asker: Asker): Promise<void> {
    for (const { needs } of found) {
      if (needs === undefined) continue;
      const local = await this.#options.engine.findImage(needs.reference);
      if (local?.digests.some((digest) => digest.endsWith(`@${needs.digest}`))) continue;
      await this.#pull(needs.reference, needs.platform, asker);
    }
  }

  /** Whether the engine has an image, or can fetch it. @throws DinpError canceled */
  async canFetch(image: string, asker: Asker): Promise<boolean> {
    try {
      await this.#fetch(image, undefined, asker);
      return true;
    } catch (error) {
      if (error instanceof DinpError && error.code !== 'canceled') return false;
      throw error;
    }
  }

  /** @returns the engine's id of the image */
  async #fetch(image: string, platform: string | undefined, asker: Asker): Promise<string> {
    const local = await this.#options.engine.findImage(image);
    if (local !== undefined) return local.id;
    await this.#pull(image, platform, asker);
    return (await this.#options.engine.findImage(image))?.id ?? image;
  }

  async #pull(image: string, platform: string | undefined, asker: Asker): Promise<void> {
    const credentials = this.#options.registries.credentialsFor(parseImageName(image).host);
    asker.onOutput(`Fetching ${image}\n`);
    try {
      await this.#options.engine.pull(image, { platform, credentials, signal: asker.signal });
    } catch (error) {
      throw error instanceof EngineStreamError ? explainPull(image, error.message, asker.what) : error;
    }
  }
}

function tryParse(image: string): ImageName | undefined {
  try {
    return parseImageName(image);
  } catch {
    return undefined;
  }
}
