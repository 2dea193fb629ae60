import { DinpError } from '../../domain/errors.ts';
import type { BuiltImage, ImageRequest } from '../builder.ts';
import { readConfigOf, readImageConfig } from '../image-config.ts';
import { branchTag } from '../image-name.ts';
import type { Registries } from './registries.ts';
import type { Manifest } from './registry.ts';

/** Labels of our images. Containers inherit them, so their names must not be those of labels on instances. */
export const IMAGE_LABEL = {
  key: 'dinp.image.key',
  app: 'dinp.image.app',
  server: 'dinp.image.server',
  /** Kind of the artifact that was laid over a base. */
  artifact: 'dinp.image.artifact',
};

/** The labels of an image that a Dockerfile makes. @param server which server has it made */
export function buildLabels(request: ImageRequest, key: string, server: string): Record<string, string> {
  return {
    [IMAGE_LABEL.key]: key,
    [IMAGE_LABEL.app]: request.app,
    [IMAGE_LABEL.server]: server,
    ...(request.revision === undefined ? {} : { 'org.opencontainers.image.revision': request.revision }),
  };
}

/** The images of one request in our registry, by content key: what every builder does before and after it builds. */
export class ImageTags {
  readonly #registries: Registries;
  readonly #request: ImageRequest;
  readonly #key: string;
  readonly #platform: string;

  /** @param platform of the hosts, `linux/amd64` */
  constructor(registries: Registries, request: ImageRequest, key: string, platform: string) {
    this.#registries = registries;
    this.#request = request;
    this.#key = key;
    this.#platform = platform;
    registries.own.willPush(request.repository);
  }

  /**
   * Takes the image of this content that the registry has, and tags it for the request: only a manifest is read and written.
   * @returns undefined where it has none, or lost a part of it, or the request wants it made anew
   */
  async reuse(): Promise<BuiltImage | undefined> {
    const { repository, noCache, signal } = this.#request;
    if (noCache) return undefined;
    const known = await this.#registries.own.getManifest(repository, this.#keyTag, signal);
    if (known === undefined) return undefined;
    try {
      await this.#tag(known, []);
      return await this.#result(known, true);
    } catch (error) {
      // A registry that was cleaned up by other means than its own may keep manifests without their blobs.
      if (error instanceof DinpError && error.code === 'not-found') return undefined;
      throw error;
    }
  }

  /** Tags a new image, whose blobs are in the registry. */
  async finish(manifest: Manifest): Promise<BuiltImage> {
    const [, result] = await Promise.all([this.#tag(manifest, [this.#keyTag]), this.#result(manifest, false)]);
    return result;
  }

  /**
   * The tag of the request's source, or `<tag>-<key8>` where that stands for an image of another key (a changed base or argument).
   * @param digest of the image to be tagged, where it is known
   */
  async freeTag(digest?: string): Promise<string> {
    const { repository, tag, signal } = this.#request;
    const { own } = this.#registries;
    const taken = await own.findManifest(repository, tag, signal);
    if (taken === undefined || taken.digest === digest) return tag;
    const config = await readImageConfig(own, repository, taken.digest, this.#platform, signal);
    return config?.labels[IMAGE_LABEL.key] === this.#key ? tag : `${tag}-${this.#key.slice(0, 8)}`;
  }

  get #keyTag(): string {
    return `key-${this.#key}`;
  }

  /** Sets the tags for people, and others. No blob moves. */
  async #tag(manifest: Manifest, others: readonly string[]): Promise<void> {
    const { repository, branch, buildNumber, signal } = this.#request;
    const tags = [
      await this.freeTag(manifest.digest),
      ...(branch === undefined ? [] : [branchTag(branch)]),
      `b${buildNumber}`,
      ...others,
    ];
    await Promise.all(tags.map((tag) => this.#registries.own.putManifest(repository, tag, manifest, signal)));
  }

  async #result(manifest: Manifest, reused: boolean): Promise<BuiltImage> {
    const { own, pullAddress } = this.#registries;
    const { repository, signal } = this.#request;
    const { digest } = manifest;
    const config = await readConfigOf(own, repository, manifest, this.#platform, signal);
    if (config === undefined) {
      throw new DinpError(
        'unavailable',
        `The registry ${own.address} has no image ${repository}@${digest} for this platform.`,
      );
    }
    return {
      ref: { repository: `${pullAddress}/${repository}`, digest },
      contentKey: this.#key,
      reused,
      exposedPort: config.exposedPort,
      hasHealthcheck: config.hasHealthcheck,
      hasCommand: config.hasCommand,
    };
  }
}
