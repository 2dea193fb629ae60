import { createHash } from 'node:crypto';
import { gzipSync } from 'node:zlib';
import type { ImageRef } from '../../domain/image-ref.ts';
import { TAR_END, tarHeader, tarPadding } from '../direct/tar-header.ts';
import { DOCKER_FORMAT, FIXED_CREATED, jsonBlob, makeManifest } from '../image-format.ts';
import type { RegistryClient } from './registry.ts';

const REPOSITORY = 'dinp-check';

/**
 * Puts an image of one small file into the registry, to prove that somebody can pull from it.
 * @param mark makes it an image that nobody has yet
 * @throws DinpError unavailable, denied
 */
export async function pushCheckImage(registry: RegistryClient, mark: string, signal?: AbortSignal): Promise<ImageRef> {
  const content = Buffer.from(`${mark}\n`);
  const header = tarHeader({
    ...{ path: 'check', type: 'file', mode: 0o644, uid: 0, gid: 0 },
    ...{ size: content.length, mtime: 0, target: '' },
  });
  const tar = Buffer.concat([header, content, tarPadding(content.length), TAR_END]);
  const layer = gzipSync(tar);
  const layerDigest = digestOf(layer);
  const config = jsonBlob({
    architecture: 'amd64',
    os: 'linux',
    created: FIXED_CREATED,
    config: {},
    rootfs: { type: 'layers', diff_ids: [digestOf(tar)] },
  });
  await registry.putBlob(REPOSITORY, layerDigest, layer, signal);
  await registry.putBlob(REPOSITORY, config.digest, config.bytes, signal);
  const descriptor = { mediaType: DOCKER_FORMAT.layer, digest: layerDigest, size: layer.length };
  const manifest = makeManifest(DOCKER_FORMAT, config, [descriptor]);
  await registry.putManifest(REPOSITORY, manifest.digest, manifest, signal);
  return { repository: `${registry.address}/${REPOSITORY}`, digest: manifest.digest };
}

function digestOf(bytes: Buffer): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}
