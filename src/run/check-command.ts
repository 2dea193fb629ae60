import { DinpError } from '../domain/errors.ts';
import { canceled } from './canceled.ts';
import type { Target } from './target.ts';

/** How a health command inside an instance ended; `said` is ` (status 3: its last line)`. */
export type CommandResult = { kind: 'passed' } | { kind: 'failed'; said: string } | { kind: 'timeout' };

/**
 * Runs a health command inside an instance.
 * @throws DinpError canceled; unavailable where the engine does not answer
 */
export async function checkCommand(
  target: Target,
  instance: string,
  command: string[],
  options: { timeoutMs: number; signal: AbortSignal },
): Promise<CommandResult> {
  const chunks: Uint8Array[] = [];
  const keep = (chunk: Uint8Array) => void chunks.push(chunk);
  const timeout = AbortSignal.timeout(options.timeoutMs);
  const signal = AbortSignal.any([timeout, options.signal]);
  try {
    const streams = { stdin: undefined, onStdout: keep, onStderr: keep, signal };
    const status = await target.exec(instance, command, streams);
    if (status === 0) return { kind: 'passed' };
    const last = Buffer.concat(chunks).toString().trim().split('\n').at(-1)?.slice(0, 200);
    return { kind: 'failed', said: ` (status ${status}${last ? `: ${last}` : ''})` };
  } catch (error) {
    if (options.signal.aborted) throw canceled(options.signal, error);
    if (error instanceof DinpError && error.code === 'unavailable') throw error;
    return timeout.aborted ? { kind: 'timeout' } : { kind: 'failed', said: '' };
  }
}
