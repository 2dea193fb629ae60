import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { it } from 'node:test';
import { uploadLayer } from '../../../src/image/direct/layer-upload.ts';
import { type LayersPlan, layOut } from '../../../src/image/direct/layout.ts';
import { RegistryClient } from '../../../src/image/registry/registry.ts';
import { memoryTree } from '../../support/memory-tree.ts';
import { startRegistry } from '../../support/registry.ts';

it('a layer that is uploaded tells how much of it has been read so far', async () => {
  await using registry = await startRegistry();
  const client = new RegistryClient({ address: registry.address });
  const tree = memoryTree({ a: randomBytes(3 << 20), b: randomBytes(5 << 20) });
  const files = tree.entries.map(({ path }) => ({ from: path, to: `/app/${path}` }));
  const config = { workdir: undefined, command: undefined, env: {}, port: undefined };
  const plan: LayersPlan = { kind: 'layers', artifact: 'plain', base: 'busybox', files, dependencies: [], ...config };
  const [layout] = layOut(plan, tree);
  const told: number[] = [];
  const place = { registry: client, repository: 't-progress' };
  await uploadLayer(place, tree, layout!, new AbortController().signal, (read) => told.push(read));
  await client.close();
  assert.deepEqual(
    told,
    told.toSorted((a, b) => a - b),
  );
  assert.ok(told.at(-1)! >= layout!.bytes, `${told.at(-1)} of ${layout!.bytes}`);
});
