import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { formatEnvFile, parseEnvFile } from '../../../src/commands/env-file.ts';

test('values of every kind survive writing and reading', () => {
  const names = fc.stringMatching(/^[A-Za-z_][A-Za-z0-9_]{0,8}$/);
  const values = fc.string({ unit: 'grapheme', maxLength: 40 });
  const tricky = fc.string({
    unit: fc.constantFrom('"', "'", '\\', '\n', '\r', '\t', '#', ' ', '$', '=', 'n', 'a'),
    maxLength: 20,
  });
  fc.assert(
    fc.property(fc.dictionary(names, fc.oneof(values, tricky)), (settings) => {
      assert.deepEqual(Object.fromEntries(parseEnvFile(formatEnvFile(settings))), { ...settings });
    }),
  );
});

for (const [text, problem] of [
  ['A', 'line 1 is not NAME=VALUE.'],
  ['A=1\n\nB="x\ny', 'line 3 has a value whose " is not closed.'],
  ["A='x' y", 'line 1 has text behind the closing quote.'],
  ['A B=1', 'line 1 is not NAME=VALUE.'],
] as const) {
  test(`${JSON.stringify(text)} is refused`, () => {
    assert.throws(() => parseEnvFile(text), { message: problem });
  });
}

test('what editors of other systems leave behind does no harm', () => {
  assert.deepEqual(parseEnvFile('\ufeffA=1\r\nB="x"\r\n  \r\n# c\r\nC=a#b'), [
    ['A', '1'],
    ['B', 'x'],
    ['C', 'a#b'],
  ]);
});
