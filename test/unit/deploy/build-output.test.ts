import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { BuildOutput, formatSeconds } from '../../../src/deploy/build-output.ts';
import { BuildLogs } from '../../../src/store/build-log.ts';
import { tempFolder } from '../../support/temp-folder.ts';

async function written(work: (output: BuildOutput) => void): Promise<string> {
  const logs = new BuildLogs(join(tempFolder(), 'builds'));
  work(new BuildOutput(logs, 1, Date.now()));
  logs.end(1);
  let text = '';
  for await (const chunk of logs.follow(1, new AbortController().signal)) text += chunk.toString('utf8');
  return text;
}

test('headings stand out, detail is indented, the end says how long it took', async () => {
  const text = await written((output) => {
    output.heading('Making the image');
    output.line('one\n\ntwo');
    output.released('Released v3  http://shop.localhost');
  });
  assert.equal(
    text,
    '-----> Making the image  [+0.0 s]\n       one\n\n       two\n-----> Released v3  http://shop.localhost  (0.0 s)\n',
  );
});

test('pieces of tool output become whole lines, also those that a progress bar overwrites', async () => {
  const text = await written((output) => {
    output.raw('comp');
    output.raw('iling\r50 %\r\n');
    output.raw('rest without end');
    output.heading('Next');
  });
  assert.equal(text, '       compiling\n       50 %\n       rest without end\n-----> Next  [+0.0 s]\n');
});

test('runaway output is cut once, and the end is still told', async () => {
  const text = await written((output) => {
    for (let i = 0; i < 20; i++) output.raw(`${'x'.repeat(1024 * 1024)}\n`);
    output.plain('it failed');
  });
  assert.ok(text.length < 18 * 1024 * 1024);
  assert.match(text.slice(-200), /\n {7}\[output cut: more than 16 MiB\]\nit failed\n$/);
});

test('times are short for people', () => {
  assert.deepEqual([0, 449, 12_400, 99_949, 99_950, 3_600_000].map(formatSeconds), [
    '0.0 s',
    '0.4 s',
    '12.4 s',
    '99.9 s',
    '1 min 40 s',
    '60 min 0 s',
  ]);
});
