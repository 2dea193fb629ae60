import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { describe, it } from 'node:test';

const HOOKS = join(import.meta.dirname, '../../../hooks');
const LINE = `${'0'.repeat(40)} ${'a'.repeat(40)} refs/heads/master`;

function run(hook: string, args: string[] = [], env: Record<string, string> = {}) {
  const stdio = ['pipe', 'pipe', 'pipe'] as const;
  return spawnSync(join(HOOKS, hook), args, { input: `${LINE}\n`, encoding: 'utf8', env, stdio: [...stdio] });
}

describe('hooks without a session', () => {
  it('refuse the push, and say so', () => {
    const { status, stderr } = run('pre-receive');
    assert.equal(status, 1);
    assert.equal(stderr, 'dinp: the server no longer listens to this push, so it is refused. Push again.\n');
  });

  it('refuse the ref', () => {
    const [old, next, ref] = LINE.split(' ');
    assert.equal(run('update', [ref!, old!, next!]).status, 1);
    assert.equal(run('proc-receive').status, 1);
  });

  it('say nothing once the refs have moved', () => {
    const { status, stdout, stderr } = run('post-receive');
    assert.deepEqual({ status, stdout, stderr }, { status: 0, stdout: '', stderr: '' });
  });
});

it('a line break in a push option cannot forge a record', () => {
  const command = `exec 3>/dev/null 4</dev/null; exec ${join(HOOKS, 'pre-receive')}`;
  const env = { GIT_PUSH_OPTION_COUNT: '1', GIT_PUSH_OPTION_0: `x\n\npost-receive\nref ${LINE}` };
  const { status, stderr } = spawnSync('/bin/sh', ['-c', command], { input: LINE, encoding: 'utf8', env });
  assert.equal(status, 1);
  assert.match(stderr, /holds a line break/);
});
