import assert from 'node:assert/strict';
import { it } from 'node:test';
import { CompiledImages } from '../../../src/image/compiled-images.ts';
import { jsonBlob, makeManifest, OCI_FORMAT } from '../../../src/image/image-format.ts';
import { Registries } from '../../../src/image/registry/registries.ts';
import { startRegistry } from '../../support/registry.ts';

const SIGNAL = new AbortController().signal;

it('an image of what was compiled is found as long as its base is what it was', async () => {
  await using server = await startRegistry();
  const registries = new Registries({ own: { address: server.address } });
  const { own } = registries;
  const images = new CompiledImages({ registries, platform: 'linux/amd64' });
  const publish = async (repository: string, tag: string, labels: Record<string, string>): Promise<string> => {
    const config = jsonBlob({ architecture: 'amd64', os: 'linux', config: { Labels: labels } });
    await own.putBlob(repository, config.digest, config.bytes, SIGNAL);
    const manifest = makeManifest(OCI_FORMAT, config, []);
    await own.putManifest(repository, tag, manifest, SIGNAL);
    return manifest.digest;
  };
  const base = await publish('base/static', '1', { made: 'first' });
  const labels = {
    'dinp.image.key': 'content',
    'dinp.image.artifact': 'jar',
    'org.opencontainers.image.base.name': 'base/static:1',
    'org.opencontainers.image.base.digest': base,
  };
  const digest = await publish('shop', 'b1', labels);

  assert.equal(await images.find('shop', 'a'.repeat(64), SIGNAL), undefined);
  await images.remember({ repository: 'shop', digest }, 'a'.repeat(64), SIGNAL);
  assert.deepEqual(await images.find('shop', 'a'.repeat(64), SIGNAL), { contentKey: 'content', artifact: 'jar' });
  assert.equal(await images.find('shop', 'b'.repeat(64), SIGNAL), undefined);
  assert.deepEqual(await own.listTags('shop', SIGNAL), ['b1', `compiled-${'a'.repeat(64)}`]);

  await publish('base/static', '1', { made: 'again' });
  assert.equal(await images.find('shop', 'a'.repeat(64), SIGNAL), undefined);
  await own.deleteManifest('base/static', base, SIGNAL);
  assert.equal(await images.find('shop', 'a'.repeat(64), SIGNAL), undefined);

  const unlabelled = await publish('shop', 'b2', { 'dinp.image.key': 'content' });
  await images.remember({ repository: 'shop', digest: unlabelled }, 'c'.repeat(64), SIGNAL);
  assert.equal(await images.find('shop', 'c'.repeat(64), SIGNAL), undefined);
  await registries.close();
});
