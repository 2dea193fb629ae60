import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import fc from 'fast-check';
import { shellWords } from '../../../src/run/shell-words.ts';

test('plain words stay readable', () => {
  assert.equal(
    shellWords(['systemctl', 'show', '--property=Id', 'a b', "it's", '']),
    "systemctl show '--property=Id' 'a b' 'it'\\''s' ''",
  );
});

test('a NUL is refused', () => {
  assert.throws(() => shellWords(['a\0b']), /NUL/);
});

for (const shell of ['sh', 'bash']) {
  test(`${shell} reads back exactly the words that were given`, () => {
    const special = fc.constantFrom(
      "'",
      '"',
      '\\',
      '$',
      '`',
      '\n',
      '!',
      '*',
      '~',
      ' ',
      '#',
      ';',
      '&',
      '%',
      '-',
      'ä',
      '\u007f',
    );
    const word = fc.string({ unit: fc.oneof(special, fc.string({ minLength: 1, maxLength: 1, unit: 'binary' })) });
    const words = fc.array(
      word.filter((text) => !text.includes('\0')),
      { minLength: 1, maxLength: 6 },
    );
    fc.assert(
      fc.property(words, (list) => {
        const line = shellWords(['printf', '%s\\0', ...list]);
        const said = execFileSync(shell, ['-c', line]);
        assert.deepEqual(said, Buffer.from(list.map((each) => `${each}\0`).join('')));
      }),
      { numRuns: 60 },
    );
  });
}
