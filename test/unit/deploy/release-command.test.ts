import assert from 'node:assert/strict';
import { test } from 'node:test';
import { runReleaseCommands } from '../../../src/deploy/release-command.ts';
import { DinpError } from '../../../src/domain/errors.ts';
import type { InstanceSpec } from '../../../src/domain/instance.ts';
import type { Release } from '../../../src/domain/release.ts';
import type { ExecStreams, Target } from '../../../src/run/target.ts';

/** Runs a release command that writes these pieces, and gives the lines that its reader gets. */
async function run(status: number, ...pieces: Buffer[]): Promise<{ lines: string[]; error: unknown }> {
  const lines: string[] = [];
  const runOnce = async (_spec: InstanceSpec, _command: string[], streams: ExecStreams) => {
    for (const piece of pieces) await streams.onStdout(piece);
    return status;
  };
  const release = { app: 'shop', services: [{ releaseCommand: ['migrate'] }] } as Release;
  const progress = { heading: () => undefined, line: (text: string) => void lines.push(text) };
  const target = { runOnce } as unknown as Target;
  const spec = { name: 'x' } as InstanceSpec;
  const error = await runReleaseCommands(target, release, () => spec, progress, new AbortController().signal).catch(
    (reason: unknown) => reason,
  );
  return { lines: lines.slice(1), error };
}

test('pieces of output that end within a line or a character are put together', async () => {
  const text = Buffer.from('Größe geändert\nfertig');
  const pieces = Array.from(text, (_, at) => text.subarray(at, at + 1));
  assert.deepEqual(await run(0, ...pieces), { lines: ['Größe geändert', 'fertig'], error: undefined });
});

test('a command that fails is an error with its last lines', async () => {
  const { error } = await run(3, Buffer.from('no such ta'), Buffer.from('ble\n'));
  assert.ok(error instanceof DinpError);
  assert.deepEqual(
    [error.code, error.message, error.detail],
    ['start-failed', 'the release command of shop ended with status 3: migrate', 'no such table'],
  );
});
