import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { gzipSync } from 'node:zlib';
import { pack } from 'tar-stream';
import type { DinpError } from '../../../src/domain/errors.ts';
import { BaseCatalogue } from '../../../src/image/bases/bases.ts';
import { Registries } from '../../../src/image/registry/registries.ts';
import type { TestRegistry } from '../../support/registry.ts';
import { startRegistry } from '../../support/registry.ts';

const run = promisify(execFile);
const { signal } = new AbortController();
const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');
const id = randomBytes(4).toString('hex');
const NAMES = [`t-load-${id}:one`, `t-load-${id}:two`];
let registry: TestRegistry;
let registries: Registries;
let bases: BaseCatalogue;
let folder: string;
let saved: string;

/** A tar of the files, by name; `-> x` is a symbolic link. */
async function tar(files: Record<string, Buffer | string>): Promise<Buffer> {
  const archive = pack();
  // The same bytes at every moment.
  const mtime = new Date(0);
  for (const [name, content] of Object.entries(files)) {
    const link = typeof content === 'string' && content.startsWith('-> ') ? content.slice(3) : undefined;
    if (link === undefined) archive.entry({ name, mtime }, content as string);
    else archive.entry({ name, type: 'symlink', linkname: link, mtime });
  }
  archive.finalize();
  const chunks: Buffer[] = [];
  for await (const chunk of archive as unknown as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** An OCI layout of one image for each architecture; `more` is added to its files. */
async function layout(
  architectures: readonly string[],
  more: Record<string, Buffer | string> = {},
): Promise<{ bytes: Buffer; digests: string[] }> {
  const files: Record<string, Buffer | string> = { 'oci-layout': '{"imageLayoutVersion":"1.0.0"}' };
  const add = (bytes: Buffer): { digest: string; size: number } => {
    files[`blobs/sha256/${sha256(bytes)}`] = bytes;
    return { digest: `sha256:${sha256(bytes)}`, size: bytes.length };
  };
  const manifests = [];
  for (const architecture of architectures) {
    const inside = await tar({ 'etc/arch': architecture });
    const rootfs = { type: 'layers', diff_ids: [`sha256:${sha256(inside)}`] };
    const config = { architecture, os: 'linux', config: { Cmd: ['/x'] }, rootfs };
    const manifest = {
      schemaVersion: 2,
      mediaType: 'application/vnd.oci.image.manifest.v1+json',
      config: { mediaType: 'application/vnd.oci.image.config.v1+json', ...add(Buffer.from(JSON.stringify(config))) },
      layers: [{ mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip', ...add(gzipSync(inside)) }],
    };
    const descriptor = add(Buffer.from(JSON.stringify(manifest)));
    manifests.push({ mediaType: manifest.mediaType, ...descriptor, platform: { os: 'linux', architecture } });
  }
  files['index.json'] = JSON.stringify({ schemaVersion: 2, manifests });
  return { bytes: await tar({ ...files, ...more }), digests: manifests.map(({ digest }) => digest) };
}

const load = (bytes: Buffer | string, image?: string): Promise<{ digest: string }> =>
  bases.load('base', typeof bytes === 'string' ? createReadStream(bytes) : Readable.from([bytes]), { image, signal });

const refuses = (bytes: Buffer | string, said: RegExp, hint?: RegExp, image?: string): Promise<void> =>
  assert.rejects(load(bytes, image), (error: DinpError) => {
    assert.equal(error.code, 'refused', String(error.stack));
    assert.match(error.message, said);
    if (hint !== undefined) assert.match(error.hint ?? '', hint);
    return true;
  });

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'dinp-load-test-'));
  registry = await startRegistry();
  registries = new Registries({ own: { address: registry.address } });
  const file = join(folder, 'bases.yml');
  await writeFile(file, 'base: {image: base/loaded:1}\n');
  bases = new BaseCatalogue({ registries, file, architecture: 'amd64' });
  for (const name of NAMES) {
    const root = join(folder, 'root.tar');
    await writeFile(root, await tar({ 'etc/name': name, 'etc/big': randomBytes(300_000) }));
    await run('docker', ['import', '--change', 'CMD ["/x"]', root, name]);
  }
  saved = join(folder, 'saved.tar');
  await run('docker', ['save', '-o', saved, ...NAMES]);
});

after(async () => {
  await run('docker', ['rmi', '-f', ...NAMES]);
  await registries?.close();
  await registry?.[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

describe('bases load', () => {
  it('takes what docker save wrote, and asks which of several images', async () => {
    await refuses(saved, /holds 2 images: t-load-\w+:one, t-load-\w+:two\.$/, /--image NAME/);
    await refuses(saved, /has no image t-other/, /It has: t-load/, 't-other');
    const { digest } = await load(saved, NAMES[1]);
    const state = await bases.check('base');
    assert.deepEqual([state.digest, state.problem, state.pinned], [digest, undefined, undefined]);
    const manifest = JSON.parse((await registries.own.getManifest('base/loaded', digest))!.bytes.toString());
    const { stdout } = await run('docker', ['image', 'inspect', '-f', '{{.Id}}', NAMES[1]!]);
    assert.equal(manifest.config.digest, stdout.trim());
    // The engine checks every layer as it pulls.
    const reference = `${registry.address}/base/loaded@${digest}`;
    await run('docker', ['pull', '-q', reference]);
    await run('docker', ['rmi', reference]);
    assert.equal((await load(saved, `docker.io/library/${NAMES[1]}`)).digest, digest);
  });

  it('takes a gzipped one and one whose layers are links', async () => {
    const { stdout } = await run('tar', ['-xOf', saved, 'manifest.json']);
    const [first] = JSON.parse(stdout) as { Config: string; Layers: string[] }[];
    const content = async (name: string): Promise<Buffer> =>
      (await run('tar', ['-xOf', saved, name], { encoding: 'buffer', maxBuffer: 1 << 24 })).stdout;
    const files = {
      [first!.Config]: await content(first!.Config),
      'other/layer.tar': await content(first!.Layers[0]!),
      'aa/layer.tar': '-> ../other/layer.tar',
      'manifest.json': JSON.stringify([{ Config: first!.Config, RepoTags: null, Layers: ['aa/layer.tar'] }]),
    };
    const { digest } = await load(gzipSync(await tar(files)));
    assert.equal((await load(saved, NAMES[0])).digest, digest);
    const damaged = { ...files, 'other/layer.tar': randomBytes(4096) };
    await refuses(await tar(damaged), /damaged: aa\/layer\.tar/);
  });

  it('takes an OCI layout as it is, for these hosts', async () => {
    const one = await layout(['amd64']);
    assert.equal((await load(one.bytes)).digest, one.digests[0]);
    const both = await layout(['arm64', 'amd64'], { 'manifest.json': '[]' });
    assert.equal((await load(gzipSync(both.bytes))).digest, both.digests[1]);
    await refuses((await layout(['arm64'])).bytes, /is for linux\/arm64; these hosts are linux\/amd64/, /--platform/);
  });

  it('refuses an archive that was cut, damaged, or leads out of itself', async () => {
    const { bytes } = await layout(['amd64']);
    await refuses(bytes.subarray(0, 1800), /ends too early/);
    await refuses(gzipSync(bytes).subarray(0, 200), /ends too early/);
    const whole = await readFile(saved);
    await refuses(whole.subarray(0, 200_000), /ends too early/);
    await refuses(Buffer.alloc(0), /is empty/);
    await refuses(randomBytes(5000), /not a tar of images/, /docker save/);
    await refuses(await tar({ 'hello.txt': 'hello' }), /neither manifest\.json nor index\.json/);
    for (const name of ['../evil', 'a/../../evil', '/etc/evil'])
      await refuses((await layout(['amd64'], { [name]: 'evil' })).bytes, /leads out of it/);
    await refuses((await layout(['amd64'], { link: '-> ../../etc/passwd' })).bytes, /leads out of it/);
    const [blob] = Object.values(await blobNames(bytes));
    await refuses((await layout(['amd64'], { [blob!]: 'changed' })).bytes, /damaged: blobs\/sha256/);
  });
});

/** The names of the blobs of an archive. */
async function blobNames(bytes: Buffer): Promise<string[]> {
  const file = join(folder, 'names.tar');
  await writeFile(file, bytes);
  const { stdout } = await run('tar', ['-tf', file]);
  return stdout.split('\n').filter((name) => name.startsWith('blobs/'));
}
