import { DinpError } from '../../domain/errors.ts';
import type { ImageFormat } from '../image-format.ts';
import { DOCKER_FORMAT, OCI_FORMAT } from '../image-format.ts';
import { findPlatform } from '../platform.ts';
import type { Place } from '../registry/copy-blob.ts';
import type { Descriptor } from '../registry/registry.ts';
import { parseIndex } from '../registry/registry.ts';
import { parseJson } from '../registry/registry-connection.ts';

/** An image's config as it is stored (image-spec, config.md); other keys are carried along. */
export interface StoredConfig {
  architecture?: string;
  os?: string;
  config?: Record<string, unknown> | null;
  rootfs: { type: string; diff_ids: string[] };
  history?: StoredHistory[] | null;
  [key: string]: unknown;
}

export interface StoredHistory {
  created?: string;
  created_by?: string;
  comment?: string;
  empty_layer?: boolean;
}

/** An image that ours are laid over. */
export interface Base {
  place: Place;
  /** Of the manifest, which for a base of many platforms is not what its tag stands for. */
  digest: string;
  format: ImageFormat;
  layers: Descriptor[];
  config: StoredConfig;
}

/**
 * Reads the manifest and config of a base; of an index, of the image for the platform.
 * @throws DinpError refused where it is none that can be built on, unavailable, canceled
 */
export async function readBase(place: Place, digest: string, platform: string, signal: AbortSignal): Promise<Base> {
  const { registry, repository } = place;
  const name = `${registry.address}/${repository}@${digest}`;
  const refuse = (why: string): DinpError => new DinpError('refused', `The base ${name} cannot be built on: ${why}.`);
  const manifest = await registry.getManifest(repository, digest, signal);
  if (manifest === undefined) throw refuse('it is not in the registry any more');
  const json = parseJson(manifest.bytes.toString('utf8')) as Record<string, unknown> | undefined;
  if (json?.manifests !== undefined) {
    const entry = findPlatform(parseIndex(manifest.bytes), platform);
    if (entry === undefined) throw refuse(`it is not for ${platform}`);
    return readBase(place, entry.digest, platform, signal);
  }
  const { config: described, layers } = (json ?? {}) as { config?: Descriptor; layers?: Descriptor[] };
  if (typeof described?.digest !== 'string' || !Array.isArray(layers))
    throw refuse(`its manifest is of an old kind (${manifest.mediaType}); push it again with a newer Docker`);
  const text = (await registry.getBlob(repository, described.digest, undefined, signal)).toString('utf8');
  const config = parseJson(text) as StoredConfig | undefined;
  if (!Array.isArray(config?.rootfs?.diff_ids) || config.rootfs.diff_ids.length !== layers.length)
    throw refuse('its config does not fit its layers');
  const format = manifest.mediaType === OCI_FORMAT.manifest ? OCI_FORMAT : DOCKER_FORMAT;
  return { place, digest: manifest.digest, format, layers, config };
}
