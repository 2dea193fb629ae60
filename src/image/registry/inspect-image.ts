import type { StoredConfig } from '../direct/base.ts';
import { HISTORY_MARK } from '../direct/compose.ts';
import { findPlatform } from '../platform.ts';
import { IMAGE_LABEL } from './image-tags.ts';
import type { Descriptor, RegistryClient } from './registry.ts';
import { parseIndex } from './registry.ts';
import { parseJson } from './registry-connection.ts';

/** One layer of an image. */
export interface InspectedLayer {
  digest: string;
  /** Compressed bytes. */
  size: number;
  mediaType: string;
  /** What it holds: `other` is a step of a Dockerfile, or anything in an image that was not built here. */
  holds: 'base' | 'dependencies' | 'application' | 'other';
  /** From the image's history: the step that made it; empty where it does not say. */
  createdBy: string;
}

export interface InspectedImage {
  digest: string;
  mediaType: string;
  layers: InspectedLayer[];
  /** `linux/amd64`. */
  platform: string;
  /** Content key; undefined for an image that was not built here. */
  key: string | undefined;
  /** When it says that it was made; fixed in images that only depend on their content. */
  created: string | undefined;
  labels: Record<string, string>;
}

/**
 * Takes an image of a registry apart without fetching its layers; of an index, the image for that platform.
 * @param reference tag or digest
 * @param platform `linux/amd64`
 * @returns undefined where there is no such image
 * @throws DinpError unavailable, denied, canceled
 */
export async function inspectImage(
  registry: RegistryClient,
  repository: string,
  reference: string,
  platform: string,
  signal?: AbortSignal,
): Promise<InspectedImage | undefined> {
  const manifest = await registry.getManifest(repository, reference, signal);
  if (manifest === undefined) return undefined;
  const json = (parseJson(manifest.bytes.toString('utf8')) ?? {}) as Record<string, unknown>;
  if (json.manifests !== undefined) {
    const entry = findPlatform(parseIndex(manifest.bytes), platform);
    return entry && inspectImage(registry, repository, entry.digest, platform, signal);
  }
  const { config: described, layers } = json as { config?: Descriptor; layers?: Descriptor[] };
  if (described === undefined || !Array.isArray(layers)) return undefined;
  const bytes = await registry.getBlob(repository, described.digest, undefined, signal);
  const config = (parseJson(bytes.toString('utf8')) ?? {}) as Partial<StoredConfig> & { created?: string };
  const labels = (config.config?.Labels ?? {}) as Record<string, string>;
  return {
    digest: manifest.digest,
    mediaType: manifest.mediaType,
    layers: describeLayers(layers, config, labels),
    platform: `${config.os ?? '?'}/${config.architecture ?? '?'}`,
    key: labels[IMAGE_LABEL.key],
    created: config.created,
    labels,
  };
}

function describeLayers(
  layers: readonly Descriptor[],
  config: Partial<StoredConfig>,
  labels: Record<string, string>,
): InspectedLayer[] {
  const steps = (config.history ?? []).filter((step) => step.empty_layer !== true);
  // Only what was laid over a base here says of what base it is by digest, and has our layers on top.
  const laidOver =
    labels[IMAGE_LABEL.key] !== undefined && labels['org.opencontainers.image.base.digest'] !== undefined;
  const own = new Map([...ownSteps(steps.map((step) => step.created_by ?? ''))]);
  return layers.map(({ digest, size, mediaType }, at) => ({
    digest,
    size,
    mediaType,
    holds: laidOver ? (own.get(at) ?? 'base') : 'other',
    createdBy: steps[at]?.created_by ?? '',
  }));
}

/** Our steps at the end of a history, by position; a base that was itself laid over another one has such steps too. */
function* ownSteps(steps: readonly string[]): Generator<[number, 'dependencies' | 'application']> {
  let above: string | undefined;
  for (let at = steps.length - 1; at >= 0; at--) {
    const step = steps[at]!;
    const name = step.startsWith(HISTORY_MARK) ? step.slice(HISTORY_MARK.length) : '';
    if (name !== 'dependencies' && name !== 'application') return;
    if (above === 'dependencies' || name === above) return;
    yield [at, name];
    above = name;
  }
}
