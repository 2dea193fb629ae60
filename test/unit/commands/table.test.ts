import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { renderTable } from '../../../src/commands/table.ts';
import { ago, gitRemote, shellLine, span, withProgram } from '../../../src/commands/text.ts';

interface Row {
  name: string;
  count: number;
}

const columns = [
  { title: 'NAME', value: (row: Row) => row.name, shrink: true },
  { title: 'COUNT', value: (row: Row) => String(row.count), right: true },
];

test('a table is cut where the terminal is too narrow, and only there', () => {
  const rows = [
    { name: 'a-rather-long-name', count: 7 },
    { name: 'b', count: 123 },
  ];
  assert.equal(
    renderTable(columns, rows, undefined),
    'NAME                COUNT\na-rather-long-name      7\nb                     123\n',
  );
  assert.equal(renderTable(columns, rows, 17), 'NAME        COUNT\na-rather-…      7\nb             123\n');
});

test('every line fits any terminal that the columns can fit at all, and nothing breaks out of a cell', () => {
  const row = fc.record({ name: fc.string({ unit: 'binary', maxLength: 60 }), count: fc.nat(99_999) });
  fc.assert(
    fc.property(fc.array(row, { maxLength: 5 }), fc.integer({ min: 15, max: 90 }), (rows, width) => {
      const text = renderTable(columns, rows, width);
      const lines = text.split('\n');
      assert.equal(lines.length, rows.length + 2);
      for (const line of lines) {
        assert.ok([...line].length <= width, line);
        assert.doesNotMatch(line, /[\u0000-\u001f\u007f-\u009f\u202e]/);
      }
    }),
  );
});

test('times and spans', () => {
  const now = 1_000_000_000_000;
  assert.deepEqual(
    [5, 59, 60, 3_599, 3_600, 86_399, 86_400, 172_800].map((seconds) => ago(now - seconds * 1000, now)),
    ['just now', '59 s ago', '1 min ago', '59 min ago', '1 h ago', '23 h ago', '1 day ago', '2 days ago'],
  );
  assert.deepEqual([0, 340, 999, 1_000, 12_420, 59_949, 59_950, 125_000, 3_600_000, 90_000_000].map(span), [
    '0 ms',
    '340 ms',
    '999 ms',
    '1.0 s',
    '12.4 s',
    '59.9 s',
    '1 min 0 s',
    '2 min 5 s',
    '1 h 0 min',
    '1 day',
  ]);
  assert.equal(ago(now + 5_000, now), 'just now');
});

test('git remotes of every kind of address', () => {
  const server = { version: '', user: 'dinp', data: '', target: '' };
  assert.equal(gitRemote({ ...server, address: 'example.org', sshPort: 22 }, 'blog'), 'dinp@example.org:blog');
  assert.equal(gitRemote({ ...server, address: '::1', sshPort: 22 }, 'blog'), 'ssh://dinp@[::1]:22/blog');
});

test('command lines are shown as a shell takes them', () => {
  assert.equal(shellLine(['run', 'a b', "it's", 'A=1', '$x', '']), "run 'a b' 'it'\\''s' A=1 '$x' ''");
  assert.equal(
    withProgram('dinp logs x, git push dinp logs, dinp.yml', 'ssh h'),
    'ssh h logs x, git push dinp logs, dinp.yml',
  );
});
