import assert from 'node:assert/strict';
import { it } from 'node:test';
import { windowFor } from '../../../src/ssh/channel-input.ts';
import { PushPrelude } from '../../../src/ssh/push-prelude.ts';

it('tells a push without commands from one that git will refuse', () => {
  const cases: [string, string][] = [
    ['0000', 'nothing'],
    ['0035shallow 0123456789', 'shallow'],
    [`00810000000000000000000000000000000000000000 ${'a'.repeat(40)} refs/heads/m`, 'commands'],
    ['', 'unknown'],
    ['00', 'unknown'],
  ];
  for (const [text, kind] of cases) {
    for (const size of [1, 3, 1000]) {
      const prelude = new PushPrelude();
      for (let i = 0; i < text.length; i += size) prelude.push(Buffer.from(text.slice(i, i + size)));
      assert.equal(prelude.kind, kind, `${text} in pieces of ${size}`);
    }
  }
});

it('gives long paths a wider window, short ones never', () => {
  const MiB = 1024 * 1024;
  assert.equal(windowFor(0.2), 2 * MiB);
  assert.equal(windowFor(10), 2 * MiB);
  assert.equal(windowFor(40), 8 * MiB);
  assert.equal(windowFor(80), 16 * MiB);
  assert.equal(windowFor(Number.POSITIVE_INFINITY), 16 * MiB);
});
