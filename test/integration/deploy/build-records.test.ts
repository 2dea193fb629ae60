import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { BuildRecords } from '../../../src/deploy/build-records.ts';
import type { Build } from '../../../src/domain/build.ts';
import type { DinpError } from '../../../src/domain/errors.ts';
import { RECORD_TYPE } from '../../../src/image/registry/record-annotations.ts';
import { Referrers } from '../../../src/image/registry/referrers.ts';
import { Registries } from '../../../src/image/registry/registries.ts';
import { BuildLogs } from '../../../src/store/build-log.ts';
import { openDatabase } from '../../../src/store/database.ts';
import { Store } from '../../../src/store/store.ts';
import { startRegistry, type TestRegistry } from '../../support/registry.ts';
import { tempFolder } from '../../support/temp-folder.ts';

const digestOf = (bytes: Buffer): string => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
const MANIFEST = 'application/vnd.docker.distribution.manifest.v2+json';
const BASE = { name: 'r/base/static:1', digest: `sha256:${'b'.repeat(64)}` };
const never = new AbortController().signal;

describe('records of builds', () => {
  let registry: TestRegistry;
  let registries: Registries;
  let store: Store;
  let logs: BuildLogs;
  let records: BuildRecords;
  let image: { repository: string; digest: string };
  const failures: unknown[] = [];
  before(async () => {
    const folder = tempFolder();
    registry = await startRegistry();
    registries = new Registries({ own: { address: registry.address } });
    store = new Store(openDatabase(join(folder, 'dinp.db')));
    logs = new BuildLogs(join(folder, 'logs'));
    records = newRecords();
    image = { repository: `${registry.address}/shop`, digest: await putImage() };
    store.keys.add({ name: 'me', fingerprint: 'SHA256:abc', publicKey: 'ssh-ed25519 AAAA', role: 'admin', apps: [] });
    store.apps.create('shop');
  });
  after(async () => {
    await registries?.close();
    store?.close();
    await registry?.[Symbol.asyncDispose]();
  });

  function newRecords(server = 'me'): BuildRecords {
    return new BuildRecords({
      store,
      logs,
      registries,
      referrers: new Referrers(registries.own),
      platform: 'linux/amd64',
      server: { id: server, version: '1.2.3' },
      onFailure: (_build, error) => failures.push(error),
    });
  }

  async function putImage(): Promise<string> {
    const labels = {
      'org.opencontainers.image.base.name': BASE.name,
      'org.opencontainers.image.base.digest': BASE.digest,
    };
    const config = Buffer.from(JSON.stringify({ architecture: 'amd64', os: 'linux', config: { Labels: labels } }));
    await registries.own.putBlob('shop', digestOf(config), config);
    const mediaType = 'application/vnd.docker.container.image.v1+json';
    const parts = { config: { mediaType, digest: digestOf(config), size: config.length }, layers: [] };
    const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: MANIFEST, ...parts }));
    await registries.own.putManifest('shop', 'main', { digest: digestOf(bytes), mediaType: MANIFEST, bytes });
    return digestOf(bytes);
  }

  /** A build that is over and made (or reused) the image. */
  function finished(log: string): Build {
    const app = store.apps.find('shop')!;
    const source = { kind: 'commit' as const, sha: 'a'.repeat(40), ref: 'refs/heads/main' };
    const build = store.builds.create({ appId: app.id, source, noCache: false, by: 'me' });
    store.builds.start(build.id);
    store.builds.setStage(build.id, 'checkout');
    store.builds.setStage(build.id, 'build');
    store.images.add({
      buildId: build.id,
      appId: app.id,
      image,
      contentKey: 'k',
      recipe: 'static over static',
      tags: [],
    });
    logs.append(build.id, log);
    logs.end(build.id);
    store.builds.finish(build.id, { state: 'succeeded' });
    return store.builds.get(build.id);
  }

  async function layersOf(build: Build) {
    const list = await new Referrers(registries.own).list('shop', image.digest, RECORD_TYPE);
    const record = list.find(({ annotations }) => annotations?.['dinp.record.build'] === String(build.number))!;
    const manifest = JSON.parse((await registries.own.getManifest('shop', record.digest))!.bytes.toString());
    const layers = manifest.layers as { mediaType: string; digest: string; annotations: Record<string, string> }[];
    const read = ({ digest }: { digest: string }) => registries.own.getBlob('shop', digest);
    return { manifest, layers, contents: await Promise.all(layers.map(read)) };
  }

  it('keeps log and SLSA provenance beside the image, found by the fallback tag', async () => {
    const build = finished('-----> Building\n');
    await records.attach(build);
    const { manifest, layers, contents } = await layersOf(build);
    assert.equal(manifest.artifactType, 'application/vnd.dinp.build.v1+json');
    assert.equal(manifest.subject.digest, image.digest);
    assert.deepEqual(
      layers.map(({ mediaType, annotations }) => [mediaType, annotations['org.opencontainers.image.title']]),
      [
        ['text/plain', 'build-1.log'],
        ['application/vnd.in-toto+json', 'build-1.provenance.json'],
      ],
    );
    assert.equal(contents[0]!.toString(), '-----> Building\n');
    const statement = JSON.parse(contents[1]!.toString());
    assert.equal(statement._type, 'https://in-toto.io/Statement/v1');
    assert.equal(statement.predicateType, 'https://slsa.dev/provenance/v1');
    assert.deepEqual(statement.subject, [{ name: 'shop', digest: { sha256: image.digest.slice(7) } }]);
    const { buildDefinition, runDetails } = statement.predicate;
    assert.deepEqual(buildDefinition.externalParameters.by, { key: 'me', fingerprint: 'SHA256:abc' });
    assert.deepEqual(buildDefinition.internalParameters, { recipe: 'static over static', contentKey: 'k' });
    assert.deepEqual(buildDefinition.resolvedDependencies, [
      { name: 'source', uri: 'git+refs/heads/main', digest: { gitCommit: 'a'.repeat(40) } },
      { name: 'base', uri: `oci:${BASE.name}`, digest: { sha256: 'b'.repeat(64) } },
    ]);
    assert.deepEqual(runDetails.builder, { id: 'urn:dinp:server:me', version: { dinp: '1.2.3' } });
    assert.deepEqual(
      runDetails.metadata.dinp_stages.map(({ stage }: { stage: string }) => stage),
      ['checkout', 'build'],
    );
    assert.equal(runDetails.byproducts[0].digest.sha256, digestOf(contents[0]!).slice(7));
  });

  it('packs a long log, and gives it back whole; the newest of an image is found without a store', async () => {
    const text = 'a line of output\n'.repeat(10_000);
    const build = finished(text);
    await records.attach(build);
    const { layers, contents } = await layersOf(build);
    assert.equal(layers[0]!.mediaType, 'text/plain+gzip');
    assert.equal(gunzipSync(contents[0]!).toString(), text);
    logs.remove(build.id);
    assert.equal((await records.read(build, never)).log.toString(), text);
    const newest = await newRecords('a rebuilt server').readImage('shop:main', never);
    assert.deepEqual([newest.log.toString(), newest.app, newest.build], [text, 'shop', String(build.number)]);
  });

  it('tries again what failed while the registry was away', async () => {
    const build = finished('later\n');
    await registry.stop();
    await records.attach(build);
    assert.match((failures[0] as DinpError).message, /does not answer/);
    assert.equal(store.images.listOfBuild(build.id)[0]!.recorded, false);
    await registry.start();
    await records.attachMissing();
    assert.equal(store.images.listOfBuild(build.id)[0]!.recorded, true);
    assert.equal((await records.read(build, never)).log.toString(), 'later\n');
  });

  it('says what is gone, and what is in another registry', async () => {
    const app = store.apps.find('shop')!;
    const failed = store.builds.create({
      appId: app.id,
      source: { kind: 'image', reference: 'x' },
      noCache: false,
      by: 'me',
    });
    const hint = { code: 'not-found', hint: /made no image/ };
    await assert.rejects(records.read(failed, never), hint);
    await assert.rejects(records.readImage('registry.example.com/x:1', never), { code: 'usage' });
    await assert.rejects(records.readImage('shop:none', never), { code: 'not-found' });
  });
});
