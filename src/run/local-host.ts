import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, open, rename, rm } from 'node:fs/promises';
import { constants } from 'node:os';
import { dirname } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { DinpError } from '../domain/errors.ts';
import type { Host, RunOptions, RunResult, StreamOptions } from './host.ts';
import { runToEnd } from './run-to-end.ts';

/** The machine that we run on. */
export class LocalHost implements Host {
  readonly name = 'localhost';

  async putFile(path: string, text: string, mode: number): Promise<void> {
    const temporary = `${path}.${randomBytes(6).toString('hex')}.tmp`;
    try {
      await mkdir(dirname(path), { recursive: true });
      {
        await using file = await open(temporary, 'wx', mode);
        // The process's umask may have taken bits away.
        await file.chmod(mode);
        await file.writeFile(text);
        await file.sync();
      }
      await rename(temporary, path);
      await using folder = await open(dirname(path), 'r');
      await folder.sync();
    } catch (cause) {
      await rm(temporary, { force: true }).catch(() => undefined);
      throw new DinpError('unavailable', `${path} cannot be written: ${(cause as Error).message}.`, { cause });
    }
  }

  async removeFile(path: string): Promise<void> {
    await rm(path, { force: true });
  }

  async run(argv: string[], options?: RunOptions): Promise<RunResult> {
    return await runToEnd(this, argv, options);
  }

  async *follow(argv: string[], options: { signal: AbortSignal }): AsyncGenerator<string> {
    if (options.signal.aborted) return;
    const program = await start(argv);
    if (typeof program === 'number') return;
    const { child } = program;
    child.stdin.end();
    child.stderr.resume();
    options.signal.addEventListener('abort', program.kill, { once: true });
    try {
      for await (const line of createInterface({ input: child.stdout, crlfDelay: Number.POSITIVE_INFINITY }))
        yield line;
    } finally {
      options.signal.removeEventListener('abort', program.kill);
      program.kill();
      await program.closed;
    }
  }

  async stream(argv: string[], options: StreamOptions): Promise<number> {
    if (options.signal.aborted) throw canceled(argv);
    const program = await start(argv);
    if (typeof program === 'number') return program;
    const { child, kill, closed } = program;
    options.signal.addEventListener('abort', kill, { once: true });
    if (options.signal.aborted) kill();
    try {
      void feed(child.stdin, options.stdin);
      await Promise.all([drain(child.stdout, options.onStdout), drain(child.stderr, options.onStderr)]);
      const code = await closed;
      if (options.signal.aborted) throw canceled(argv);
      return code;
    } finally {
      options.signal.removeEventListener('abort', kill);
      kill();
    }
  }
}

/** A program that has been started. */
interface Program {
  child: ChildProcessWithoutNullStreams;
  /** Its exit status, once it has ended and nobody holds its output open. */
  closed: Promise<number>;
  /** Kills it and its children; nothing happens once it is closed. */
  kill(): void;
}

/**
 * Starts a program in a process group of its own, so that its children can be killed with it.
 * Gives a number, as a shell would, where there is no such program (127) or it may not be run (126).
 */
async function start(argv: string[]): Promise<Program | number> {
  const [program, ...rest] = argv;
  if (program === undefined) throw new Error('no program to run');
  const child = spawn(program, rest, { detached: true, stdio: 'pipe' });
  let open = true;
  const closed = new Promise<number>((resolve) => {
    child.once('close', (code, signal) => {
      open = false;
      resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal]));
    });
  });
  try {
    await once(child, 'spawn');
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') return 127;
    if (code === 'EACCES') return 126;
    throw new DinpError('unavailable', `${program} could not be started: ${message}.`, { cause: error });
  }
  return { child, closed, kill: () => open && killGroup(child.pid!) };
}

function killGroup(pid: number): void {
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // The group is gone already.
  }
}

async function drain(from: Readable, to: (chunk: Uint8Array) => void | Promise<void>): Promise<void> {
  for await (const chunk of from) await to(chunk as Uint8Array);
}

/** Writes stdin and closes it; the program may end before it has read all of it. */
async function feed(to: Writable, from: AsyncIterable<Uint8Array> | undefined): Promise<void> {
  const closed = new Promise<void>((resolve) => to.once('close', resolve));
  to.on('error', () => {});
  try {
    for await (const chunk of from ?? []) {
      if (!to.writable) return;
      if (!to.write(chunk)) await Promise.race([once(to, 'drain').catch(() => {}), closed]);
    }
    to.end();
  } catch {
    // The sender broke off: the program sees the end of its input.
    to.end();
  }
}

function canceled(argv: string[]): DinpError {
  return new DinpError('canceled', `${argv[0]} was canceled.`);
}
