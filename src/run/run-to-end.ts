import { DinpError } from '../domain/errors.ts';
import type { Host, RunOptions, RunResult } from './host.ts';

const DEFAULT_TIMEOUT_MS = 60_000;
/** More than this of a program's output is not kept: the last part is. */
const MAX_OUTPUT_BYTES = 8 * 1024 * 1024;

/**
 * What `Host.run` promises, made of the host's `stream`.
 * @throws DinpError timeout, with the last of what it printed; canceled; unavailable
 */
export async function runToEnd(
  host: Pick<Host, 'name' | 'stream'>,
  argv: string[],
  options: RunOptions = {},
): Promise<RunResult> {
  const timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS;
  const timeout = AbortSignal.timeout(timeoutMs);
  const signal = options.signal === undefined ? timeout : AbortSignal.any([timeout, options.signal]);
  const stdin = options.stdin === undefined ? undefined : oneChunk(options.stdin);
  const stdout = new Tail(MAX_OUTPUT_BYTES);
  const stderr = new Tail(MAX_OUTPUT_BYTES);
  try {
    const code = await host.stream(argv, {
      stdin,
      onStdout: (chunk) => stdout.add(chunk),
      onStderr: (chunk) => stderr.add(chunk),
      signal,
    });
    return { code, stdout: stdout.text(), stderr: stderr.text() };
  } catch (error) {
    if (!timeout.aborted || options.signal?.aborted) throw error;
    const seconds = Math.round(timeoutMs / 1000);
    throw new DinpError('timeout', `${argv[0]} did not end within ${seconds} s on ${host.name}.`, {
      detail: (stdout.text() + stderr.text()).trim().slice(-2000),
    });
  }
}

/** Keeps the last bytes of an output. */
class Tail {
  readonly #max: number;
  readonly #chunks: Uint8Array[] = [];
  #size = 0;

  constructor(max: number) {
    this.#max = max;
  }

  add(chunk: Uint8Array): void {
    this.#chunks.push(chunk);
    this.#size += chunk.length;
    while (this.#size > this.#max && this.#chunks.length > 1) this.#size -= this.#chunks.shift()!.length;
  }

  text(): string {
    return Buffer.concat(this.#chunks).toString();
  }
}

async function* oneChunk(text: string): AsyncGenerator<Uint8Array> {
  yield Buffer.from(text);
}
