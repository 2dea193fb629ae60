import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { DinpError } from '../../../src/domain/errors.ts';
import type { ImagePlan } from '../../../src/domain/plan.ts';
import { contentKey } from '../../../src/image/content-key.ts';
import { layersContext } from '../../../src/image/layers.ts';
import { memoryTree } from '../../support/memory-tree.ts';

type LayersPlan = Extract<ImagePlan, { kind: 'layers' }>;
const plan: LayersPlan = {
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
const tree = memoryTree({ 'bin/hello': 'x' });
const refused = (text: RegExp) => (error: DinpError) => error.code === 'refused' && text.test(error.message);

describe('the Dockerfile of a layers plan', () => {
  it('is exact', () => {
    const { dockerfile, files } = layersContext(plan, tree, 'r/base@sha256:0');
    assert.equal(
      dockerfile,
      [
        'FROM r/base@sha256:0',
        'COPY ["root/", "/"]',
        'WORKDIR "/app/my dir"',
        'ENV A=""',
        'ENV B="a\\"b\\\\c\\$d"',
        'EXPOSE 8080',
        'ENTRYPOINT []',
        'CMD ["/app/hello","--say","\\"$x\\""]',
        '',
      ].join('\n'),
    );
    assert.deepEqual(
      files.map(({ path, mode }) => [path, mode]),
      [['root/app/hello', '100755']],
    );
  });

  it('leaves the base’s command where there is none', () => {
    const { dockerfile } = layersContext(
      { ...plan, command: undefined, workdir: undefined, env: {}, port: undefined, files: [] },
      tree,
      'b',
    );
    assert.equal(dockerfile, 'FROM b\n');
  });

  it('refuses what cannot be said in it', () => {
    assert.throws(() => layersContext({ ...plan, env: { A: 'x\nRUN evil' } }, tree, 'b'), refused(/line break/));
    assert.throws(() => layersContext({ ...plan, env: { 'A B': 'x' } }, tree, 'b'), refused(/name of a variable/));
    assert.throws(() => layersContext({ ...plan, workdir: '/a\nUSER root' }, tree, 'b'), refused(/line break/));
    for (const to of ['app', '/../etc/x', '/a//b', '/']) {
      assert.throws(
        () => layersContext({ ...plan, files: [{ to, from: 'bin/hello' }] }, tree, 'b'),
        refused(/path in an image/),
        to,
      );
    }
    assert.throws(
      () => layersContext({ ...plan, files: [{ to: '/x', from: 'nope' }] }, tree, 'b'),
      refused(/nope is not in the commit/),
    );
  });
});

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
