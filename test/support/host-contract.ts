import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Host } from '../../src/run/host.ts';
import { until } from './until.ts';

const never = new AbortController().signal;

async function withFolder(use: (folder: string) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'dinp-host-'));
  try {
    await use(folder);
  } finally {
    await rm(folder, { recursive: true });
  }
}

async function allOf(lines: AsyncIterable<string>): Promise<string[]> {
  const all: string[] = [];
  for await (const line of lines) all.push(line);
  return all;
}

/** A killed process whose parent has not asked for it yet is a zombie: it does not run either. */
function isAlive(pid: number): boolean {
  assert.ok(pid > 0);
  try {
    return !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return false;
  }
}

/** Waits until a process that was killed is gone: a busy kernel takes a moment to carry a SIGKILL out. */
export async function isGone(pid: number): Promise<void> {
  await until(`process ${pid} is gone`, () => !isAlive(pid), 10_000);
}

/** What every Host does; `host` gives one whose files and processes are this machine's. */
export function testHostContract(host: () => Host): void {
  test('run gives the exit status and both outputs, and passes stdin', async () => {
    const result = await host().run(['sh', '-c', 'tr a-z A-Z; echo bad >&2; exit 3'], { stdin: 'héllo' });
    assert.deepEqual(result, { code: 3, stdout: 'HéLLO', stderr: 'bad\n' });
    assert.equal((await host().run(['sh', '-c', 'kill -TERM $$'])).code, 143);
    assert.equal((await host().run(['cat'])).stdout, '');
  });

  test('a program that does not exist or may not run gives what a shell gives', async () => {
    assert.equal((await host().run(['/no/such/program'])).code, 127);
    assert.equal((await host().run(['/etc/passwd'])).code, 126);
    assert.deepEqual(await allOf(host().follow(['/no/such/program'], { signal: never })), []);
  });

  test('a program that ends before it has read its input is no error', async () => {
    assert.equal((await host().run(['true'], { stdin: 'x'.repeat(5_000_000) })).code, 0);
  });

  test('a timeout kills the program and its children', async () => {
    const script = 'sleep 60 & echo $!; wait';
    let child = 0;
    await assert.rejects(
      host().run(['sh', '-c', script], { timeoutMs: 3000 }),
      (error: Error & { code: string; detail: string }) => {
        assert.equal(error.code, 'timeout');
        child = Number(error.detail);
        return true;
      },
    );
    await isGone(child);
  });

  test('abort kills, before and during', async () => {
    const stop = new AbortController();
    const running = host().run(['sleep', '60'], { signal: stop.signal });
    setTimeout(() => stop.abort(), 100);
    await assert.rejects(running, { code: 'canceled' });
    await assert.rejects(host().run(['true'], { signal: stop.signal }), { code: 'canceled' });
  });

  test('follow gives lines as they come and ends with its program, with abort and with its reader', async () => {
    assert.deepEqual(await allOf(host().follow(['printf', 'a\\nb\\nc'], { signal: never })), ['a', 'b', 'c']);
    const stop = new AbortController();
    const lines: string[] = [];
    for await (const line of host().follow(['sh', '-c', 'echo $$; sleep 60'], { signal: stop.signal })) {
      lines.push(line);
      stop.abort();
    }
    await isGone(Number(lines[0]));
    for await (const line of host().follow(['sh', '-c', 'echo $$; sleep 60'], { signal: never })) {
      lines.push(line);
      break;
    }
    await isGone(Number(lines[1]));
  });

  test('a slow receiver slows the program down', async () => {
    let received = 0;
    const stop = new AbortController();
    const streaming = host().stream(['sh', '-c', 'cat /dev/zero'], {
      stdin: undefined,
      onStdout: async (chunk) => {
        received += chunk.length;
        await new Promise((resolve) => setTimeout(resolve, 50));
      },
      onStderr: () => undefined,
      signal: stop.signal,
    });
    setTimeout(() => stop.abort(), 500);
    await assert.rejects(streaming, { code: 'canceled' });
    assert.ok(received < 4 * 1024 * 1024, `${received} bytes`);
  });

  test('files are whole, with their mode from the start, and nothing is left of a failure', async () => {
    await withFolder(async (folder) => {
      const path = join(folder, 'a', 'b');
      await host().putFile(path, 'one', 0o600);
      await host().putFile(path, 'two', 0o600);
      assert.equal(await readFile(path, 'utf8'), 'two');
      assert.equal((await stat(path)).mode & 0o777, 0o600);
      assert.deepEqual(await readdir(join(folder, 'a')), ['b']);
      await assert.rejects(host().putFile(join(path, 'c'), 'x', 0o600), { code: 'unavailable' });
      await assert.rejects(host().putFile(join(folder, 'a'), 'x', 0o600), { code: 'unavailable' });
      assert.deepEqual(await readdir(folder), ['a']);
      await host().removeFile(path);
      await host().removeFile(path);
      assert.deepEqual(await readdir(join(folder, 'a')), []);
    });
  });
}
