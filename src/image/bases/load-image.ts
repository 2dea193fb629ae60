import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip, createGzip } from 'node:zlib';
import { DinpError } from '../../domain/errors.ts';
import { printable } from '../../domain/names.ts';
import { DOCKER_FORMAT, makeManifest, OCI_FORMAT } from '../image-format.ts';
import { formatImageName, parseImageName } from '../image-name.ts';
import type { Place } from '../registry/copy-blob.ts';
import type { Descriptor, Manifest } from '../registry/registry.ts';
import { parseIndex } from '../registry/registry.ts';
import type { ArchiveFile } from './image-archive.ts';
import { ImageArchive, isGzip } from './image-archive.ts';

export interface LoadOptions {
  /** Which image, where the archive holds several: a name in it, or a digest. */
  image?: string | undefined;
  /** `linux/amd64`. */
  platform: string;
  signal: AbortSignal;
}

/** An image in an archive. */
interface Candidate {
  names: string[];
  digest: string | undefined;
  platform: string | undefined;
  push(to: Place): Promise<Manifest>;
}

interface SavedImage {
  Config: string;
  RepoTags?: string[] | null;
  Layers: string[];
}

/**
 * Puts an image of a tar into a registry: what `docker save` writes (the old layout, and the one with an OCI layout inside), or an OCI
 * layout (image-spec, image-layout.md), gzipped or not. Every digest is checked; no engine is needed.
 * @param to gets the image under the tags
 * @returns the digest of its manifest
 * @throws DinpError refused for a damaged archive, one of another architecture, and several images where none is named; unavailable, canceled
 */
export async function loadImage(
  bytes: AsyncIterable<Uint8Array>,
  to: Place & { tags: readonly string[] },
  options: LoadOptions,
): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'dinp-load-'));
  try {
    const archive = await ImageArchive.read(bytes, folder, options.signal);
    const image = choose(await candidates(archive, folder, options), options);
    const manifest = await image.push(to);
    for (const tag of to.tags) await to.registry.putManifest(to.repository, tag, manifest, options.signal);
    return manifest.digest;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function candidates(archive: ImageArchive, folder: string, options: LoadOptions): Promise<Candidate[]> {
  const index = archive.find('index.json');
  if (index !== undefined && archive.find('oci-layout') !== undefined) {
    const { bytes } = await archive.json(index, 'index.json');
    return indexed(archive, parseIndex(bytes), [], options);
  }
  const saved = archive.find('manifest.json');
  if (saved === undefined) {
    throw new DinpError('refused', 'The archive holds no image: it has neither manifest.json nor index.json.', {
      hint: 'Make one with docker save, podman save or skopeo copy … oci-archive:FILE.',
    });
  }
  const { value } = await archive.json(saved, 'manifest.json');
  if (!Array.isArray(value) || !value.every(isSaved))
    throw new DinpError('refused', 'manifest.json in the archive is not as docker save writes it.');
  return value.map((image) => ({
    names: image.RepoTags ?? [],
    digest: undefined,
    platform: undefined,
    push: (to: Place) => pushSaved(archive, image, to, folder, options),
  }));
}

function isSaved(value: unknown): value is SavedImage {
  const { Config, RepoTags, Layers } = (value ?? {}) as Partial<SavedImage>;
  const strings = (list: unknown): boolean => Array.isArray(list) && list.every((each) => typeof each === 'string');
  return typeof Config === 'string' && strings(Layers) && (RepoTags == null || strings(RepoTags));
}

/** The images of an OCI index and of those inside of it; what is no image for a machine (attestations) is left out. */
async function indexed(
  archive: ImageArchive,
  entries: readonly Descriptor[],
  inherited: string[],
  options: LoadOptions,
): Promise<Candidate[]> {
  const found: Candidate[] = [];
  for (const entry of entries) {
    const { annotations = {} } = entry as { annotations?: Record<string, string> };
    if (annotations['vnd.docker.reference.type'] !== undefined || entry.platform?.os === 'unknown') continue;
    const name = annotations['io.containerd.image.name'] ?? annotations['org.opencontainers.image.ref.name'];
    const names = name === undefined ? inherited : [name];
    if (/image\.index\.|manifest\.list\./.test(entry.mediaType)) {
      const { bytes } = await archive.json(archive.blob(entry.digest), entry.digest);
      const inner = await indexed(archive, parseIndex(bytes), names, options);
      found.push(...inner.filter(({ platform }) => platform === undefined || fitsPlatform(platform, options)));
      if (inner.length > 0 && !found.some((each) => inner.includes(each))) found.push(inner[0]!);
      continue;
    }
    const { os, architecture } = entry.platform ?? {};
    found.push({
      names,
      digest: entry.digest,
      platform: os === undefined ? undefined : `${os}/${architecture}`,
      push: (to) => pushLayout(archive, entry, to, options),
    });
  }
  return found;
}

/** `linux/amd64` fits `linux/amd64/v2`. */
function fitsPlatform(platform: string, options: LoadOptions): boolean {
  return options.platform === platform || options.platform.startsWith(`${platform}/`);
}

function choose(all: readonly Candidate[], options: LoadOptions): Candidate {
  const wanted = options.image;
  const named = wanted === undefined ? all : all.filter((each) => isNamed(each, wanted));
  const fitting = named.filter(({ platform }) => platform === undefined || fitsPlatform(platform, options));
  const some = fitting.length > 0 ? fitting : named;
  if (some.length === 1) return some[0]!;
  const known = all.map(({ names, digest }) => printable(names[0] ?? digest ?? 'one without a name'));
  if (all.length === 0) throw new DinpError('refused', 'The archive holds no image.');
  if (some.length === 0)
    throw new DinpError('refused', `The archive has no image ${printable(wanted ?? '')}.`, {
      hint: `It has: ${known.join(', ')}`,
    });
  throw new DinpError('refused', `The archive holds ${some.length} images: ${known.join(', ')}.`, {
    hint: 'Say which: --image NAME',
  });
}

function isNamed({ names, digest }: Candidate, wanted: string): boolean {
  if (digest === wanted || names.includes(wanted)) return true;
  return names.some((name) => fullName(name) !== undefined && fullName(name) === fullName(wanted));
}

function fullName(name: string): string | undefined {
  try {
    return formatImageName(parseImageName(name));
  } catch {
    return undefined;
  }
}

/** @throws DinpError refused for another architecture than the hosts' */
function checkArchitecture(config: unknown, { platform }: LoadOptions): void {
  const { os = 'linux', architecture } = (config ?? {}) as { os?: string; architecture?: string };
  const [, wanted] = platform.split('/');
  if (os === 'linux' && architecture === wanted) return;
  const is = architecture === undefined ? 'no machine' : `${os}/${architecture}`;
  throw new DinpError('refused', `The image in the archive is for ${printable(is)}; these hosts are ${platform}.`, {
    hint: `Save the one for them: docker pull --platform ${platform} IMAGE && docker save IMAGE`,
  });
}

/** An image of an OCI layout goes into the registry as it is. */
async function pushLayout(
  archive: ImageArchive,
  entry: Descriptor,
  to: Place,
  options: LoadOptions,
): Promise<Manifest> {
  const { bytes, value } = await archive.json(archive.blob(entry.digest), entry.digest);
  const { mediaType, config, layers } = (value ?? {}) as {
    mediaType?: string;
    config?: Descriptor;
    layers?: Descriptor[];
  };
  if (typeof config?.digest !== 'string' || !Array.isArray(layers))
    throw new DinpError('refused', `${entry.digest} in the archive is not the manifest of an image.`);
  const blobs = [config, ...layers].map(({ digest }) => archive.blob(digest));
  checkArchitecture((await archive.json(blobs[0]!, 'the config')).value, options);
  for (const blob of blobs) await to.registry.putBlob(to.repository, blob.digest, blob, options.signal);
  return { digest: entry.digest, mediaType: mediaType ?? entry.mediaType ?? OCI_FORMAT.manifest, bytes };
}

/** An image as docker save writes it: layers are plain tars, which are compressed here. */
async function pushSaved(
  archive: ImageArchive,
  image: SavedImage,
  to: Place,
  folder: string,
  options: LoadOptions,
): Promise<Manifest> {
  const configFile = archive.get(image.Config);
  const [hex] = /[0-9a-f]{64}/.exec(image.Config) ?? [];
  if (hex !== undefined && configFile.digest !== `sha256:${hex}`)
    throw new DinpError(
      'refused',
      `The archive is damaged: ${printable(image.Config)} has other content than its name says.`,
    );
  const { bytes, value } = await archive.json(configFile, image.Config);
  checkArchitecture(value, options);
  const diffIds = (value as { rootfs?: { diff_ids?: unknown } }).rootfs?.diff_ids;
  if (!Array.isArray(diffIds) || diffIds.length !== image.Layers.length)
    throw new DinpError(
      'refused',
      `${printable(image.Config)} in the archive does not list the layers that are there.`,
    );
  const layers: Descriptor[] = [];
  for (const [at, name] of image.Layers.entries()) {
    const layer = await packLayer(archive.get(name), join(folder, `layer-${at}`), options.signal);
    if (layer.diffId !== diffIds[at])
      throw new DinpError(
        'refused',
        `The archive is damaged: ${printable(name)} has other content than its image says.`,
      );
    await to.registry.putBlob(to.repository, layer.packed.digest, layer.packed, options.signal);
    layers.push({ mediaType: DOCKER_FORMAT.layer, digest: layer.packed.digest, size: layer.packed.size });
    await rm(layer.packed.file);
  }
  await to.registry.putBlob(to.repository, configFile.digest, bytes, options.signal);
  return makeManifest(DOCKER_FORMAT, { bytes, digest: configFile.digest }, layers);
}

/** Compresses a layer, unless it is compressed; `diffId` is of what it holds. */
async function packLayer(
  layer: ArchiveFile,
  to: string,
  signal: AbortSignal,
): Promise<{ diffId: string; packed: ArchiveFile }> {
  if (await isGzip(layer.file)) {
    const whole = hashing();
    await pipeline(createReadStream(layer.file), createGunzip(), whole.through, async (bytes) => drain(bytes), {
      signal,
    });
    return { diffId: whole.digest(), packed: layer };
  }
  const packed = hashing();
  await pipeline(createReadStream(layer.file), createGzip({ level: 6 }), packed.through, createWriteStream(to), {
    signal,
  });
  return { diffId: layer.digest, packed: { file: to, size: packed.size(), digest: packed.digest() } };
}

async function drain(bytes: AsyncIterable<unknown>): Promise<void> {
  for await (const _ of bytes);
}

function hashing(): { through: Transform; digest(): string; size(): number } {
  const hash = createHash('sha256');
  let size = 0;
  const through = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      hash.update(chunk);
      size += chunk.length;
      done(null, chunk);
    },
  });
  return { through, digest: () => `sha256:${hash.digest('hex')}`, size: () => size };
}
