import { createHash } from 'node:crypto';
import type { Descriptor, Manifest } from './registry/registry.ts';

/** The media types of one family. Docker's and OCI's mean the same, but some tools refuse an image that mixes them. */
export interface ImageFormat {
  manifest: string;
  config: string;
  /** Of a tar layer compressed with gzip. */
  layer: string;
}

export const DOCKER_FORMAT: ImageFormat = {
  manifest: 'application/vnd.docker.distribution.manifest.v2+json',
  config: 'application/vnd.docker.container.image.v1+json',
  layer: 'application/vnd.docker.image.rootfs.diff.tar.gzip',
};

export const OCI_FORMAT: ImageFormat = {
  manifest: 'application/vnd.oci.image.manifest.v1+json',
  config: 'application/vnd.oci.image.config.v1+json',
  layer: 'application/vnd.oci.image.layer.v1.tar+gzip',
};

/** The time of all that has one in our images, so that equal content gives equal digests. */
export const FIXED_CREATED = '2001-01-01T00:00:00Z';

/** A blob of JSON. */
export interface JsonBlob {
  bytes: Buffer;
  digest: string;
}

export function jsonBlob(value: unknown): JsonBlob {
  const bytes = Buffer.from(JSON.stringify(value));
  return { bytes, digest: `sha256:${createHash('sha256').update(bytes).digest('hex')}` };
}

/** The manifest of an image. */
export function makeManifest(format: ImageFormat, config: JsonBlob, layers: readonly Descriptor[]): Manifest {
  const { bytes, digest } = jsonBlob({
    schemaVersion: 2,
    mediaType: format.manifest,
    config: { mediaType: format.config, digest: config.digest, size: config.bytes.length },
    layers,
  });
  return { digest, mediaType: format.manifest, bytes };
}
