import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Base, StoredConfig } from '../../../../src/image/direct/base.ts';
import { composeConfig } from '../../../../src/image/direct/compose.ts';
import type { LayersPlan } from '../../../../src/image/direct/layout.ts';
import { layOut } from '../../../../src/image/direct/layout.ts';
import { OCI_FORMAT } from '../../../../src/image/image-format.ts';
import { memoryTree } from '../../../support/memory-tree.ts';

const digest = (letter: string): string => `sha256:${letter.repeat(64)}`;
const config: StoredConfig = {
  architecture: 'arm64',
  variant: 'v8',
  os: 'linux',
  created: '2026-01-02T03:04:05Z',
  container: 'abc',
  container_config: { Cmd: ['/bin/sh'] },
  docker_version: '20.10',
  'moby.buildkit.buildinfo.v1': 'e30=',
  author: 'somebody',
  config: {
    Hostname: 'abc',
    Image: digest('9'),
    User: 'nobody',
    Env: ['PATH=/bin', 'HOME=/', 'LANG=C'],
    Entrypoint: ['/entry'],
    Cmd: ['x'],
    ExposedPorts: { '80/tcp': {} },
    Healthcheck: { Test: ['CMD', 'true'] },
    OnBuild: ['RUN x'],
    Labels: { 'dinp.base': 'static', 'org.opencontainers.image.revision': 'of the base' },
  },
  rootfs: { type: 'layers', diff_ids: [digest('1')] },
  history: [{ created_by: 'ADD rootfs' }, { created_by: 'ENV x', empty_layer: true }],
};
const base: Base = { place: {} as Base['place'], digest: digest('b'), format: OCI_FORMAT, layers: [], config };
const tree = memoryTree({ a: 'aa', b: 'b' });
const plan: LayersPlan = {
  kind: 'layers',
  artifact: 'binary',
  base: 'static',
  files: [
    { to: '/lib1/a', from: 'a' },
    { to: '/app/b', from: 'b' },
  ],
  dependencies: ['/lib1'],
  workdir: '/app/my dir',
  command: ['/app/b', '$x "y"'],
  env: { LANG: 'two\nlines "$x"', A: '' },
  port: 8080,
};
const made = layOut(plan, tree).map((layout, at) => ({
  layout,
  layer: { digest: digest(`${at}`), size: 1, diffId: digest(at === 0 ? 'd' : 'e') },
}));

describe('the config of an image', () => {
  it('is the base’s with our layers and what the plan sets, and nothing of when and where', () => {
    assert.deepEqual(composeConfig(base, made, plan, { 'org.opencontainers.image.revision': 'ours' }), {
      architecture: 'arm64',
      variant: 'v8',
      os: 'linux',
      created: '2001-01-01T00:00:00Z',
      author: 'somebody',
      config: {
        User: 'nobody',
        Env: ['PATH=/bin', 'HOME=/', 'A=', 'LANG=two\nlines "$x"'],
        Entrypoint: [],
        Cmd: ['/app/b', '$x "y"'],
        WorkingDir: '/app/my dir',
        ExposedPorts: { '8080/tcp': {} },
        Healthcheck: { Test: ['CMD', 'true'] },
        Labels: { 'dinp.base': 'static', 'org.opencontainers.image.revision': 'ours' },
      },
      rootfs: { type: 'layers', diff_ids: [digest('1'), digest('d'), digest('e')] },
      history: [
        { created_by: 'ADD rootfs' },
        { created_by: 'ENV x', empty_layer: true },
        { created: '2001-01-01T00:00:00Z', created_by: 'dinp layer dependencies', comment: 'files: 1, bytes: 2' },
        { created: '2001-01-01T00:00:00Z', created_by: 'dinp layer application', comment: 'files: 1, bytes: 1' },
      ],
    });
  });

  it('leaves to the base what the plan leaves open', () => {
    const open = { ...plan, command: undefined, workdir: undefined, port: undefined, env: {} };
    const { config: settings } = composeConfig(base, [], open, {});
    assert.deepEqual(settings!.Entrypoint, ['/entry']);
    assert.deepEqual(settings!.Cmd, ['x']);
    assert.deepEqual(settings!.ExposedPorts, { '80/tcp': {} });
    assert.deepEqual(settings!.Env, ['PATH=/bin', 'HOME=/', 'LANG=C']);
    assert.equal('WorkingDir' in settings!, false);
  });

  it('has as many steps with layers as layers, even over a base that has not, or has no settings at all', () => {
    for (const history of [undefined, null, [], [{ created_by: 'a' }, { created_by: 'b' }]]) {
      const odd = { ...base, config: { ...config, config: null, history: history as StoredConfig['history'] } };
      const composed = composeConfig(odd as Base, made, plan, {});
      assert.equal(composed.history!.filter((step) => !step.empty_layer).length, 3);
      assert.deepEqual(composed.config!.Env, ['A=', 'LANG=two\nlines "$x"']);
    }
  });

  it('refuses variables that no process can have', () => {
    for (const env of [{ 'A B': 'x' }, { 'A=B': 'x' }, { '': 'x' }, { A: 'x\0y' }] as Record<string, string>[]) {
      assert.throws(() => composeConfig(base, made, { ...plan, env }, {}), { code: 'refused' });
    }
  });
});
