import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  LogPosition,
  logLines,
  mergeAsTheyCome,
  mergeByTime,
  type StampedLine,
} from '../../../../src/run/docker/docker-logs.ts';
import type { Frame } from '../../../../src/run/docker/docker-streams.ts';

const AT = '2026-11-21T10:19:13.353723003Z';

async function lines(...data: (string | [Frame['stream'], string])[]): Promise<string[]> {
  const source = (async function* (): AsyncGenerator<Frame> {
    for (const one of data) {
      const [stream, text] = typeof one === 'string' ? (['stdout', one] as const) : one;
      yield { stream, data: Buffer.from(`${AT} ${text}`) };
    }
  })();
  const found: string[] = [];
  for await (const line of logLines('web.1', source)) found.push(line.text);
  return found;
}

function line(instance: string, second: number, text: string): StampedLine {
  const stamp = `2026-11-21T10:19:${String(second).padStart(2, '0')}.000000000Z`;
  return { instance, text, time: undefined, stamp, stream: 'stdout', isContinued: false };
}

async function* from(...all: StampedLine[]): AsyncGenerator<StampedLine> {
  yield* all;
}

test('a frame is a line; carriage returns at its end go, empty lines stay', async () => {
  assert.deepEqual(await lines('one\n', 'two\r\n', '\n', 'three'), ['one', 'two', '', 'three']);
});

test('the parts of a long line are put together, each stream by itself', async () => {
  assert.deepEqual(await lines('first half, ', ['stderr', 'oh '], 'second half\n', ['stderr', 'no\n']), [
    'first half, second half',
    'oh no',
  ]);
});

test('a line of more than 8 KiB is cut there, but never within a character', async () => {
  const long = 'é'.repeat(10_000);
  const found = await lines(`a${long}`, `${long}\n`, 'next\n');
  assert.equal(found.slice(0, -1).join(''), `a${long}${long}`);
  assert.equal(found.at(-1), 'next');
  for (const piece of found) assert.ok(Buffer.byteLength(piece) <= 8192);
  assert.equal(found[0]!.length, 1 + 4095, 'cut a byte earlier, before the character');
});

test('what was read is known again: repeated lines, pieces of long ones, lines of before the beginning', () => {
  const position = new LogPosition();
  const at = (stream: Frame['stream'], second: number, isContinued = false): StampedLine => ({
    ...line('a', second, ''),
    stream,
    isContinued,
  });
  assert.equal(position.since(), undefined);
  const fresh = [at('stdout', 10), at('stdout', 12), at('stdout', 12, true), at('stderr', 11), at('stdout', 13)];
  for (const one of fresh) assert.equal(position.take(one), true);
  for (const one of fresh) assert.equal(position.take(one), false, `${one.stream} ${one.stamp} again`);
  assert.equal(position.take(at('stderr', 9)), false, 'older than all that was asked for');
  assert.equal(position.take(at('stderr', 12)), true, 'late, but new');
  assert.equal(position.since(), '1795256352.950');
});

test('several logs in order of time', async () => {
  const merged = mergeByTime([
    from(line('a', 1, 'a1'), line('a', 4, 'a2')),
    from(line('b', 2, 'b1'), line('b', 3, 'b2')),
    from(),
  ]);
  const found: string[] = [];
  for await (const { text } of merged) found.push(text);
  assert.deepEqual(found, ['a1', 'b1', 'b2', 'a2']);
});

test('a slow reader holds the sources back', async () => {
  let made = 0;
  const endless = (instance: string) =>
    (async function* () {
      for (;;) yield line(instance, 1, String(++made));
    })();
  let taken = 0;
  for await (const _ of mergeAsTheyCome([endless('a'), endless('b')])) {
    await new Promise((resolve) => setImmediate(resolve));
    assert.ok(made <= taken + 4, `${made} lines made for ${taken} taken`);
    if (++taken === 1_000) break;
  }
});

test('a failing source is reported after what the others had to say', async () => {
  const failing = (async function* (): AsyncGenerator<StampedLine> {
    yield line('a', 1, 'last words');
    throw new Error('the engine is gone');
  })();
  const found: string[] = [];
  await assert.rejects(async () => {
    for await (const { text } of mergeAsTheyCome([failing])) found.push(text);
  }, /the engine is gone/);
  assert.deepEqual(found, ['last words']);
});
