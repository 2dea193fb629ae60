import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { BuildLogs } from '../../../src/store/build-log.ts';
import { tempFolder } from '../../support/temp-folder.ts';

const logs = () => new BuildLogs(join(tempFolder(), 'builds'));
const forever = new AbortController().signal;

async function readAll(chunks: AsyncIterable<Buffer>): Promise<string> {
  let text = '';
  for await (const chunk of chunks) text += chunk.toString('utf8');
  return text;
}

test('whoever follows from any moment reads everything from the start to the end', async () => {
  const builds = logs();
  builds.append(1, 'one\n');
  const early = readAll(builds.follow(1, forever));
  builds.append(1, 'two\n');
  await new Promise(setImmediate);
  const late = readAll(builds.follow(1, forever));
  for (let i = 0; i < 500; i++) builds.append(1, `line ${i}\n`);
  builds.end(1);
  const whole = `one\ntwo\n${Array.from({ length: 500 }, (_, i) => `line ${i}\n`).join('')}`;
  assert.equal(await early, whole);
  assert.equal(await late, whole);
  assert.equal(await readAll(builds.follow(1, forever)), whole);
});

test('following a build that wrote nothing yet waits for its end', async () => {
  const builds = logs();
  builds.append(2, '');
  const followed = readAll(builds.follow(2, forever));
  await new Promise(setImmediate);
  builds.append(2, 'late\n');
  builds.end(2);
  assert.equal(await followed, 'late\n');
});

test('a follower that goes away stops, and the build goes on', async () => {
  const builds = logs();
  const leave = new AbortController();
  builds.append(3, 'one\n');
  const followed = readAll(builds.follow(3, leave.signal));
  await new Promise(setImmediate);
  leave.abort();
  assert.equal(await followed, 'one\n');
  builds.append(3, 'two\n');
  builds.end(3);
  assert.equal(await readAll(builds.follow(3, forever)), 'one\ntwo\n');
});

test('the log of a build that is long over is read again after a restart', async () => {
  const folder = join(tempFolder(), 'builds');
  const before = new BuildLogs(folder);
  before.append(5, 'one\n');
  const after = new BuildLogs(folder);
  after.append(5, 'two\n');
  after.end(5);
  assert.equal(await readAll(after.follow(5, forever)), 'one\ntwo\n');
});
