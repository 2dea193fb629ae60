import type { Descriptor, Manifest } from './registry.ts';
import { parseIndex } from './registry.ts';
import { parseJson } from './registry-connection.ts';

/** What a manifest needs: blobs of an image, or manifests of an index. What cannot be read needs nothing. */
export function partsOf(manifest: Manifest): { blobs: Descriptor[]; layers: Descriptor[]; manifests: Descriptor[] } {
  const json = parseJson(manifest.bytes.toString('utf8')) as { config?: unknown; layers?: unknown } | undefined;
  const layers = Array.isArray(json?.layers) ? json.layers.filter(isDescriptor) : [];
  const config = isDescriptor(json?.config) ? [json.config] : [];
  return { blobs: [...config, ...layers], layers, manifests: parseIndex(manifest.bytes) };
}

function isDescriptor(value: unknown): value is Descriptor {
  const each = value as Partial<Descriptor> | null | undefined;
  return typeof each?.digest === 'string' && Number.isSafeInteger(each.size);
}
