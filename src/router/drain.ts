import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';

const ESTABLISHED = '01';
const POLL_MS = 25;

/**
 * Waits until no connection to any of these addresses (`127.0.0.1:20013`) is open on this machine. Once a router has
 * stopped using them, what is still open are requests that have not ended: apps that end at once on SIGTERM would
 * break them off.
 * @returns whether all have ended within `maxMs`; true also where this machine does not show its connections
 */
export async function waitDrained(
  upstreams: string[],
  options: { maxMs: number; signal: AbortSignal },
): Promise<boolean> {
  const deadline = performance.now() + options.maxMs;
  const wanted = new Set(upstreams.map(peerOf).filter((peer) => peer !== undefined));
  for (;;) {
    const table = await readFile('/proc/net/tcp', 'latin1').catch(() => '');
    if (![...openPeers(table)].some((peer) => wanted.has(peer))) return true;
    if (performance.now() >= deadline || options.signal.aborted) return false;
    await sleep(POLL_MS, undefined, { signal: options.signal }).catch(() => undefined);
  }
}

/** The remote ends of open connections in `/proc/net/tcp` (proc(5)), `0100007F:4E2D`. */
export function* openPeers(table: string): Generator<string> {
  for (const line of table.split('\n')) {
    const [, , remote, state] = line.trim().split(/\s+/);
    if (state === ESTABLISHED && remote !== undefined) yield remote;
  }
}

/** An IPv4 address and port as the kernel writes them on a little-endian machine; undefined for other addresses. */
export function peerOf(upstream: string): string | undefined {
  const match = /^(\d+)\.(\d+)\.(\d+)\.(\d+):(\d+)$/.exec(upstream);
  if (match === null) return undefined;
  const [a, b, c, d, port] = match.slice(1).map(Number);
  const hex = (value: number, digits: number) => value.toString(16).toUpperCase().padStart(digits, '0');
  return `${hex(d!, 2)}${hex(c!, 2)}${hex(b!, 2)}${hex(a!, 2)}:${hex(port!, 4)}`;
}
