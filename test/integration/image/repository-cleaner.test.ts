import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { after, before, describe, it } from 'node:test';
import { RECORD_SERVER, RECORD_TYPE } from '../../../src/image/registry/record-annotations.ts';
import { Referrers, referrersTag } from '../../../src/image/registry/referrers.ts';
import { type Manifest, RegistryClient } from '../../../src/image/registry/registry.ts';
import { RepositoryCleaner } from '../../../src/image/registry/repository-cleaner.ts';
import { startRegistry, type TestRegistry } from '../../support/registry.ts';

const digestOf = (bytes: Buffer): string => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
const MANIFEST = 'application/vnd.docker.distribution.manifest.v2+json';
const CONFIG = 'application/vnd.docker.container.image.v1+json';
const LAYER = 'application/vnd.docker.image.rootfs.diff.tar.gzip';

describe('cleaning a repository', () => {
  let registry: TestRegistry;
  let client: RegistryClient;
  let referrers: Referrers;
  let repositories = 0;
  before(async () => {
    registry = await startRegistry();
    client = new RegistryClient({ address: registry.address });
    referrers = new Referrers(client);
  });
  after(async () => {
    await client?.close();
    await registry?.[Symbol.asyncDispose]();
  });

  const fresh = () => `shop${++repositories}`;
  const cleaner = (server = 'me') => new RepositoryCleaner(client, referrers, server);

  /** Puts an image whose layers have these contents. */
  async function put(repository: string, layers: string[], ...tags: string[]): Promise<Manifest> {
    const describeBlob = async (text: string, mediaType: string) => {
      const bytes = Buffer.from(text);
      await client.putBlob(repository, digestOf(bytes), bytes);
      return { mediaType, digest: digestOf(bytes), size: bytes.length };
    };
    const config = await describeBlob(JSON.stringify({ architecture: 'amd64', os: 'linux', layers }), CONFIG);
    const content = {
      schemaVersion: 2,
      mediaType: MANIFEST,
      config,
      layers: await Promise.all(layers.map((layer) => describeBlob(layer, LAYER))),
    };
    const bytes = Buffer.from(JSON.stringify(content));
    const manifest = { digest: digestOf(bytes), mediaType: MANIFEST, bytes };
    for (const tag of tags) await client.putManifest(repository, tag, manifest);
    return manifest;
  }

  async function record(repository: string, subject: Manifest, server: string, log: string) {
    const source = Buffer.from(log);
    const blobs = [{ mediaType: 'text/plain', digest: digestOf(source), size: source.length, source }];
    return await referrers.put(repository, {
      subject,
      artifactType: RECORD_TYPE,
      blobs,
      annotations: { [RECORD_SERVER]: server },
    });
  }

  it('removes an image with its tags, its records and the layers that nothing else has', async () => {
    const shop = fresh();
    const old = await put(shop, ['deps', 'old'], 'a'.repeat(40), 'b1', `key-${'1'.repeat(64)}`);
    const now = await put(shop, ['deps', 'new'], 'b'.repeat(40), 'main', 'b2');
    await put(shop, ['deps'], 'layer-deps');
    await put(shop, ['old'], 'layer-old');
    await put(shop, ['new'], 'layer-new');
    const log = await record(shop, old, 'me', 'the log');
    await record(shop, now, 'me', 'another log');
    const ours = new Set(['a'.repeat(40), 'b1', 'b'.repeat(40), 'main', 'b2']);
    const look = await cleaner().look(shop, [old.digest], [now.digest], ours);
    assert.deepEqual(
      look.layers.map(({ tag }) => tag),
      ['layer-old'],
    );
    const [removal] = look.removals;
    assert.deepEqual(
      {
        ...removal,
        bytes: removal!.bytes! < old.bytes.length + 200 && removal!.bytes! > old.bytes.length + 'old'.length,
      },
      { digest: old.digest, neededBy: undefined, sharedWith: undefined, bytes: true, referrers: [log] },
    );
    await cleaner().remove(shop, removal!);
    for (const { digest } of look.layers) await cleaner().removeLayer(shop, digest);
    assert.deepEqual(
      await client.listTags(shop),
      ['b'.repeat(40), 'b2', 'layer-deps', 'layer-new', 'main', referrersTag(now.digest)].sort(),
    );
    assert.equal(await client.getManifest(shop, old.digest), undefined);
    assert.equal(await client.getManifest(shop, log.digest), undefined);
    assert.equal((await client.getManifest(shop, 'main'))?.digest, now.digest);
    assert.equal((await referrers.list(shop, now.digest, RECORD_TYPE)).length, 1);
    await cleaner().remove(shop, removal!);
  });

  it('leaves what has a tag of somebody else, and what an index holds', async () => {
    const shop = fresh();
    const tagged = await put(shop, ['one'], 'b1', 'v1.0');
    const part = await put(shop, ['two'], 'b2');
    const index = Buffer.from(
      JSON.stringify({
        schemaVersion: 2,
        mediaType: 'application/vnd.docker.distribution.manifest.list.v2+json',
        manifests: [
          {
            mediaType: MANIFEST,
            digest: part.digest,
            size: part.bytes.length,
            platform: { os: 'linux', architecture: 'amd64' },
          },
        ],
      }),
    );
    const mediaType = 'application/vnd.docker.distribution.manifest.list.v2+json';
    await client.putManifest(shop, 'many', { digest: digestOf(index), mediaType, bytes: index });
    const { removals } = await cleaner().look(shop, [tagged.digest, part.digest], [], new Set(['b1', 'b2']));
    assert.deepEqual(
      removals.map(({ neededBy }) => neededBy),
      ['the tag v1.0, which no build of this server set', `the image index ${digestOf(index)}`],
    );
    for (const removal of removals) await cleaner().remove(shop, removal);
    assert.deepEqual(await client.listTags(shop), ['b1', 'b2', 'many', 'v1.0']);
  });

  it('withdraws its record from an image that another server built, too; the other one then removes it', async () => {
    const shop = fresh();
    const image = await put(shop, ['one'], 'b1');
    await record(shop, image, 'me', 'mine');
    await record(shop, image, 'other', 'theirs');
    const [mine] = (await cleaner().look(shop, [image.digest], [], new Set(['b1']))).removals;
    assert.deepEqual([mine!.neededBy, mine!.sharedWith, mine!.referrers.length], [undefined, 'other', 1]);
    await cleaner().remove(shop, mine!);
    assert.ok(await client.getManifest(shop, image.digest));
    const left = await referrers.list(shop, image.digest);
    assert.deepEqual(
      left.map(({ annotations }) => annotations?.[RECORD_SERVER]),
      ['other'],
    );
    const [theirs] = (await cleaner('other').look(shop, [image.digest], [], new Set(['b1']))).removals;
    assert.equal(theirs!.sharedWith, undefined);
    await cleaner('other').remove(shop, theirs!);
    assert.deepEqual(await client.listTags(shop), []);
  });

  it('tells whether manifests can be deleted at all', async () => {
    const shop = fresh();
    await put(shop, ['one'], 'b1');
    assert.equal(await cleaner().canDelete(shop), true);
    await using other = await startRegistry({ keepsAll: true });
    const there = new RegistryClient({ address: other.address });
    assert.equal(await new RepositoryCleaner(there, new Referrers(there), 'me').canDelete(shop), false);
    await there.close();
  });
});
