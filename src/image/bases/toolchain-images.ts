import { DinpError } from '../../domain/errors.ts';
import { printable } from '../../domain/names.ts';
import type { ImageEngine } from '../engine/engine.ts';
import { parseImageName } from '../image-name.ts';
import type { BaseImagesOptions } from './base-images.ts';
import { BaseImages } from './base-images.ts';
import type { Asker } from './catalogued-bases.ts';
import { CataloguedBases } from './catalogued-bases.ts';

/** An image with a toolchain. */
export interface ToolchainImage {
  /** What it is now, for keys: a digest, or the engine's id. */
  is: string;
  /** Sees to it that the engine has it. @returns what the engine knows it by */
  provide(): Promise<string>;
}

/** Finds the images that dinp.yml names as builders. */
export class ToolchainImages {
  readonly #options: BaseImagesOptions & { engine: ImageEngine };
  readonly #images: BaseImages;
  readonly #catalogued: CataloguedBases;

  constructor(options: BaseImagesOptions & { engine: ImageEngine }) {
    this.#options = options;
    this.#images = new BaseImages(options);
    this.#catalogued = new CataloguedBases(options);
  }

  /**
   * @param name a base of the catalogue, or else an image by address
   * @throws DinpError refused where there is no such image; unavailable without an engine, or where a registry does not answer; canceled
   */
  async find(name: string, asker: Asker): Promise<ToolchainImage> {
    await this.#checkEngine();
    if (this.#options.bases.facts(name) !== undefined) {
      const { repository, digest } = await this.#catalogued.find(name, asker);
      return this.#byDigest(repository, digest, asker);
    }
    const { host, repository } = parseName(name);
    const found = await this.#images.named(name, undefined, asker);
    if (found.needs !== undefined) return this.#byDigest(`${host}/${repository}`, found.is, asker);
    return { is: found.is, provide: async () => found.is };
  }

  #byDigest(repository: string, digest: string, asker: Asker): ToolchainImage {
    const reference = `${repository}@${digest}`;
    return {
      is: digest,
      provide: async () => {
        await this.#images.provide(
          [{ name: reference, is: digest, needs: { reference, platform: undefined, digest } }],
          asker,
        );
        return reference;
      },
    };
  }

  async #checkEngine(): Promise<void> {
    try {
      await this.#options.engine.facts();
    } catch (error) {
      if (!(error instanceof DinpError)) throw error;
      throw new DinpError('unavailable', `dinp.yml has a builder, which runs in a container. ${error.message}`, {
        hint: `${error.hint ?? 'Look after the Docker Engine'}\nWithout an engine, compile elsewhere and push what is compiled.`,
        cause: error,
      });
    }
  }
}

function parseName(name: string): { host: string; repository: string } {
  try {
    return parseImageName(name);
  } catch (cause) {
    throw new DinpError('refused', `dinp.yml says builder.image: ${printable(name)}, which names no image.`, {
      hint: 'Write an image such as maven:3-eclipse-temurin-21, or a base of this server (dinp bases list).',
      cause,
    });
  }
}
