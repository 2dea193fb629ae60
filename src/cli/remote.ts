import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import type { Input } from '../commands/bind.ts';
import { shellWord } from '../commands/text.ts';
import { DinpError } from '../domain/errors.ts';
import type { RemoteHost } from './arguments.ts';
import { askAtTerminal, openFile } from './local.ts';

/** The arguments for ssh(1) that run a command line on a server. */
export function sshArguments(remote: RemoteHost, argv: readonly string[], input: Input): string[] {
  return [
    '-T',
    ...(remote.port === undefined ? [] : ['-p', String(remote.port)]),
    ...(input.kind === 'none' ? ['-n'] : []),
    '--',
    `${remote.user}@${remote.host}`,
    // Not printable(): the words must arrive as they are.
    argv.map(shellWord).join(' '),
  ];
}

/**
 * Has a server elsewhere run a command, through the system's ssh with its keys and config.
 * @returns the command's exit status, or 255 where ssh itself failed and said why
 */
export async function runRemotely(remote: RemoteHost, argv: readonly string[], input: Input): Promise<number> {
  const file = input.kind === 'file' ? await openFile(input.path) : undefined;
  askAtTerminal(input);
  const child = spawn('ssh', sshArguments(remote, argv, input), {
    stdio: [file?.fd ?? 'inherit', 'inherit', 'inherit'],
  });
  return await new Promise((resolve, reject) => {
    child.once('error', (cause) => {
      reject(
        new DinpError('unavailable', `ssh cannot be started: ${cause.message}.`, {
          hint: 'Install an OpenSSH client.',
          cause,
        }),
      );
    });
    child.once('close', (code, signal) => resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal])));
  });
}
