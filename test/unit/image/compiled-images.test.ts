import assert from 'node:assert/strict';
import { it } from 'node:test';
import type { CompilePlan } from '../../../src/domain/compile-plan.ts';
import { CompiledImages } from '../../../src/image/compiled-images.ts';
import { Registries } from '../../../src/image/registry/registries.ts';

const PLAN: CompilePlan = {
  image: 'maven:3',
  workdir: '/src',
  sources: '.',
  dir: '.',
  commands: [{ script: 'scripts.build', line: 'mvn package' }],
  output: 'target',
  env: { A: '1', B: '2' },
  watch: ['1234'],
  packaging: '{}',
  timeoutMs: undefined,
  repository: undefined,
};

it('a compile key stands for sources, commands, toolchain and platform, and for nothing else', () => {
  const registries = new Registries({ own: { address: '127.0.0.1:5000' } });
  const images = new CompiledImages({ registries, platform: 'linux/amd64' });
  const key = images.keyOf(PLAN, 'sha256:aa');
  assert.match(key, /^[0-9a-f]{64}$/);
  assert.equal(
    images.keyOf({ ...PLAN, env: { B: '2', A: '1' }, timeoutMs: 5, repository: 'shop/web' }, 'sha256:aa'),
    key,
  );
  const others: Partial<CompilePlan>[] = [
    { workdir: '/work' },
    { commands: [{ script: 'scripts.test', line: 'mvn package' }] },
    { commands: [] },
    { output: '.' },
    { env: { A: '1' } },
    { watch: ['1235'] },
    { packaging: '{"base":"x"}' },
  ];
  const keys = others.map((other) => images.keyOf({ ...PLAN, ...other }, 'sha256:aa'));
  keys.push(images.keyOf(PLAN, 'sha256:ab'));
  keys.push(new CompiledImages({ registries, platform: 'linux/arm64' }).keyOf(PLAN, 'sha256:aa'));
  assert.equal(new Set([key, ...keys]).size, keys.length + 1);
});
