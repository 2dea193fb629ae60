import assert from 'node:assert/strict';
import { test } from 'node:test';
import { planCompiled } from '../../../src/artifact/plan-deploy.ts';
import { planProcesses } from '../../../src/artifact/processes.ts';
import { BASES } from '../../support/base-facts.ts';
import { memoryTree } from './memory-tree.ts';

const MIB = 2 ** 20;

function memoryOf(artifact: string | undefined, memory?: number): number[] {
  const manifest = { memory, processes: { web: {}, worker: { command: ['./work'], memory: 64 * MIB } } };
  return planProcesses({ manifest }, { artifact, imageStarts: true }).processes.map((each) => each.memoryBytes / MIB);
}

test('what runs on Java gets more memory, unless dinp.yml says how much', () => {
  assert.deepEqual(memoryOf('war'), [512, 64]);
  assert.deepEqual(memoryOf('jar'), [512, 64]);
  assert.deepEqual(memoryOf('node'), [256, 64]);
  assert.deepEqual(memoryOf(undefined), [256, 64]);
  assert.deepEqual(memoryOf('war', 128 * MIB), [128, 64]);
});

test('an image that was compiled before gets as much as when it was new', async () => {
  const tree = memoryTree({ 'dinp.yml': 'builder: {image: maven}\nscripts: {build: [mvn package]}\n' });
  const options = { app: 'shop', hostArch: 'amd64', bases: BASES, scope: new AsyncDisposableStack() };
  const plan = await planCompiled(tree, { kind: 'kept', contentKey: 'k', artifact: 'jar' }, options);
  assert.equal(plan.services[0]!.processes[0]!.memoryBytes, 512 * MIB);
});
