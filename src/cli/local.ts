import { createReadStream, existsSync } from 'node:fs';
import { open } from 'node:fs/promises';
import type { Input } from '../commands/bind.ts';
import { DinpError } from '../domain/errors.ts';
import type { CommandRequest } from '../ssh/protocol.ts';
import type { OutputSink } from '../ssh/requests.ts';
import { connectToServer } from './server-socket.ts';

const SYSTEM_CONFIG = '/etc/dinp/dinp.yml';

/** The config file that counts: the one named, the environment's, the system's; undefined where there is none. */
export function findConfig(named: string | undefined, env: NodeJS.ProcessEnv): string | undefined {
  return named ?? (env.DINP_CONFIG || undefined) ?? (existsSync(SYSTEM_CONFIG) ? SYSTEM_CONFIG : undefined);
}

export interface LocalCommand {
  argv: string[];
  input: Input;
  config: string | undefined;
  /** How we are called in hints. */
  program: string;
  /** Ctrl-C. */
  signal: AbortSignal;
}

/**
 * Has the server of this machine run a command, with our own streams.
 * @returns the command's exit status
 */
export async function runLocally(command: LocalCommand): Promise<number> {
  // Only here, so that help is quick.
  const { loadConfig } = await import('../server/config.ts');
  const { data } = loadConfig(command.config);
  const stdin = await openInput(command.input);
  const requests = await connectToServer(data, command.config);
  const request: CommandRequest = {
    kind: 'command',
    identity: undefined,
    argv: command.argv,
    columns: process.stdout.isTTY ? process.stdout.columns : undefined,
    program: command.program,
    stdin: stdin !== undefined,
  };
  return await requests.stream(request, standardOutput, { signal: command.signal, ...(stdin && { stdin }) });
}

/** What the command reads; undefined where it reads nothing, so that a shell loop's own input is left alone. */
async function openInput(input: Input): Promise<AsyncIterable<Uint8Array> | undefined> {
  if (input.kind === 'none') return undefined;
  if (input.kind === 'file') return createReadStream('', { fd: await openFile(input.path) });
  askAtTerminal(input);
  return process.stdin;
}

/** Says what to type, or that it is nothing that one types. @throws DinpError usage */
export function askAtTerminal(input: Input): void {
  if (!process.stdin.isTTY) return;
  if (input.kind === 'needed') process.stderr.write(`Type or paste ${input.what}, then Enter and Ctrl-D.\n`);
  if (input.kind !== 'piped') return;
  throw new DinpError('usage', `${input.what} is read from standard input, and that is the terminal.`, {
    hint: input.hint,
  });
}

/** @throws DinpError usage */
export async function openFile(path: string): Promise<import('node:fs/promises').FileHandle> {
  try {
    const file = await open(path, 'r');
    if ((await file.stat()).isFile()) return file;
    await file.close();
  } catch (cause) {
    throw new DinpError('usage', `the file ${path} cannot be read: ${(cause as Error).message}.`, { cause });
  }
  throw new DinpError('usage', `${path} is not a file.`);
}

const standardOutput: OutputSink = {
  write: (fd, data) =>
    new Promise((resolve) => {
      (fd === 1 ? process.stdout : process.stderr).write(data, () => resolve());
    }),
};
