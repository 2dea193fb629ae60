import type { Listener } from './target.ts';

const LISTEN = '0A';
/** Docker's own name server inside containers on user-defined networks. */
const DOCKER_DNS = '127.0.0.11';

/**
 * Reads the listening sockets out of `/proc/PID/net/tcp` or `tcp6` (proc(5)): the second column is the local
 * address in the byte order of the machine's words and the port, both in hex; the fourth is the state.
 */
export function parseListeners(text: string): Listener[] {
  const found = new Map<string, Listener>();
  for (const line of text.split('\n')) {
    const [, local, , state] = line.trim().split(/\s+/);
    const match = /^((?:[0-9A-F]{8}){1,4}):([0-9A-F]{4})$/.exec(local ?? '');
    if (match === null || state !== LISTEN) continue;
    const listener = { address: parseAddress(match[1]!), port: Number.parseInt(match[2]!, 16) };
    if (listener.address !== DOCKER_DNS) found.set(`${listener.address} ${listener.port}`, listener);
  }
  return [...found.values()];
}

/** true where only processes in the same network namespace can connect. */
export function isLoopback(address: string): boolean {
  return address.startsWith('127.') || address === '::1';
}

function parseAddress(hex: string): string {
  const words = hex.match(/.{8}/g)!;
  const bytes = words.flatMap((word) => [6, 4, 2, 0].map((at) => Number.parseInt(word.slice(at, at + 2), 16)));
  if (bytes.length === 4) return bytes.join('.');
  const isMapped = bytes.slice(0, 10).every((byte) => byte === 0) && bytes[10] === 255 && bytes[11] === 255;
  if (isMapped) return bytes.slice(12).join('.');
  const groups = Array.from({ length: 8 }, (_, i) => (bytes[2 * i]! * 256 + bytes[2 * i + 1]!).toString(16));
  // URL has the shortest form of an IPv6 address (RFC 5952) built in.
  return new URL(`http://[${groups.join(':')}]`).hostname.slice(1, -1);
}
