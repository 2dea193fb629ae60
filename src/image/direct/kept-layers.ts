import type { ImageFormat } from '../image-format.ts';
import { FIXED_CREATED, jsonBlob, makeManifest } from '../image-format.ts';
import type { Place } from '../registry/copy-blob.ts';
import type { Descriptor } from '../registry/registry.ts';
import { parseJson } from '../registry/registry-connection.ts';
import type { Layer } from './layer-upload.ts';
import type { Layout } from './layout.ts';

const DIGEST = /^sha256:[0-9a-f]{64}$/;

/*
 * Beside the images, the registry keeps for each of our layers a tag `layer-<key>`: an image of that layer alone, over nothing. It is an
 * image like any other for every registry, keeps the blob from being cleaned away, and tells any server that shares the registry which blob the
 * files of that key have become, so that an unchanged layer is neither read nor compressed again.
 */

/** Finds the layer of those files, if the repository has it. @throws DinpError unavailable, denied, canceled */
export async function findLayer(place: Place, layout: Layout, signal: AbortSignal): Promise<Layer | undefined> {
  const { registry, repository } = place;
  const manifest = await registry.getManifest(repository, tagOf(layout), signal);
  if (manifest === undefined) return undefined;
  const json = parseJson(manifest.bytes.toString('utf8')) as { config?: Descriptor; layers?: Descriptor[] } | undefined;
  const layer = Array.isArray(json?.layers) && json.layers.length === 1 ? json.layers[0] : undefined;
  const config = json?.config?.digest;
  if (layer === undefined || !DIGEST.test(layer.digest) || !Number.isSafeInteger(layer.size)) return undefined;
  if (config === undefined || !DIGEST.test(config)) return undefined;
  // What the tag says is believed only as far as the blobs are there: they may have been cleaned away from under it.
  const [there, known] = await Promise.all([
    registry.hasBlob(repository, layer.digest, signal),
    registry.hasBlob(repository, config, signal),
  ]);
  if (!there || !known) return undefined;
  const text = (await registry.getBlob(repository, config, undefined, signal)).toString('utf8');
  const diffId = (parseJson(text) as { rootfs?: { diff_ids?: unknown[] } } | undefined)?.rootfs?.diff_ids?.[0];
  if (typeof diffId !== 'string' || !DIGEST.test(diffId)) return undefined;
  return { digest: layer.digest, size: layer.size, diffId };
}

/** Writes down which layer those files have become. @throws DinpError unavailable, denied, canceled */
export async function keepLayer(
  place: Place,
  layout: Layout,
  layer: Layer,
  kind: { format: ImageFormat; platform: string },
  signal: AbortSignal,
): Promise<void> {
  const { registry, repository } = place;
  const [os, architecture] = kind.platform.split('/');
  const config = jsonBlob({
    architecture,
    os,
    created: FIXED_CREATED,
    config: {},
    rootfs: { type: 'layers', diff_ids: [layer.diffId] },
    history: [{ created: FIXED_CREATED, created_by: `dinp layer ${layout.name}` }],
  });
  await registry.putBlob(repository, config.digest, config.bytes, signal);
  const { digest, size } = layer;
  const manifest = makeManifest(kind.format, config, [{ mediaType: kind.format.layer, digest, size }]);
  await registry.putManifest(repository, tagOf(layout), manifest, signal);
}

function tagOf(layout: Layout): string {
  return `layer-${layout.key}`;
}
