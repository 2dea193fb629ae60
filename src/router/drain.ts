import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';

const ESTABLISHED = '01';
const POLL_MS = 25;
/** A request that the router had accepted before it changed may not have its connection yet. */
const SETTLE_MS = 100;

/**
 * Waits until no connection to any of these addresses (`127.0.0.1:20013`) is open on this machine. Once a router has
 * stopped using them, what is open are requests that have not ended, and for a second connections that may be used
 * again: apps that end at once on SIGTERM would break the requests off.
 * @returns whether all have ended within `maxMs`; true also where this machine does not show its connections
 */
export async function waitDrained(
  upstreams: string[],
  options: { maxMs: number; signal: AbortSignal },
): Promise<boolean> {
  const deadline = performance.now() + options.maxMs;
  const wanted = new Set(upstreams.map(peerOf).filter((peer) => peer !== undefined));
  for (let pause = Math.min(SETTLE_MS, options.maxMs); ; pause = POLL_MS) {
    await sleep(pause, undefined, { signal: options.signal }).catch(() => undefined);
    const table = await readFile('/proc/net/tcp', 'latin1').catch(() => '');
    if (![...openPeers(table)].some((peer) => wanted.has(peer))) return true;
    if (performance.now() >= deadline || options.signal.aborted) return false;
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
