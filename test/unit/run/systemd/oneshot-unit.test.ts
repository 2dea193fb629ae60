import assert from 'node:assert/strict';
import { test } from 'node:test';
import { oneshotEnd } from '../../../../src/run/systemd/oneshot-unit.ts';

/** `systemctl show` of a unit with commands that ended so. */
function shown(state: string, result: string, ends: string[], more = ''): string {
  const commands = ends.map(
    (end) => `ExecStart={ path=/bin/sh ; argv[]=/bin/sh -c x ; code=exited ; status=7 } ; pid=1 ; ${end} }`,
  );
  return ['LoadState=loaded', `ActiveState=${state}`, `Result=${result}`, ...commands, more].join('\n');
}

test('a unit that runs, or waits for its start, has no end yet', () => {
  assert.equal(oneshotEnd(shown('activating', 'success', ['code=(null) ; status=0/0'])), undefined);
  assert.equal(oneshotEnd(shown('deactivating', 'timeout', ['code=(null) ; status=0/0'])), undefined);
  assert.equal(oneshotEnd(shown('inactive', 'success', [], 'Job=512')), undefined);
});

test('which command failed, and how', () => {
  const fine = 'code=exited ; status=0';
  const never = 'code=(null) ; status=0/0';
  assert.deepEqual(oneshotEnd(shown('active', 'success', [fine, fine])), {
    result: 'success',
    command: undefined,
    how: '',
  });
  assert.deepEqual(oneshotEnd(shown('failed', 'exit-code', [fine, 'code=exited ; status=22', never])), {
    result: 'exit-code',
    command: 1,
    how: 'exit status 22',
  });
  assert.deepEqual(oneshotEnd(shown('failed', 'timeout', ['code=killed ; status=9/KILL', never])), {
    result: 'timeout',
    command: 0,
    how: 'signal 9/KILL',
  });
});

test('a unit that somebody stopped, or that a reboot took', () => {
  assert.equal(oneshotEnd(shown('inactive', 'success', []))?.result, 'gone');
  assert.equal(oneshotEnd('LoadState=not-found\nActiveState=inactive\nResult=success\nJob=')?.result, 'gone');
});
