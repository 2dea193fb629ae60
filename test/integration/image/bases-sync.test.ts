import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { DinpError } from '../../../src/domain/errors.ts';
import { BaseCatalogue } from '../../../src/image/bases/bases.ts';
import { DOCKER_FORMAT, jsonBlob, makeManifest } from '../../../src/image/image-format.ts';
import { Registries } from '../../../src/image/registry/registries.ts';
import type { Manifest } from '../../../src/image/registry/registry.ts';
import { RegistryClient } from '../../../src/image/registry/registry.ts';
import type { TestRegistry } from '../../support/registry.ts';
import { startRegistry } from '../../support/registry.ts';

const INDEX = 'application/vnd.oci.image.index.v1+json';
const { signal } = new AbortController();
let hub: TestRegistry;
let own: TestRegistry;
let client: RegistryClient;
let ours: RegistryClient;
let registries: Registries;
let folder: string;

/** Puts an image of one layer into a registry. */
async function push(to: RegistryClient, repository: string, tag: string, architecture = 'amd64'): Promise<Manifest> {
  const layer = Buffer.from(`layer of ${repository}:${tag} for ${architecture}`);
  const digest = `sha256:${createHash('sha256').update(layer).digest('hex')}`;
  const config = jsonBlob({ architecture, os: 'linux', config: {}, rootfs: { type: 'layers', diff_ids: [digest] } });
  const manifest = makeManifest(DOCKER_FORMAT, config, [
    { mediaType: DOCKER_FORMAT.layer, digest, size: layer.length },
  ]);
  await to.putBlob(repository, digest, layer);
  await to.putBlob(repository, config.digest, config.bytes);
  await to.putManifest(repository, tag, manifest);
  return manifest;
}

/** Puts an index of two images into a registry. */
async function pushIndex(repository: string, tag: string): Promise<{ index: Manifest; amd64: Manifest }> {
  const images = {
    arm64: await push(client, repository, `${tag}-arm64`, 'arm64'),
    amd64: await push(client, repository, `${tag}-amd64`, 'amd64'),
  };
  const manifests = Object.entries(images).map(([architecture, { digest, mediaType, bytes }]) => {
    return { digest, mediaType, size: bytes.length, platform: { os: 'linux', architecture } };
  });
  const { bytes, digest } = jsonBlob({ schemaVersion: 2, mediaType: INDEX, manifests });
  const index = { bytes, digest, mediaType: INDEX };
  await client.putManifest(repository, tag, index);
  return { index, amd64: images.amd64 };
}

async function catalogue(text: string, mirrors?: Record<string, string>): Promise<BaseCatalogue> {
  const file = join(folder, `${createHash('sha256').update(text).digest('hex')}.yml`);
  await writeFile(file, text);
  return new BaseCatalogue({ registries, file, architecture: 'amd64', mirrors });
}

before(async () => {
  [hub, own, folder] = await Promise.all([startRegistry(), startRegistry(), mkdtemp(join(tmpdir(), 'dinp-sync-'))]);
  client = new RegistryClient({ address: hub.address });
  ours = new RegistryClient({ address: own.address });
  registries = new Registries({ own: { address: own.address } });
});

after(async () => {
  await Promise.all([client?.close(), ours?.close(), registries?.close()]);
  await hub?.[Symbol.asyncDispose]();
  await own?.[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

describe('bases sync', () => {
  it('copies an image as it is, and tells when someone pushes another one over it', async () => {
    const { digest } = await push(client, 'library/thing', '1');
    const bases = await catalogue(`thing: {image: base/thing:1, from: "${hub.address}/library/thing:1"}`);
    const missing = await bases.check('thing');
    assert.deepEqual(missing.remedies, ['bases sync thing', 'bases load thing FILE']);
    const sent: number[] = [];
    const synced = await bases.sync('thing', { signal, onProgress: (bytes) => sent.push(bytes) });
    assert.deepEqual(synced, { digest, from: `${hub.address}/library/thing:1` });
    assert.ok(sent.at(-1)! > 0);
    const ready = await bases.check('thing');
    assert.deepEqual([ready.digest, ready.problem, ready.pinned, ready.remedies], [digest, undefined, undefined, []]);
    const other = await push(ours, 'base/thing', '1');
    const changed = await bases.check('thing');
    assert.deepEqual([changed.digest, changed.problem, changed.pinned], [other.digest, undefined, digest]);
    assert.deepEqual(changed.remedies, ['bases sync thing', 'bases load thing FILE']);
    await bases.sync('thing', { signal });
    assert.equal((await bases.check('thing')).pinned, undefined);
  });

  it('takes the image for these hosts out of an index, or the whole index', async () => {
    const { index, amd64 } = await pushIndex('multi', '2');
    const bases = await catalogue(`multi: {image: base/multi:2, from: "${hub.address}/multi:2"}`);
    assert.equal((await bases.sync('multi', { signal })).digest, amd64.digest);
    assert.equal((await bases.check('multi')).problem, undefined);
    assert.equal((await bases.sync('multi', { signal, allPlatforms: true })).digest, index.digest);
    assert.equal((await bases.check('multi')).problem, undefined);
    assert.equal((await ours.getManifest('base/multi', index.digest))?.bytes.equals(index.bytes), true);
  });

  it('refuses an image for other machines', async () => {
    await push(client, 'arm', '1', 'arm64');
    const bases = await catalogue(`arm: {image: base/arm:1, from: "${hub.address}/arm:1"}`);
    await assert.rejects(
      bases.sync('arm', { signal }),
      (error: DinpError) => error.code === 'refused' && /arm64/.test(error.message),
    );
    assert.equal((await bases.check('arm')).digest, undefined);
  });

  it('fetches from the mirror of a hub', async () => {
    const { digest } = await push(client, 'hub/library/mirrored', '3');
    const text = 'mirrored: {image: base/mirrored:3, from: "docker.io/library/mirrored:3"}';
    const bases = await catalogue(text, { 'docker.io': `${hub.address}/hub` });
    assert.equal((await bases.sync('mirrored', { signal })).digest, digest);
  });

  it('says what to do where the hub cannot be reached, lacks the image, or is not named', async () => {
    const bases = await catalogue(
      'far: {image: base/far:1, from: "127.0.0.1:9/far:1"}\n' +
        `gone: {image: base/gone:1, from: "${hub.address}/gone:1"}\nlocal: {image: base/local:1}\n`,
    );
    await assert.rejects(
      bases.sync('far', { signal }),
      (error: DinpError) =>
        error.code === 'unavailable' &&
        /^127\.0\.0\.1:9\/far:1 cannot be copied/.test(error.message) &&
        error.hint === 'Where this machine reaches no hub: dinp bases load far FILE',
    );
    await assert.rejects(bases.sync('gone', { signal }), (error: DinpError) => error.code === 'not-found');
    await assert.rejects(
      bases.sync('local', { signal }),
      (error: DinpError) => error.code === 'refused' && error.hint === 'dinp bases load local FILE',
    );
  });
});

describe('which bases can be used', () => {
  it('are those that the registry has, and those that can be built here', async () => {
    await push(client, 'library/used', '1');
    const bases = await catalogue(
      `used: {image: base/used:1, from: "${hub.address}/library/used:1", for: jar, version: 99}\nabsent: {image: base/absent:1}\n` +
        'impossible: {image: base/impossible:1, build: {method: extract, packages: [there-is-no-such-package]}}\n',
    );
    const usable = async (): Promise<(boolean | undefined)[]> => {
      const facts = await bases.usableBases();
      return ['used', 'absent', 'static', 'impossible'].map((name) => facts.get(name)?.usable);
    };
    assert.deepEqual(await usable(), [false, false, true, false]);
    await bases.sync('used', { signal });
    assert.deepEqual(await usable(), [true, false, true, false]);
    assert.deepEqual((await bases.usableBases()).get('used')?.version, '99');
    await own.stop();
    try {
      const other = new BaseCatalogue({ registries, architecture: 'amd64' });
      const facts = await other.usableBases();
      assert.deepEqual([facts.get('static')?.usable, facts.get('jre8')?.usable], [true, false]);
    } finally {
      await own.start();
    }
  });
});
