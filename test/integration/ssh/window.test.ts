import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { openDelayedPath } from '../../support/delayed-path.ts';
import { Fixture, finished, until } from './front-door-fixture.ts';

const MIB = 1024 * 1024;
/** Long enough for a client that may still send to have sent something. */
const QUIET_MS = 600;

describe('the receive window', () => {
  it('stays small on a short path', async () => {
    const granted = await windowSeen(0);
    assert.ok(granted <= 2.1 * MIB, `${granted} bytes were sent without an answer`);
  });

  it('grows with the round trip, so that a long path can be full', async () => {
    // Of the 16 MiB up to a half may be used up when the client stops hearing that there is more.
    const granted = await windowSeen(80);
    assert.ok(granted > 6 * MIB, `${granted} bytes were sent without an answer`);
    assert.ok(granted <= 16.2 * MIB, `${granted} bytes were sent without an answer`);
  });
});

/** How much of a push a client sends once it hears nothing any more. The push is then let go on, and must end well. */
async function windowSeen(roundTripMs: number): Promise<number> {
  await using door = await Fixture.open();
  await using path = await openDelayedPath(door.door.port, roundTripMs);
  const work = door.workTree('app');
  writeFileSync(join(work, 'large'), randomBytes(48 * MIB));
  for (const args of [
    ['add', '.'],
    ['-c', 'core.compression=0', 'commit', '-qm', 'large'],
  ])
    await door.git(work, ...args);
  const url = door.url('app').replace(`:${door.door.port}/`, `:${path.port}/`);
  const push = finished(door.start('git', ['-c', 'core.compression=0', 'push', url, 'master'], { cwd: work }));
  await until(() => path.sent > MIB, 'the pack is under way');
  path.deaf = true;
  const before = path.sent;
  for (let last = -1; last !== path.sent; await sleep(QUIET_MS)) last = path.sent;
  const granted = path.sent - before;
  path.deaf = false;
  const { code, stderr } = await push;
  assert.equal(code, 0, stderr);
  return granted;
}
