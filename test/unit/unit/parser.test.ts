import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { MAX_LINE_BYTES, parseUnit } from '../../../src/unit/parser.ts';
import { valuesOf } from '../../../src/unit/unit-file.ts';
import { writeUnit } from '../../../src/unit/writer.ts';

const UNIT = `# a comment
; another
[Unit]
Description = A web server  \t

[Service]
ExecStart=/bin/a one \\
    two \\
# in the middle
  ; of a command
    three
Environment=A=1
Environment="B=2 3" 'C=x'
EmptyOne=
[Install]
WantedBy=multi-user.target
[Service]
Restart=always`;

test('sections, repeated keys, comments and continuation lines', () => {
  const unit = parseUnit(UNIT);
  assert.deepEqual(unit.problems, []);
  assert.deepEqual(
    unit.sections.map(({ name }) => name),
    ['Unit', 'Service', 'Install', 'Service'],
  );
  assert.deepEqual(valuesOf(unit, 'Unit', 'Description'), ['A web server']);
  assert.deepEqual(valuesOf(unit, 'Service', 'ExecStart'), ['/bin/a one      two      three']);
  assert.deepEqual(valuesOf(unit, 'Service', 'Environment'), ['A=1', `"B=2 3" 'C=x'`]);
  assert.deepEqual(valuesOf(unit, 'Service', 'EmptyOne'), ['']);
  assert.deepEqual(valuesOf(unit, 'Service', 'Restart'), ['always']);
});

test('a doubled backslash at the end continues nothing; an open continuation ends with the file', () => {
  assert.deepEqual(parseUnit('[A]\nK=x\\\\\nL=y\\').sections[0]!.entries, [
    { key: 'K', value: 'x\\\\' },
    { key: 'L', value: 'y' },
  ]);
});

test('line ends are what systemd takes: LF, CR LF, CR alone, NUL', () => {
  const { sections } = parseUnit('[A]\r\nB=1\rC=2\0D=3\n\rE=4');
  assert.deepEqual(
    sections[0]!.entries.map(({ key, value }) => key + value),
    ['B1', 'C2', 'D3', 'E4'],
  );
});

test('a byte order mark is passed over', () => {
  assert.deepEqual(parseUnit('\ufeff[A]\nB=1').sections, [{ name: 'A', entries: [{ key: 'B', value: '1' }] }]);
});

test('lines that systemd leaves out are named', () => {
  const { problems, sections } = parseUnit('K=early\n[A]\nno equals\n=x\nB=1');
  assert.deepEqual(
    problems.map(({ line }) => line),
    [1, 3, 4],
  );
  assert.deepEqual(sections[0]!.entries, [{ key: 'B', value: '1' }]);
});

test('what makes systemd refuse the file is refused', () => {
  for (const text of ['[Unit', '[A] x', '[', '[a"b]', '[a\\b]', `[A]\nB=${'x'.repeat(MAX_LINE_BYTES)}`]) {
    assert.throws(() => parseUnit(text), { code: 'refused' }, text.slice(0, 20));
  }
  assert.throws(() => parseUnit(`[A]\nB=${`${'x'.repeat(1000)}\\\n`.repeat(1100)}`), { code: 'refused' });
});

test('parse(write(parse(x))) equals parse(x), for any text', () => {
  const piece = fc.constantFrom(
    '[A]',
    '\n',
    '\n',
    '=',
    'K',
    'v w',
    '\\',
    '\\\n',
    '#',
    ';',
    ' ',
    '\t',
    '"',
    '\r',
    '\0',
    '\ufeff',
    '%n',
    '$',
    '[',
    ']',
    'é',
  );
  const any = fc.oneof(fc.string({ unit: piece, maxLength: 60 }), fc.string({ unit: 'binary', maxLength: 60 }));
  fc.assert(
    fc.property(any, (text) => {
      let unit: ReturnType<typeof parseUnit>;
      try {
        unit = parseUnit(`[Unit]\n${text}`);
      } catch {
        return;
      }
      const again = parseUnit(writeUnit(unit));
      assert.deepEqual(again.sections, unit.sections);
      assert.deepEqual(again.problems, []);
    }),
    { numRuns: 3000 },
  );
});

test('the writer refuses what would not come back', () => {
  const write = (key: string, value: string) => writeUnit({ sections: [{ name: 'A', entries: [{ key, value }] }] });
  for (const value of ['a\nb', 'a\rb', ' a', 'a\t', 'a\0b'])
    assert.throws(() => write('K', value), { code: 'refused' });
  for (const key of ['', '#K', ';K', '[K', 'K=', ' K', 'K\n'])
    assert.throws(() => write(key, 'v'), { code: 'refused' });
  assert.throws(() => writeUnit({ sections: [{ name: 'A]\n[B', entries: [] }] }), { code: 'refused' });
  assert.equal(write('K', 'a\\\\'), '[A]\nK=a\\\\\n');
  assert.equal(write('K', 'a\\'), '[A]\nK=a\\ \n');
});
