import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { copyImage } from '../../../src/image/registry/copy-image.ts';
import { Referrers } from '../../../src/image/registry/referrers.ts';
import { RegistryClient } from '../../../src/image/registry/registry.ts';
import type { TestRegistry } from '../../support/registry.ts';
import { startRegistry } from '../../support/registry.ts';

const digestOf = (bytes: Buffer): string => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
const OCI = 'application/vnd.oci.image.manifest.v1+json';
const INDEX = 'application/vnd.oci.image.index.v1+json';

/** Uploads an image with one layer of random bytes, under its digest. */
async function upload(client: RegistryClient, repository: string, architecture = 'amd64', size = 300_000) {
  const layer = randomBytes(size);
  const config = Buffer.from(JSON.stringify({ architecture, os: 'linux', rootfs: { type: 'layers', diff_ids: [] } }));
  for (const blob of [layer, config]) await client.putBlob(repository, digestOf(blob), blob);
  const describe = (mediaType: string, blob: Buffer) => ({ mediaType, digest: digestOf(blob), size: blob.length });
  const bytes = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: OCI,
      config: describe('application/vnd.oci.image.config.v1+json', config),
      layers: [describe('application/vnd.oci.image.layer.v1.tar+gzip', layer)],
    }),
  );
  const manifest = { digest: digestOf(bytes), mediaType: OCI, bytes };
  await client.putManifest(repository, manifest.digest, manifest);
  return { manifest, layer, config };
}

/** Where docker-registry keeps a blob. */
function blobPath(registry: TestRegistry, digest: string): string {
  const hex = digest.slice('sha256:'.length);
  return join(registry.root, 'docker/registry/v2/blobs/sha256', hex.slice(0, 2), hex, 'data');
}

describe('copying images', () => {
  let registry: TestRegistry;
  let other: TestRegistry;
  let client: RegistryClient;
  let far: RegistryClient;
  before(async () => {
    [registry, other] = await Promise.all([startRegistry(), startRegistry()]);
    client = new RegistryClient({ address: registry.address });
    far = new RegistryClient({ address: other.address });
  });
  after(async () => {
    await Promise.all([client?.close(), far?.close()]);
    await Promise.all([registry?.[Symbol.asyncDispose](), other?.[Symbol.asyncDispose]()]);
  });

  it('keeps the digest from registry to registry, and tells how far it is', async () => {
    const { manifest, layer } = await upload(far, 'vendor/db', 'amd64', 3_000_000);
    const seen: number[] = [];
    const digest = await copyImage(
      { registry: far, repository: 'vendor/db', reference: manifest.digest },
      { registry: client, repository: 'copies/db', tags: ['one', 'two'] },
      { platform: 'linux/amd64', onProgress: (sent, total) => seen.push(sent / total) },
    );
    assert.equal(digest, manifest.digest);
    assert.deepEqual((await client.getManifest('copies/db', 'two'))?.bytes, manifest.bytes);
    assert.deepEqual(await client.getBlob('copies/db', digestOf(layer)), layer);
    assert.equal(seen.at(-1), 1);
    assert.ok(seen.length > 3 && seen.every((each, at) => at === 0 || each >= seen[at - 1]!));
  });

  it('takes all of an index, or the image for one platform', async () => {
    const amd = await upload(far, 'many', 'amd64');
    const arm = await upload(far, 'many', 'arm64');
    const manifests = [
      {
        mediaType: OCI,
        digest: arm.manifest.digest,
        size: arm.manifest.bytes.length,
        platform: { os: 'linux', architecture: 'arm64', variant: 'v8' },
      },
      {
        mediaType: OCI,
        digest: amd.manifest.digest,
        size: amd.manifest.bytes.length,
        platform: { os: 'linux', architecture: 'amd64' },
      },
    ];
    const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: INDEX, manifests }));
    await far.putManifest('many', 'latest', { digest: digestOf(bytes), mediaType: INDEX, bytes });
    const from = { registry: far, repository: 'many', reference: 'latest' };
    const one = await copyImage(
      from,
      { registry: client, repository: 'one', tags: ['x'] },
      { platform: 'linux/amd64' },
    );
    assert.equal(one, amd.manifest.digest);
    assert.equal(await client.hasBlob('one', digestOf(arm.layer)), false);
    const all = await copyImage(from, { registry: client, repository: 'all', tags: ['x'] });
    assert.equal(all, digestOf(bytes));
    assert.deepEqual((await client.getManifest('all', 'x'))?.bytes, bytes);
    assert.deepEqual(await client.getBlob('all', digestOf(arm.layer)), arm.layer);
    await assert.rejects(
      copyImage(from, { registry: client, repository: 'no', tags: [] }, { platform: 'linux/s390x' }),
      {
        code: 'refused',
        message: /is not for linux\/s390x; it is for linux\/arm64, linux\/amd64/,
      },
    );
  });

  it('refuses an image for another machine, and one that is not there', async () => {
    const { manifest } = await upload(far, 'arm', 'arm64');
    const to = { registry: client, repository: 'arm', tags: ['x'] };
    await assert.rejects(
      copyImage({ registry: far, repository: 'arm', reference: manifest.digest }, to, { platform: 'linux/amd64' }),
      { code: 'refused', message: /for arm64, not for linux\/amd64/ },
    );
    await assert.rejects(copyImage({ registry: far, repository: 'arm', reference: 'nix' }, to), { code: 'not-found' });
  });

  it('mounts within a registry', async () => {
    const { manifest, layer } = await upload(client, 'base/mounted');
    assert.equal(await client.mountBlob('app/mounted', digestOf(layer), 'base/mounted'), true);
    assert.equal(await client.mountBlob('app/mounted', digestOf(Buffer.from('none')), 'base/mounted'), false);
    assert.equal(await client.mountBlob('app/mounted', digestOf(layer), 'no/such'), false);
    const digest = await copyImage(
      { registry: client, repository: 'base/mounted', reference: manifest.digest },
      { registry: client, repository: 'app/mounted', tags: ['v1'] },
    );
    assert.equal((await client.findManifest('app/mounted', 'v1'))?.digest, digest);
  });

  it('does not take over what a registry gives under a wrong digest', async () => {
    const { manifest, layer } = await upload(far, 'spoiled');
    await writeFile(blobPath(other, digestOf(layer)), randomBytes(layer.length));
    const from = { registry: far, repository: 'spoiled', reference: manifest.digest };
    await assert.rejects(copyImage(from, { registry: client, repository: 'spoiled', tags: ['x'] }));
    assert.equal(await client.findManifest('spoiled', 'x'), undefined);
    await rm(blobPath(other, digestOf(layer)));
    await assert.rejects(copyImage(from, { registry: client, repository: 'spoiled', tags: ['x'] }));
  });

  it('uploads what is only known at its end, and leaves nothing of what failed', async () => {
    const bytes = randomBytes(5_000_000);
    const pieces = async function* () {
      for (let at = 0; at < bytes.length; at += 700_000) yield bytes.subarray(at, at + 700_000);
    };
    await client.uploadBlob('streamed', pieces(), () => digestOf(bytes));
    assert.deepEqual(await client.getBlob('streamed', digestOf(bytes), 6_000_000), bytes);
    await assert.rejects(
      client.uploadBlob('streamed', pieces(), () => digestOf(Buffer.from('other'))),
      {
        code: 'unavailable',
      },
    );
    const failing = async function* () {
      yield bytes;
      throw new Error('the source broke');
    };
    await assert.rejects(
      client.uploadBlob('streamed', failing(), () => ''),
      /the source broke/,
    );
    const { stream, size } = await client.openBlob('streamed', digestOf(bytes));
    assert.equal(size, bytes.length);
    assert.deepEqual(Buffer.concat(await Array.fromAsync(stream)), bytes);
    await assert.rejects(client.openBlob('streamed', digestOf(Buffer.from('none'))), { code: 'not-found' });
  });

  it('keeps things beside an image in a registry without referrers', async () => {
    const { manifest } = await upload(client, 'logged');
    const referrers = new Referrers(client);
    const put = (text: string, artifactType = 'application/vnd.test.log') => {
      const source = Buffer.from(text);
      const blob = { mediaType: 'text/plain', digest: digestOf(source), size: source.length, source };
      return referrers.put('logged', { subject: manifest, artifactType, blobs: [blob], annotations: { text } });
    };
    assert.deepEqual(await referrers.list('logged', manifest.digest), []);
    const [one] = await Promise.all([put('one'), put('two'), put('three', 'application/vnd.test.other'), put('one')]);
    const found = await referrers.list('logged', manifest.digest, 'application/vnd.test.log');
    assert.deepEqual(found.map(({ annotations }) => annotations?.text).sort(), ['one', 'two']);
    assert.equal((await referrers.list('logged', manifest.digest)).length, 3);
    const kept = JSON.parse((await client.getManifest('logged', one!.digest))!.bytes.toString());
    assert.equal(kept.subject.digest, manifest.digest);
    assert.deepEqual((await client.getBlob('logged', kept.layers[0].digest)).toString(), 'one');
  });
});
