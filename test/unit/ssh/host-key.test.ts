import assert from 'node:assert/strict';
import { test } from 'node:test';
import ssh2 from 'ssh2';
import { generateKey } from '../../../src/ssh/host-key.ts';

test('a generated key that cannot be read back is thrown away', () => {
  const good = generateKey();
  assert.ok(!(ssh2.utils.parseKey(good) instanceof Error));
  const damaged = good.replace(/\n.{20}/, '\n');
  assert.ok(ssh2.utils.parseKey(damaged) instanceof Error);
  const keys = [damaged, damaged, good];
  assert.equal(
    generateKey(() => keys.shift()!),
    good,
  );
});
