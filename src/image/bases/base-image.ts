import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import type { Pack } from 'tar-stream';
import { pack as newPack } from 'tar-stream';
import type { RegistryClient } from '../registry/registry.ts';
import type { BaseEntry } from './base-recipe.ts';
import { versionVariables } from './base-version.ts';
import type { RootEntry } from './rootfs.ts';

export interface BaseImage {
  name: string;
  entry: BaseEntry;
  /** Docker's name of the architecture. */
  architecture: string;
  files: AsyncIterable<RootEntry>;
  /** Versions of the packages that the files are from, by name: complete when all files have been read. */
  packages: ReadonlyMap<string, string>;
}

/** Of all files and of the image: equal packages give an equal digest. */
const FIXED = new Date(Date.UTC(2001, 0, 1));
const MANIFEST_TYPE = 'application/vnd.docker.distribution.manifest.v2+json';

/**
 * Writes an image of one layer straight into a registry (image-spec, with Docker's media types): no engine is needed.
 * @returns the digest of its manifest
 * @throws DinpError unavailable, canceled, and what the files throw
 */
export async function writeBaseImage(
  registry: RegistryClient,
  repository: string,
  tag: string,
  image: BaseImage,
  signal: AbortSignal,
): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'dinp-layer-'));
  try {
    const file = join(folder, 'layer.tar.gz');
    const layer = await writeLayer(image.files, file, signal);
    await registry.putBlob(repository, layer.digest, { file, size: layer.size }, signal);
    const config = Buffer.from(JSON.stringify(imageConfig(image, layer.diffId)));
    const configDigest = digestOf(config);
    await registry.putBlob(repository, configDigest, config, signal);
    const bytes = Buffer.from(
      JSON.stringify({
        schemaVersion: 2,
        mediaType: MANIFEST_TYPE,
        config: {
          mediaType: 'application/vnd.docker.container.image.v1+json',
          size: config.length,
          digest: configDigest,
        },
        layers: [
          { mediaType: 'application/vnd.docker.image.rootfs.diff.tar.gzip', size: layer.size, digest: layer.digest },
        ],
      }),
    );
    const digest = digestOf(bytes);
    await registry.putManifest(repository, tag, { digest, mediaType: MANIFEST_TYPE, bytes }, signal);
    return digest;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function imageConfig({ name, entry, architecture, packages }: BaseImage, diffId: string): object {
  const path = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
  const env = { PATH: path, ...versionVariables(entry.for, packages), ...entry.env };
  return {
    architecture,
    os: 'linux',
    created: FIXED.toISOString(),
    config: {
      Env: Object.entries(env).map(([key, value]) => `${key}=${value}`),
      ...(entry.cmd === undefined ? {} : { Cmd: entry.cmd }),
      ...(entry.port === undefined ? {} : { ExposedPorts: { [`${entry.port}/tcp`]: {} } }),
      ...(entry.user ? { User: entry.user } : {}),
      WorkingDir: '/',
      Labels: { 'dinp.base': name },
    },
    rootfs: { type: 'layers', diff_ids: [diffId] },
    history: [{ created: FIXED.toISOString(), created_by: `dinp bases build ${name}` }],
  };
}

async function writeLayer(
  files: AsyncIterable<RootEntry>,
  to: string,
  signal: AbortSignal,
): Promise<{ digest: string; diffId: string; size: number }> {
  const pack = newPack();
  const whole = createHash('sha256');
  const packed = createHash('sha256');
  let size = 0;
  const tee = (see: (chunk: Buffer) => void): Transform =>
    new Transform({
      transform(chunk: Buffer, _encoding, done) {
        see(chunk);
        done(null, chunk);
      },
    });
  const written = pipeline(
    pack as unknown as Readable,
    tee((chunk) => whole.update(chunk)),
    createGzip({ level: 6 }),
    tee((chunk) => {
      packed.update(chunk);
      size += chunk.length;
    }),
    createWriteStream(to),
    { signal },
  );
  const filled = fill(pack, files);
  filled.catch((error: Error) => pack.destroy(error));
  // The reason is in the files; the pipeline then only tells that it was cut.
  const [first, second] = await Promise.allSettled([filled, written]);
  if (first.status === 'rejected') throw first.reason;
  if (second.status === 'rejected') throw second.reason;
  return { digest: `sha256:${packed.digest('hex')}`, diffId: `sha256:${whole.digest('hex')}`, size };
}

async function fill(pack: Pack, files: AsyncIterable<RootEntry>): Promise<void> {
  for await (const { path, type, mode, uid, gid, linkname, content } of files) {
    if (path === '') continue;
    const name = type === 'directory' ? `${path}/` : path;
    const head = {
      name,
      type,
      mode,
      uid,
      gid,
      uname: '',
      gname: '',
      mtime: FIXED,
      ...(linkname === '' ? {} : { linkname }),
    };
    if (type !== 'file') await entered(pack, head);
    else if (Buffer.isBuffer(content)) await entered(pack, { ...head, size: content.length }, content);
    else
      await pipeline(
        createReadStream(content.file),
        pack.entry({ ...head, size: content.size }) as unknown as Writable,
      );
  }
  pack.finalize();
}

function entered(pack: Pack, head: Parameters<Pack['entry']>[0], content?: Buffer): Promise<void> {
  return new Promise((resolve, reject) => {
    const done = (error?: Error | null): void => (error ? reject(error) : resolve());
    if (content === undefined) pack.entry(head, done);
    else pack.entry(head, content as Buffer<ArrayBuffer>, done);
  });
}

function digestOf(bytes: Buffer): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}
