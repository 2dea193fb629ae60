import { DinpError } from '../../domain/errors.ts';
import { parseImageConfig } from '../image-config.ts';
import { findPlatform } from '../platform.ts';
import { several } from '../several.ts';
import type { Place } from './copy-blob.ts';
import { copyBlob, isForeign } from './copy-blob.ts';
import type { Descriptor, Manifest } from './registry.ts';
import { parseIndex } from './registry.ts';
import { parseJson } from './registry-connection.ts';

export interface CopyOptions {
  /** Only the image for that platform (`linux/amd64`) of an index; undefined: the index with all of its images. */
  platform?: string | undefined;
  /** How many bytes have been sent so far, of how many known by then. What was there already counts as sent. */
  onProgress?(sent: number, total: number): void;
  signal?: AbortSignal | undefined;
}

const AT_ONCE = 4;

/**
 * Copies an image from registry to registry byte for byte, so that its digest stays: manifests and blobs are not written anew, blobs that
 * are there stay, those of another repository of the same registry are mounted, several of the others are streamed at once.
 * @param from `reference` is a tag or a digest
 * @param to without tags the image is only kept by its digest
 * @returns the digest of the manifest or index that the tags now stand for
 * @throws DinpError not-found, refused where it is not for the platform, unavailable, denied, canceled
 */
export async function copyImage(
  from: Place & { reference: string },
  to: Place & { tags: readonly string[] },
  options: CopyOptions = {},
): Promise<string> {
  to.registry.willPush(to.repository);
  const manifest = await findImage(from, from.reference, options);
  await new ImageCopy(from, to, options).copy(manifest, to.tags);
  return manifest.digest;
}

/** The manifest of an image; of an index, the one for the platform where one is wanted. */
async function findImage(from: Place, reference: string, options: CopyOptions): Promise<Manifest> {
  const { platform, signal } = options;
  const manifest = await from.registry.getManifest(from.repository, reference, signal);
  const name = `${from.registry.address}/${from.repository}${reference.includes(':') ? '@' : ':'}${reference}`;
  if (manifest === undefined) throw new DinpError('not-found', `There is no image ${name}.`);
  if (platform === undefined || !isIndex(manifest)) return manifest;
  const entries = parseIndex(manifest.bytes);
  const entry = findPlatform(entries, platform);
  if (entry !== undefined) return findImage(from, entry.digest, options);
  const has = entries.flatMap(({ platform: p }) => (p?.os === undefined ? [] : [`${p.os}/${p.architecture}`]));
  throw new DinpError('refused', `${name} is not for ${platform}; it is for ${[...new Set(has)].join(', ')}.`);
}

class ImageCopy {
  readonly #from: Place;
  readonly #to: Place;
  readonly #options: CopyOptions;
  #sent = 0;
  #total = 0;

  constructor(from: Place, to: Place, options: CopyOptions) {
    this.#from = from;
    this.#to = to;
    this.#options = options;
  }

  /** Copies what a manifest needs, then the manifest: registries refuse one whose parts they lack. */
  async copy(manifest: Manifest, tags: readonly string[]): Promise<void> {
    const { signal } = this.#options;
    if (isIndex(manifest)) {
      for (const entry of parseIndex(manifest.bytes)) {
        const image = await this.#from.registry.getManifest(this.#from.repository, entry.digest, signal);
        if (image === undefined)
          throw new DinpError('not-found', `${this.#from.repository} lacks ${entry.digest}, a part of the image.`);
        await this.copy(image, []);
      }
    } else {
      const blobs = readParts(manifest, this.#from);
      await this.#checkPlatform(blobs[0]!);
      await this.#copyBlobs(blobs);
    }
    const { registry, repository } = this.#to;
    const references = tags.length > 0 ? tags : [manifest.digest];
    for (const reference of references) await registry.putManifest(repository, reference, manifest, signal);
  }

  /** An image outside of an index tells its platform only in its config. */
  async #checkPlatform(config: Descriptor): Promise<void> {
    const { platform, signal } = this.#options;
    if (platform === undefined) return;
    const { registry, repository } = this.#from;
    const { architecture } = parseImageConfig(await registry.getBlob(repository, config.digest, undefined, signal));
    if (architecture === platform.split('/')[1]) return;
    throw new DinpError(
      'refused',
      `The image ${repository} is for ${architecture || 'no machine'}, not for ${platform}.`,
    );
  }

  async #copyBlobs(blobs: readonly Descriptor[]): Promise<void> {
    for (const { size } of blobs) this.#total += size;
    await several(blobs, AT_ONCE, this.#options.signal, async (blob, signal) => {
      let sent = 0;
      await copyBlob(this.#from, this.#to, blob, signal, (bytes) => {
        sent += bytes;
        this.#report(bytes);
      });
      this.#report(blob.size - sent);
    });
  }

  #report(bytes: number): void {
    this.#sent += bytes;
    this.#options.onProgress?.(this.#sent, this.#total);
  }
}

function isIndex(manifest: Manifest): boolean {
  return /manifest\.list\.|image\.index\./.test(manifest.mediaType);
}

/** The blobs of an image, config first, each once. @throws DinpError refused for manifests of the first kind and what is none */
function readParts(manifest: Manifest, from: Place): Descriptor[] {
  const json = parseJson(manifest.bytes.toString('utf8')) as { config?: Descriptor; layers?: Descriptor[] } | undefined;
  const { config, layers } = json ?? {};
  const parts = [config, ...(Array.isArray(layers) ? layers : [])];
  if (!parts.every((part): part is Descriptor => typeof part?.digest === 'string' && Number.isSafeInteger(part.size))) {
    throw new DinpError(
      'refused',
      `${from.repository}@${manifest.digest} is a manifest of a kind that cannot be copied (${manifest.mediaType}).`,
    );
  }
  const seen = new Map(parts.map((part) => [part.digest, part]));
  return [...seen.values()].filter((part) => !isForeign(part));
}
