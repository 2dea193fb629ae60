import { DinpError } from '../domain/errors.ts';
import { isProcessName, printable } from '../domain/names.ts';
import { parseCommand } from './command.ts';

export interface Procfile {
  /** Name to argv, in the file's order; without `release`. */
  processes: Map<string, string[]>;
  /** The `release:` line: run once before traffic moves. */
  release: string[] | undefined;
}

const LINE = /^([^\s:]+)[ \t]*:[ \t]*(.*)$/;
const EXAMPLE = 'Write one "name: command" a line, such as\n  web: ./server --port $PORT';

/**
 * Reads a Procfile as Heroku has it: `name: command` a line, empty lines and `#` comments between them.
 * @throws DinpError refused, naming every wrong line by its number
 */
export function parseProcfile(text: string): Procfile {
  const processes = new Map<string, string[]>();
  const problems: string[] = [];
  for (const [index, raw] of text
    .replace(/^\ufeff/, '')
    .split(/\r?\n/)
    .entries()) {
    const line = raw.trim();
    if (line === '' || line.startsWith('#')) continue;
    const problem = addLine(processes, line);
    if (problem !== undefined) problems.push(`line ${index + 1}: ${problem}`);
  }
  if (problems.length > 0) {
    throw new DinpError('refused', 'Procfile cannot be used:', { detail: problems.join('\n'), hint: EXAMPLE });
  }
  const release = processes.get('release');
  processes.delete('release');
  if (processes.size === 0 && release === undefined) {
    throw new DinpError('refused', 'Procfile has no process in it.', { hint: `${EXAMPLE}\nor remove the file.` });
  }
  return { processes, release };
}

function addLine(processes: Map<string, string[]>, line: string): string | undefined {
  const [, name, command] = LINE.exec(line) ?? [];
  if (name === undefined || command === undefined) return `found "${printable(line)}", which is no "name: command"`;
  if (!isProcessName(name))
    return `"${printable(name)}" cannot be a process name: use lower-case letters, digits and hyphens`;
  if (command === '') return `${name} has no command`;
  if (/[\u0000-\u0008\u000b-\u001f\u007f]/.test(command)) return `the command of ${name} holds a control character`;
  if (processes.has(name)) return `${name} is there twice`;
  processes.set(name, parseCommand(command));
  return undefined;
}
