import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { LoadResult } from './swap-load.ts';

/**
 * In a network namespace of its own, where the kernel is told to hand waiting connections over when Caddy closes a
 * listening socket (see CaddyRouter); the machine's own setting stays as it is.
 */
test('no request of thousands fails while instances are replaced and killed', async (context) => {
  const load = fileURLToPath(new URL('./swap-load.ts', import.meta.url));
  const script = 'ip link set lo up && echo 1 > /proc/sys/net/ipv4/tcp_migrate_req && exec "$0" "$1"';
  const flags = process.getuid?.() === 0 ? '-n' : '-rn';
  const { stdout } = await promisify(execFile)('unshare', [flags, 'sh', '-c', script, process.execPath, load]);
  const { requests, failures, stale, swaps } = JSON.parse(stdout) as LoadResult;
  swaps.sort((a, b) => a - b);
  const median = swaps[Math.floor(swaps.length / 2)]!;
  context.diagnostic(
    `${requests} requests; swap median ${median.toFixed(1)} ms, longest ${swaps.at(-1)!.toFixed(1)} ms`,
  );
  assert.ok(requests > 2_000, `${requests} requests`);
  assert.deepEqual(failures, []);
  assert.deepEqual(stale, []);
});
