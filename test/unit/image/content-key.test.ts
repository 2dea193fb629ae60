import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { ImagePlan } from '../../../src/domain/plan.ts';
import { contentKey } from '../../../src/image/content-key.ts';

const plan: Extract<ImagePlan, { kind: 'layers' }> = {
  kind: 'layers',
  artifact: 'binary',
  base: 'static',
  files: [{ to: '/app/hello', from: 'bin/hello', mode: '100755' }],
  dependencies: [],
  workdir: '/app/my dir',
  command: ['/app/hello', '--say', '"$x"'],
  env: { B: 'a"b\\c$d', A: '' },
  port: 8080,
};

describe('the content key', () => {
  const parts = { plan, watch: ['w'], recipe: [], bases: [['static', 'sha256:1']] as const, platform: 'linux/amd64' };

  it('is equal for equal parts, in whatever order they were written', () => {
    const { kind, ...rest } = plan;
    assert.equal(contentKey({ ...parts, plan: { ...rest, env: { A: '', B: plan.env.B! }, kind } }), contentKey(parts));
    assert.match(contentKey(parts), /^[0-9a-f]{64}$/);
  });

  it('is another one for any other part', () => {
    const others = [
      { ...parts, watch: ['v'] },
      { ...parts, recipe: ['d'] },
      { ...parts, bases: [['static', 'sha256:2']] as const },
      { ...parts, platform: 'linux/arm64' },
      { ...parts, plan: { ...plan, port: 9000 } },
      { ...parts, plan: { ...plan, command: ['/app/hello'] } },
      { ...parts, plan: { ...plan, files: [{ to: '/app/hello', from: 'bin/hello' }] } },
    ];
    assert.equal(new Set([parts, ...others].map(contentKey)).size, others.length + 1);
  });
});
