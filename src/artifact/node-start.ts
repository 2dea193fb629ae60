import { parseCommand } from './command.ts';
import type { PackageJson } from './source/package-json.ts';

/** Scripts may call scripts; more than this is a circle. */
const MAX_HOPS = 10;
const ASSIGNMENT = /^([A-Za-z_]\w*)=([\w./:@,+-]*)$/;

export interface Start {
  command: string[];
  /** Variables that are written in front of the command. */
  env: Record<string, string>;
  /** Program that the command begins with; undefined where a shell has to read it. */
  program: string | undefined;
}

/**
 * The command behind `npm start`, without npm: bases have none, and a process that is started by itself gets the signals.
 * @returns undefined where the script is one that only a package manager can run
 */
export function startOf(scripts: PackageJson['scripts'], name = 'start', hops = 0): Start | undefined {
  const script = scripts[name]?.trim();
  if (script === undefined || script === '' || hops > MAX_HOPS) return undefined;
  const words = script.split(/\s+/);
  const env: Record<string, string> = {};
  for (let pair = ASSIGNMENT.exec(words[0] ?? ''); pair !== null; pair = ASSIGNMENT.exec(words[0] ?? '')) {
    env[pair[1]!] = pair[2]!;
    words.shift();
  }
  const command = parseCommand(words.join(' '));
  const [program = '', ...rest] = command;
  if (program === '/bin/sh') return { command: ['/bin/sh', '-c', script], env: {}, program: undefined };
  if (program === 'npx' && rest[0] !== undefined && !rest[0].startsWith('-'))
    return { command: rest, env, program: rest[0] };
  if (!['npm', 'yarn', 'pnpm'].includes(program)) return program === '' ? undefined : { command, env, program };
  const called = calledScript(rest, scripts);
  const inner = called === undefined ? undefined : startOf(scripts, called, hops + 1);
  return inner && { ...inner, env: { ...env, ...inner.env } };
}

/** `npm run serve`, `yarn serve`: the script's name, where nothing else is asked of the package manager. */
function calledScript(words: readonly string[], scripts: PackageJson['scripts']): string | undefined {
  const [verb, name] = words[0] === 'run' ? [words[1], words[2]] : [words[0], words[1]];
  return verb !== undefined && name === undefined && verb in scripts ? verb : undefined;
}
