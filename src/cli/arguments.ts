import { DinpError } from '../domain/errors.ts';

/** Options of the `dinp` program itself; all else is the command line for the server. */
export interface Arguments {
  /** Config file of the server on this machine. */
  config: string | undefined;
  /** `user@host:port` of a server elsewhere. */
  host: string | undefined;
  /** Only the version of this program is asked for. */
  version: boolean;
  command: string[];
}

/**
 * Takes the program's own options out of the command line, wherever they stand, but for what follows `--` and for the
 * command that `run` passes on.
 * @throws DinpError usage for an option without its value
 */
export function splitArguments(argv: readonly string[]): Arguments {
  const result: Arguments = { config: undefined, host: undefined, version: false, command: [] };
  for (let i = 0; i < argv.length; i++) {
    const word = argv[i]!;
    if (word === '--' || isPassedOn(result.command)) {
      result.command.push(...argv.slice(i));
      return result;
    }
    const option = /^--(config|host)(?:=(.*))?$/s.exec(word);
    if (option !== null) {
      result[option[1] as 'config' | 'host'] = requireValue(`--${option[1]}`, option[2] ?? argv[++i]);
    } else if ((word === '--version' || word === '-V') && result.command.length === 0) {
      result.version = true;
    } else {
      result.command.push(word);
    }
  }
  return result;
}

/** `run APP WORD`: the rest belongs to the command that is run. */
function isPassedOn(command: readonly string[]): boolean {
  if (command[0] !== 'run') return false;
  const operands = command.filter(
    (word, i) => !word.startsWith('-') && !['-p', '--process'].includes(command[i - 1] ?? ''),
  );
  return operands.length > 2;
}

function requireValue(option: string, value: string | undefined): string {
  if (value !== undefined && value !== '') return value;
  const example = option === '--host' ? 'dinp@example.org:2222' : '/etc/dinp/dinp.yml';
  throw new DinpError('usage', `${option} needs a value.`, {
    hint: `For example:  dinp ${option} ${example} apps list`,
  });
}

export interface RemoteHost {
  user: string;
  host: string;
  /** undefined: what the ssh config says, else 22. */
  port: number | undefined;
}

/** `[user@]host[:port]` or `ssh://[user@]host[:port]`; an IPv6 address with a port stands in brackets. @throws DinpError usage */
export function parseHost(text: string): RemoteHost {
  const match = /^(?:ssh:\/\/)?(?:([^@/\s]+)@)?(?:\[([0-9A-Fa-f:.%]+)\]|([^:@/[\]\s]+))(?::(\d{1,5}))?\/?$/.exec(text);
  const host = match?.[2] ?? match?.[3];
  const port = match?.[4] === undefined ? undefined : Number(match[4]);
  const user = match?.[1] ?? 'dinp';
  if (host === undefined || host.startsWith('-') || user.startsWith('-') || port === 0 || (port ?? 1) > 65535) {
    throw new DinpError('usage', `"${text}" is not the address of a server.`, {
      hint: 'It is user@host or user@host:port, such as dinp@example.org:2222.',
    });
  }
  return { user, host, port };
}
