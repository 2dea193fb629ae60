import { type ChildProcessByStdio, spawn } from 'node:child_process';
import type { Readable, Writable } from 'node:stream';
import { DinpError } from '../domain/errors.ts';
import { printable } from '../domain/names.ts';
import { gitEnvironment } from './environment.ts';

const MAX_STDERR = 16 * 1024;

export interface GitCommand {
  /** Absolute path of the git program. */
  git: string;
  /** Bare repository; undefined for commands that make one. */
  repository: string | undefined;
  args: string[];
  signal?: AbortSignal | undefined;
}

export type GitChild = ChildProcessByStdio<Writable, Readable, Readable>;

/** A git process, how it ends, and the end of what it says on stderr (always read, so that it never blocks on it). */
export interface StartedGit {
  child: GitChild;
  /** Resolves once the process has ended and its output is read; a signal counts as status 128. Never rejects. */
  ended: Promise<number>;
  stderr(): string;
}

/** Starts git with an environment of our making; killed when the signal aborts. @throws DinpError canceled where it has already */
export function startGit(command: GitCommand): StartedGit {
  // A short command could be done before the kill of a signal that came too early reaches it.
  if (command.signal?.aborted) throw canceled(command.signal);
  const where = command.repository === undefined ? [] : [`--git-dir=${command.repository}`];
  const child = spawn(command.git, [...where, ...command.args], {
    cwd: '/',
    env: gitEnvironment(),
    stdio: ['pipe', 'pipe', 'pipe'],
    signal: command.signal,
    killSignal: 'SIGKILL',
  });
  let errorText = '';
  child.stderr.setEncoding('utf8');
  child.stderr.on('data', (text: string) => {
    errorText = (errorText + text).slice(-MAX_STDERR);
  });
  // A process that ended early closes the pipe; its status tells the story.
  child.stdin.on('error', () => {});
  const ended = new Promise<number>((resolve) => {
    child.on('error', (error) => {
      if (error.name !== 'AbortError') errorText += error.message;
      // Where there is no pid it was never started, and "close" never comes.
      if (child.pid === undefined) resolve(128);
    });
    child.on('close', (status) => resolve(status ?? 128));
  });
  return { child, ended, stderr: () => errorText };
}

/** What became of a git process, as an error for the log; the pusher did nothing wrong. */
export function gitFailure(command: GitCommand, status: number, stderr: string): DinpError {
  if (command.signal?.aborted) return canceled(command.signal);
  const said = printable(stderr.trim().split('\n').at(-1) ?? '');
  return new DinpError('unavailable', `git ${command.args[0]} failed with status ${status}: ${said || 'no message'}`);
}

export function canceled(signal: AbortSignal): DinpError {
  return new DinpError('canceled', 'Reading the commit was canceled.', { cause: signal.reason });
}

/**
 * Runs git to its end.
 * @returns its output as text, and its status where that is one of `accept`
 * @throws DinpError unavailable for any other status, canceled when the signal aborts
 */
export async function runGit(
  command: GitCommand,
  accept: readonly number[] = [0],
): Promise<{ status: number; stdout: string }> {
  const { child, ended, stderr } = startGit(command);
  child.stdin.end();
  const chunks: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => chunks.push(chunk));
  const status = await ended;
  if (!accept.includes(status) || command.signal?.aborted) throw gitFailure(command, status, stderr());
  return { status, stdout: Buffer.concat(chunks).toString('utf8') };
}
