import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { BuildOutput, cleanLine, LineBuffer } from '../../../../src/image/engine/output.ts';

describe('lines for a terminal', () => {
  it('lose colours, cursor movements, titles, bells and marks of direction', () => {
    assert.equal(
      cleanLine('\x1b[1;31mred\x1b[0m \x1b]0;title\x07ok\x1b]8;;http://x\x1b\\link\x1b(B\x07\u202e!'),
      'red oklink!',
    );
    assert.equal(cleanLine('10%\r50%\r100%\r'), '100%');
    assert.equal(cleanLine('a\tb  '), 'a\tb');
  });

  it('never hold a control character, whatever comes in', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        assert.doesNotMatch(cleanLine(text), /[\x00-\x08\x0a-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]/);
      }),
    );
  });

  it('are cut at 8 KiB', () => {
    assert.equal(cleanLine('x'.repeat(20_000)), `${'x'.repeat(8192)} … (cut)`);
  });

  it('are the same however the pieces fall, also within a character', () => {
    const bytes = Buffer.from('grün\nzwei€\nend');
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: bytes.length })), (cuts) => {
        const lines: string[] = [];
        const buffer = new LineBuffer((line) => lines.push(line));
        const at = [0, ...cuts.sort((a, b) => a - b), bytes.length];
        for (let i = 1; i < at.length; i++) buffer.write(bytes.subarray(at[i - 1], at[i]));
        buffer.flush();
        assert.deepEqual(lines, ['grün', 'zwei€', 'end']);
      }),
    );
  });

  it('do not grow without end where none ends', () => {
    const lines: string[] = [];
    const buffer = new LineBuffer((line) => lines.push(line));
    for (let i = 0; i < 1000; i++) buffer.write('y'.repeat(1000));
    buffer.write('\n');
    assert.ok(lines[0]!.length < 20_000);
  });
});

describe('the output of a build', () => {
  it('stops at 16 MiB, says so once, and still knows the last lines', () => {
    let size = 0;
    let notes = 0;
    const output = new BuildOutput((text) => {
      size += text.length;
      notes += text.includes('more than 16 MiB') ? 1 : 0;
    });
    for (let i = 0; i < 20_000; i++) output.line('z'.repeat(1000));
    output.line('the end');
    assert.ok(size <= 16 * 1024 * 1024 + 100);
    assert.equal(notes, 1);
    assert.match(output.tail(), /\nthe end$/);
    assert.equal(output.tail().split('\n').length, 20);
  });
});
