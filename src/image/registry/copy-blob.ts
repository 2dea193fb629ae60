import type { Descriptor, RegistryClient } from './registry.ts';
import { retryBroken } from './retry.ts';

/** A repository of a registry. */
export interface Place {
  registry: RegistryClient;
  repository: string;
}

/** How a blob came to where it was wanted. */
export type Way = 'there' | 'mounted' | 'copied';

/**
 * Sees to it that a repository holds a blob of another one: looks whether it does, mounts it within one registry, else copies its bytes as
 * they are, checked against its digest. A copy that breaks off is begun again twice.
 * @param onBytes told how many bytes more have been sent
 * @throws DinpError not-found where the other does not hold it, unavailable, denied, canceled
 */
export async function copyBlob(
  from: Place,
  to: Place,
  blob: Descriptor,
  signal?: AbortSignal,
  onBytes: (bytes: number) => void = () => {},
): Promise<Way> {
  if (await to.registry.hasBlob(to.repository, blob.digest, signal)) return 'there';
  if (from.registry.address === to.registry.address) {
    if (await to.registry.mountBlob(to.repository, blob.digest, from.repository, signal)) return 'mounted';
  }
  await retryBroken(async () => {
    const { stream } = await from.registry.openBlob(from.repository, blob.digest, signal);
    const source = { stream: counted(stream, onBytes), size: blob.size };
    await to.registry.putBlob(to.repository, blob.digest, source, signal);
  }, signal);
  return 'copied';
}

async function* counted(bytes: AsyncIterable<Buffer>, onBytes: (bytes: number) => void): AsyncGenerator<Buffer> {
  for await (const chunk of bytes) {
    onBytes(chunk.length);
    yield chunk;
  }
}

/** Whether a layer is one that registries do not hold: it is fetched from addresses of its own. */
export function isForeign(layer: Descriptor): boolean {
  return (layer.urls?.length ?? 0) > 0 && /foreign|nondistributable/.test(layer.mediaType);
}
