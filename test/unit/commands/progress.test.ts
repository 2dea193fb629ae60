import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Call } from '../../../src/commands/context.ts';
import { withProgress } from '../../../src/commands/progress.ts';

function call(columns: number | undefined): { call: Call; text(): string } {
  let text = '';
  const stdout = async (data: string) => {
    text += data;
  };
  return { call: { out: { columns, stdout }, program: 'dinp' } as unknown as Call, text: () => text };
}

async function slowWork(columns: number | undefined, tick: (ms: number) => void): Promise<string> {
  const { call: one, text } = call(columns);
  await withProgress(one, async (progress) => {
    progress.heading('Starting v2');
    for (let second = 0; second < 4; second++) tick(1000);
    progress.line('web.1 is \u001b[32mhealthy\ntwice');
  });
  return text();
}

test('a clock runs at a terminal while nothing comes, and is wiped by what comes next', async (t) => {
  t.mock.timers.enable({ apis: ['setInterval', 'Date'] });
  const wipe = '\r\u001b[K';
  assert.equal(
    await slowWork(80, (ms) => t.mock.timers.tick(ms)),
    `-----> Starting v2\n${wipe}       … 2 s${wipe}       … 3 s${wipe}       … 4 s${wipe}       web.1 is healthy\n       twice\n`,
  );
});

test('elsewhere there are plain lines', async (t) => {
  t.mock.timers.enable({ apis: ['setInterval', 'Date'] });
  assert.equal(
    await slowWork(undefined, (ms) => t.mock.timers.tick(ms)),
    '-----> Starting v2\n       web.1 is healthy\n       twice\n',
  );
});

test('what the work throws comes through, after what it said', async () => {
  const { call: one, text } = call(80);
  await assert.rejects(
    withProgress(one, async (progress) => {
      progress.line('before');
      throw new Error('broken');
    }),
    /broken/,
  );
  assert.equal(text(), '       before\n');
});
