import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EmitTarget } from '../../../src/run/emit-target.ts';

test('emit runs nothing: there is nothing to list or remove, and all else is refused with the folder', async () => {
  const target = new EmitTarget('emit', '/var/lib/dinp/units');
  assert.equal(target.runs, false);
  assert.deepEqual(await target.list(), []);
  await target.remove();
  await target.removeVolume();
  const logs = async () => {
    for await (const line of target.logs()) assert.fail(line.text);
  };
  for (const call of [
    () => target.start(),
    () => target.exec(),
    () => target.runOnce(),
    () => target.restart(),
    logs,
  ]) {
    await assert.rejects(call(), { code: 'refused', hint: /\/var\/lib\/dinp\/units/ });
  }
});
