import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseUnit } from '../../../src/unit/parser.ts';
import { valuesOf } from '../../../src/unit/unit-file.ts';
import { encodeArgv, encodeEnv, encodeText, fitsInUnit } from '../../../src/unit/values.ts';
import { expandSpecifiers, readArgv, splitCommands, splitWords } from '../../../src/unit/words.ts';
import { lastOfEach, readBySystemd } from '../../support/systemd-reading.ts';

/** Units that one call of systemd reads. */
const BATCH = 250;
const SPECIAL = [
  ...' "\'\\$%;#=[]{}()<>|&*?~`!@:+-,._/^\u00a0é中💥ax0n',
  '%n',
  '%%',
  '$$',
  '${HOME}',
  '\\x41',
  '\\;',
  '\\\\',
  ' ; ',
];
const text = fc
  .oneof(
    fc.string({ unit: fc.constantFrom(...SPECIAL), maxLength: 12 }),
    fc.string({ unit: 'binary', maxLength: 8 }),
    fc.constantFrom('', ';', '-', '@x', '$', '%', '\\', '"', "'", '#', '\\;', 'a\\'),
  )
  .filter(fitsInUnit);

test('what argv, env and text write is what systemd reads', () => {
  const command = fc.array(text, { maxLength: 5 });
  const name = fc.stringMatching(/^[A-Za-z_][A-Za-z0-9_]{0,9}$/);
  const description = text.map((value) => `a${value}z`);
  const service = fc.record({ command, name, value: text, description });
  fc.assert(
    fc.property(fc.array(service, { minLength: BATCH, maxLength: BATCH }), (services) => {
      const files = services.map(({ command, name, value, description }, i) => ({
        name: `s${i}.service`,
        text: `[Unit]\nDescription=${encodeText(description)}\n[Service]\nExecStart=${encodeArgv(['/bin/echo', ...command])}\nEnvironment=${encodeEnv(name, value)}\n`,
      }));
      const { units } = readBySystemd(files);
      for (const [i, { command, name, value, description }] of services.entries()) {
        const reading = units.get(`s${i}.service`);
        assert.ok(reading, files[i]!.text);
        assert.equal(reading.description, description);
        assert.deepEqual(reading.environment, [`${name}=${value}`], files[i]!.text);
        // The dump comes before variables are expanded: their "$$" is still double there.
        const words = reading.commands.ExecStart![0]!.map((word) => word.replaceAll('$$', '$'));
        assert.deepEqual(words, ['/bin/echo', ...command], files[i]!.text);
      }
    }),
    { numRuns: 3, endOnFailure: true },
  );
});

test('any line of text is read as systemd reads it, or refused where systemd refuses it', () => {
  const piece = fc.constantFrom(
    ...SPECIAL.filter((part) => !part.includes('%')),
    ...[
      '%%',
      '\\\n',
      '\\\n# note\n',
      '\\\n  ; note\n',
      '\\\r\n',
      '\t',
      '\\t',
      '\\s',
      '\\x2',
      '\\101',
      '\\u00e9',
      '\\U0001f4a5',
    ],
    ...['\\q', '"a b"', "'c'", 'b"c d"e', ' ', 'b'],
  );
  const value = fc.string({ unit: piece, maxLength: 10 });
  let [read, refused] = [0, 0];
  fc.assert(
    fc.property(fc.array(value, { minLength: BATCH, maxLength: BATCH }), (values) => {
      const files = values.map((value, i) => ({
        name: `s${i}.service`,
        text: `[Service]\nType=oneshot\nExecStart=/bin/echo ${value}\n\nEnvironment=A=${value}\n\n[Install]\nAlias=x.service\n`,
      }));
      const { units } = readBySystemd(files);
      for (const { name, text } of files) {
        const unit = parseUnit(text);
        const commands = tried(() => valuesOf(unit, 'Service', 'ExecStart').flatMap(splitCommands));
        const found = units.get(name)?.commands.ExecStart;
        // Text after an unquoted ";" is a second command: its program may be one that systemd does not take.
        if (commands?.some(({ prefixes, words }) => prefixes !== '' || !/^\/bin\/echo$/.test(words[0]!))) continue;
        const ours = commands?.map(({ words }) => words.map((word) => expandSpecifiers(word)));
        // The dump is a text of lines.
        if (ours?.flat().some((word) => !fitsInUnit(word))) continue;
        // Where only the program of a later command is unreadable, systemd keeps the commands before it; we refuse.
        if (ours === undefined && text.includes(';')) continue;
        assert.deepEqual(found, ours, JSON.stringify(text));
        if (ours === undefined) refused++;
        else read++;
        const words = tried(() => valuesOf(unit, 'Service', 'Environment').flatMap(splitWords));
        if (ours === undefined || words === undefined || !words.every(fitsInUnit)) continue;
        const variables = words.map((word) => expandSpecifiers(word)).filter((word) => /^[A-Za-z_]\w*=/.test(word));
        assert.deepEqual(units.get(name)!.environment, lastOfEach(variables), JSON.stringify(text));
      }
    }),
    { numRuns: 3, endOnFailure: true },
  );
  // Most of them are readable, and some are not: the test sees both.
  assert.ok(read > BATCH && refused > BATCH / 10, `${read} read, ${refused} refused`);
});

test('words with variables stay variables', () => {
  const words = ['/bin/echo', { variable: 'A_1' }, '${A_1}', '$A_1'];
  const value = encodeArgv(words);
  assert.equal(value, '/bin/echo ${A_1} "$${A_1}" "$$A_1"');
  assert.deepEqual(readArgv(value), words);
});

function tried<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}
