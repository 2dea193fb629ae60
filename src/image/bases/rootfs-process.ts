import { spawn } from 'node:child_process';
import { access, constants } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import type { Readable } from 'node:stream';
import { DinpError } from '../../domain/errors.ts';
import { canceled, throwIfAborted } from '../abort.ts';

export interface StartOptions {
  onOutput(text: string): void;
  signal: AbortSignal;
  cwd?: string | undefined;
}

/** Whether a program is on this machine's PATH. */
export async function onPath(tool: string): Promise<boolean> {
  for (const folder of (process.env.PATH ?? '').split(delimiter)) {
    if (
      folder !== '' &&
      (await access(join(folder, tool), constants.X_OK).then(
        () => true,
        () => false,
      ))
    )
      return true;
  }
  return false;
}

/**
 * Starts a tool; its stderr is shown, its last lines are the error's detail.
 * @throws DinpError canceled at once; `ended` rejects with build-failed, unavailable, canceled
 */
export function start(
  tool: string,
  args: readonly string[],
  options: StartOptions,
): { stdout: Readable; ended: Promise<void> } {
  throwIfAborted(options.signal);
  const child = spawn(tool, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    cwd: options.cwd,
    env: { ...process.env, LC_ALL: 'C.UTF-8', DEBIAN_FRONTEND: 'noninteractive', SOURCE_DATE_EPOCH: '0' },
  });
  let tail = '';
  child.stderr.setEncoding('utf8');
  child.stderr.on('data', (text: string) => {
    tail = (tail + text).slice(-4000);
    options.onOutput(text);
  });
  const stop = (): void => {
    child.kill('SIGTERM');
  };
  options.signal.addEventListener('abort', stop, { once: true });
  const ended = new Promise<void>((resolve, reject) => {
    child.once('error', (cause) =>
      reject(new DinpError('unavailable', `${tool} cannot be started on this machine.`, { cause })),
    );
    child.once('close', (status) => {
      options.signal.removeEventListener('abort', stop);
      if (options.signal.aborted) reject(canceled(options.signal));
      else if (status === 0) resolve();
      else
        reject(
          new DinpError('build-failed', `${tool} ended with exit status ${status}.`, {
            detail: tail.trimEnd().split('\n').slice(-20).join('\n'),
          }),
        );
    });
  });
  // Its reader may fail first; the failure of the tool is then not waited for.
  ended.catch(() => {});
  return { stdout: child.stdout, ended };
}

/** What a tool writes to its standard output, without the space around it. @throws DinpError as `start` */
export async function run(tool: string, args: readonly string[], signal: AbortSignal): Promise<string> {
  const child = start(tool, args, { onOutput: () => {}, signal });
  const chunks: Buffer[] = [];
  for await (const chunk of child.stdout as AsyncIterable<Buffer>) chunks.push(chunk);
  await child.ended;
  return Buffer.concat(chunks).toString('utf8').trim();
}
