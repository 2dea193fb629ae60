import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { encodeArgv, encodeEnv, encodeNumber, encodePath, encodeText, fitsInUnit } from '../../../src/unit/values.ts';
import { expandSpecifiers, readArgv, readLiteral, splitCommands, splitWords } from '../../../src/unit/words.ts';

test('argv: quotes only where needed, and nothing expands', () => {
  assert.equal(
    encodeArgv(['/bin/sh', '-c', 'echo "$A" 100% ;', '', ';', 'a\\', "it's", '-x=/y:1@z,_+.']),
    '/bin/sh -c "echo \\"$$A\\" 100%% ;" "" ";" "a\\\\" "it\'s" -x=/y:1@z,_+.',
  );
  assert.equal(encodeArgv(['/opt/my app/run%1', 'x']), '"/opt/my app/run%%1" x');
});

test('argv: what argv writes, it reads', () => {
  const word = fc.string({ unit: 'binary' }).filter(fitsInUnit);
  fc.assert(
    fc.property(fc.array(word), (words) =>
      assert.deepEqual(readArgv(encodeArgv(['/bin/x', ...words])), ['/bin/x', ...words]),
    ),
  );
});

test('argv: a program that systemd would not take, or take for a prefix, is refused', () => {
  for (const program of [
    '',
    'sh',
    '-/bin/sh',
    '@/bin/sh',
    '+/x',
    '!/x',
    ':/x',
    '/bin/',
    '/a"b',
    '/a$b',
    '/a\\b',
    '/a\nb',
    '/a ',
  ]) {
    assert.throws(() => encodeArgv([program, 'x']), { code: 'refused' }, JSON.stringify(program));
  }
  assert.throws(() => encodeArgv([]), { code: 'refused' });
  assert.throws(() => encodeArgv([{ variable: 'X' }]), { code: 'refused' });
});

test('control characters, line ends, surrogates and noncharacters are refused everywhere', () => {
  for (const bad of ['\n', '\r', '\0', '\t', '\x1b', '\x7f', '\x85', '\ud800', '\ufffe', '\u{1ffff}', '\ufdd0']) {
    for (const write of [
      () => encodeArgv(['/bin/x', `a${bad}b`]),
      () => encodeEnv('A', `a${bad}b`),
      () => encodeText(`a${bad}b`),
      () => encodePath(`/a${bad}b`),
    ]) {
      assert.throws(write, { code: 'refused' }, JSON.stringify(bad));
    }
  }
});

test('a refusal of a variable does not print its value', () => {
  assert.throws(
    () => encodeEnv('TOKEN', 'hush\n'),
    (error: Error) => !JSON.stringify([error, error.message]).includes('hush'),
  );
});

test('env: % is doubled, $ is not', () => {
  assert.equal(encodeEnv('A_1', 'x "y" \\ 5% $B'), '"A_1=x \\"y\\" \\\\ 5%% $B"');
  for (const name of ['', '1A', 'a.b', 'a b', 'A=']) assert.throws(() => encodeEnv(name, 'x'), { code: 'refused' });
});

test('text and path: % is doubled; ends that a unit would lose or that swallow the next line are refused', () => {
  assert.equal(encodeText('100% "of" $it \\n'), '100%% "of" $it \\n');
  for (const text of ['', ' a', 'a ', 'a\\', 'a\\\\\\']) assert.throws(() => encodeText(text), { code: 'refused' });
  assert.equal(encodePath('/srv/a b%c'), '/srv/a b%%c');
  for (const path of ['a', '', '-/a', '/a/../b', '/a\\']) assert.throws(() => encodePath(path), { code: 'refused' });
});

test('numbers are whole and not negative', () => {
  assert.equal(encodeNumber(0), '0');
  for (const value of [-1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 60])
    assert.throws(() => encodeNumber(value));
});

test('lines beyond what systemd reads are refused', () => {
  assert.throws(() => encodeArgv(['/bin/x', 'y'.repeat(1024 * 1024)]), /1 MiB/);
});

test('words: quotes, escapes, separators', () => {
  assert.deepEqual(splitWords(`a "b c" 'd "e' f"g h"i \\x41\\u00e9\\101\\s.`), ['a', 'b c', 'd "e', 'fg hi', 'AéA .']);
  assert.deepEqual(splitWords(' \t '), []);
  assert.deepEqual(splitWords('""'), ['']);
  for (const bad of ['"a', "'", 'a\\q', 'a\\', '\\x00', '\\400'])
    assert.throws(() => splitWords(bad), { code: 'refused' });
});

test('commands: prefixes, separators, escaped separators', () => {
  assert.deepEqual(splitCommands('-@/bin/sh sh -c x ; +/bin/b \\; ";" c\\;d'), [
    { prefixes: '-@', words: ['/bin/sh', 'sh', '-c', 'x'] },
    { prefixes: '+', words: ['/bin/b', ';', ';', 'c\\;d'] },
  ]);
});

test('reading back refuses what systemd would expand', () => {
  for (const value of ['/bin/x $A', '/bin/x a${A}', '/bin/x %n', '/bin/x a ; /bin/y', '-/bin/x', '']) {
    assert.throws(() => readArgv(value), { code: 'refused' }, value);
  }
  assert.throws(() => readLiteral('50%'), { code: 'refused' });
  assert.equal(expandSpecifiers('%%n %n %z %', { n: 'N' }), '%n N %z %');
});
