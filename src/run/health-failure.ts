import { stripVTControlCharacters } from 'node:util';
import { DinpError } from '../domain/errors.ts';
import type { InstanceSpec, RunningInstance } from '../domain/instance.ts';
import { printable } from '../domain/names.ts';
import { isLoopback } from './listeners.ts';
import type { Listener, Target } from './target.ts';

const LAST_LINES = 15;
const PATIENCE_MS = 5_000;

/** `web.1`, with the service before it where the app has several. */
export function labelOf(spec: InstanceSpec): string {
  const label = `${spec.process}.${spec.index}`;
  return spec.service === spec.app ? label : `${spec.service}/${label}`;
}

/** The error for an instance that did not become healthy: what happened, its last lines, and what to do about it. */
export async function explainFailure(
  target: Target,
  spec: InstanceSpec,
  what: string,
  instance: RunningInstance | undefined,
): Promise<DinpError> {
  const [detail, listeners] = await Promise.all([
    lastLines(target, spec.name),
    // Where it has exited there is nothing to see any more.
    instance === undefined ? target.listeners?.(spec.name).catch(() => undefined) : undefined,
  ]);
  const hint = instance?.outOfMemory
    ? `Its limit is ${Math.round(spec.memoryBytes / 1024 ** 2)}M: set a larger "memory:" in dinp.yml.`
    : listeners === undefined
      ? undefined
      : portHint(spec, listeners);
  return new DinpError('start-failed', `${labelOf(spec)} ${what}.`, {
    ...(hint === undefined ? {} : { hint }),
    ...(detail === '' ? {} : { detail }),
  });
}

/** What trips people up: the app listens, but on another port, or only for itself. */
export function portHint(spec: InstanceSpec, listeners: Listener[]): string | undefined {
  if (spec.port === undefined) return undefined;
  const wanted = spec.port.container;
  const outside = listeners.filter((listener) => !isLoopback(listener.address));
  if (outside.some((listener) => listener.port === wanted)) return undefined;
  const inside = listeners.find((listener) => listener.port === wanted);
  if (inside !== undefined) {
    return `It listens on ${inside.address} port ${wanted} only, which cannot be reached from outside its container: let it listen on 0.0.0.0 (all addresses).`;
  }
  const ports = [...new Set(outside.map((listener) => listener.port))].sort((a, b) => a - b);
  if (ports.length === 1)
    return `It listens on ${ports[0]}: set "port: ${ports[0]}" in dinp.yml, or let it listen on $PORT (${wanted}).`;
  if (ports.length > 1)
    return `It listens on ${ports.join(', ')}: set "port:" in dinp.yml to the right one, or let it listen on $PORT (${wanted}).`;
  const local = [...new Set(listeners.map((listener) => listener.port))];
  if (local.length > 0) {
    return `It listens on 127.0.0.1 port ${local.join(', ')} only: let it listen on 0.0.0.0 port $PORT (${wanted}).`;
  }
  return `It listens on no TCP port at all: it must listen on $PORT (${wanted}), on all addresses.`;
}

async function lastLines(target: Target, instance: string): Promise<string> {
  const lines: string[] = [];
  try {
    const options = { tail: LAST_LINES, follow: false, signal: AbortSignal.timeout(PATIENCE_MS) };
    for await (const line of target.logs([instance], options)) {
      lines.push(printable(stripVTControlCharacters(line.text).replaceAll('\t', '    ')));
    }
  } catch {
    // The failure itself matters more than its log.
  }
  return lines.slice(-LAST_LINES).join('\n');
}
