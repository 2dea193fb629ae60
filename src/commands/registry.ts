import { Command, CommanderError } from 'commander';
import { DinpError } from '../domain/errors.ts';
import { nearest, printable } from '../domain/names.ts';
import { defineApps } from './apps.ts';
import { defineBases } from './bases.ts';
import { type Bind, type Input, NO_INPUT } from './bind.ts';
import { defineBuilds } from './builds.ts';
import { defineConfig } from './config.ts';
import type { Call, CommandContext } from './context.ts';
import { defineDeploy } from './deploy.ts';
import { defineDomains } from './domains.ts';
import { reportError } from './errors.ts';
import { defineGc } from './gc.ts';
import { defineHelp, greet } from './help.ts';
import { defineHosts } from './hosts.ts';
import { defineImages } from './images.ts';
import { defineKeys } from './keys.ts';
import { defineLogs } from './logs.ts';
import { requireAdmin } from './lookup.ts';
import { defineProcesses } from './ps.ts';
import { defineReconcile } from './reconcile.ts';
import { defineReleases } from './releases.ts';
import { defineRun } from './run.ts';
import { retypedLine, shellLine } from './text.ts';
import { defineTokens } from './tokens.ts';
import { defineUnits } from './units.ts';
import { defineVolumes } from './volumes.ts';
import { defineWhoami } from './whoami.ts';

/** How the command line is shown to whoever typed it. */
export interface Look {
  /** `dinp` or `ssh dinp@host`: begins every usage line. */
  program: string;
  columns: number | undefined;
}

/** A command line understood, not yet run. */
export interface Invocation {
  kind: 'run';
  input: Input;
  run(call: Call): Promise<number>;
}

/**
 * `print`: help or such, exit status 0, needs no server. `taken`: an action that the caller added itself was run.
 */
export type Parsed = Invocation | { kind: 'print'; text: string } | { kind: 'taken' };

/** What `dinp NOUN` means where no verb follows. */
const DEFAULT_VERBS: Record<string, string> = {
  apps: 'list',
  keys: 'list',
  builds: 'list',
  releases: 'list',
  config: 'list',
  domains: 'list',
  volumes: 'list',
  bases: 'list',
  tokens: 'list',
  units: 'show',
  images: 'inspect',
};

/** What people type who come from elsewhere. */
const HABITS: Record<string, string> = {
  app: 'apps',
  key: 'keys',
  build: 'builds',
  release: 'releases',
  env: 'config',
  domain: 'domains',
  base: 'bases',
  unit: 'units',
  image: 'images',
  volume: 'volumes',
  token: 'tokens',
  upload: 'deploy',
  ls: 'apps list',
  list: 'apps list',
  create: 'apps create',
  info: 'apps info',
  open: 'apps info',
  rename: 'apps rename',
  destroy: 'apps destroy',
  delete: 'apps destroy',
  set: 'config set',
  unset: 'config unset',
  log: 'logs',
  exec: 'run',
  cancel: 'builds cancel',
  health: 'status',
  prune: 'gc',
  converge: 'reconcile',
  repair: 'reconcile',
};

/**
 * Runs one command line to its end: the same for the terminal, `ssh dinp@host …` and the API. Every error is printed.
 * @param argv words behind the program's name
 * @returns the exit status
 */
export async function runCommand(argv: readonly string[], context: CommandContext): Promise<number> {
  const { out } = context;
  try {
    const parsed = parseCommand(argv, { program: context.program, columns: out.columns });
    if (parsed.kind === 'run') return await parsed.run({ ...context, argv });
    if (parsed.kind === 'print') await out.stdout(parsed.text);
    return 0;
  } catch (error) {
    // Whoever pressed Ctrl-C knows; 130 is what shells give for it.
    if (out.signal.aborted) return 130;
    const { text, status } = reportError(error, context.program, context.log);
    await out.stderr(text);
    return status;
  }
}

/**
 * Understands a command line without running anything.
 * @param extend adds commands of the caller's own, which run while parsing
 * @throws DinpError usage, with the command line that was probably meant
 */
export function parseCommand(argv: readonly string[], look: Look, extend?: (program: Command) => void): Parsed {
  if (argv.length === 0) return { kind: 'run', input: NO_INPUT, run: greet };
  let invocation: Invocation | undefined;
  const bind: Bind =
    (handler, demands = {}) =>
    (...words) => {
      invocation = {
        kind: 'run',
        input: demands.input?.(...words) ?? NO_INPUT,
        run: async (call) => {
          if (demands.admin) requireAdmin(call);
          const status = await handler(call, ...words);
          return typeof status === 'number' ? status : 0;
        },
      };
    };
  const printed: string[] = [];
  const program = buildProgram(look, bind, (text) => printed.push(text), extend);
  const words = resolveWords(argv, program, look);
  try {
    program.parse(words, { from: 'user' });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode !== 0) throw usageError(error, words, program, look);
    return { kind: 'print', text: printed.join('') };
  }
  if (invocation !== undefined) return invocation;
  return printed.length > 0 ? { kind: 'print', text: printed.join('') } : { kind: 'taken' };
}

/** A fresh tree: commander keeps the values of one parse in it. */
function buildProgram(
  look: Look,
  bind: Bind,
  print: (text: string) => void,
  extend: ((program: Command) => void) | undefined,
): Command {
  const program = new Command(look.program)
    .description('git push to deploy: commits become images, releases and running addresses.')
    .usage('COMMAND …')
    .exitOverride()
    .showSuggestionAfterError()
    .configureOutput({
      writeOut: print,
      writeErr: () => {},
      getOutHelpWidth: () => Math.max(60, look.columns ?? 100),
      getOutHasColors: () => false,
    })
    .configureHelp({ subcommandTerm: (command) => [command.name(), usageArguments(command)].join(' ').trim() })
    .helpCommand(false);
  program.commandsGroup('Apps:');
  defineApps(program, bind);
  defineConfig(program, bind);
  defineDomains(program, bind);
  program.commandsGroup('Builds and releases:');
  defineDeploy(program, bind);
  defineBuilds(program, bind);
  defineReleases(program, bind);
  defineImages(program, bind);
  defineUnits(program, bind);
  program.commandsGroup('What runs:');
  defineProcesses(program, bind);
  defineLogs(program, bind);
  defineRun(program, bind);
  defineVolumes(program, bind);
  defineReconcile(program, bind);
  program.commandsGroup('The server:');
  defineKeys(program, bind);
  defineTokens(program, bind);
  defineHosts(program, bind);
  defineBases(program, bind);
  defineGc(program, bind);
  defineWhoami(program, bind);
  defineHelp(program, bind);
  extend?.(program);
  for (const command of program.commands) command.helpCommand(false);
  return program;
}

/** `<app> [n]` of a command, or the verbs of a noun. */
function usageArguments(command: Command): string {
  if (command.commands.length > 0) return command.commands.map((verb) => verb.name()).join('|');
  return command.registeredArguments
    .map((argument) => `${argument.name()}${argument.variadic ? '…' : ''}`)
    .map((name, i) => (command.registeredArguments[i]!.required ? `<${name}>` : `[${name}]`))
    .join(' ');
}

/** The words in full: `help X` as `X --help`, the default verb of a noun put in, `--` before the command of `run`. */
function resolveWords(argv: readonly string[], program: Command, look: Look): string[] {
  const [first = '', ...rest] = argv;
  if (first === 'help' && rest.length > 0) return resolveWords([...rest, '--help'], program, look);
  if (first.startsWith('-')) return [...argv];
  const noun = find(program, first);
  if (noun === undefined) throw unknownCommand(argv, program, look);
  if (first === 'run') return ['run', ...markCommand(rest)];
  if (noun.commands.length === 0) return [...argv];
  const [second, ...more] = rest;
  if (second === '--help' || second === '-h' || (second !== undefined && find(noun, second))) return [...argv];
  const verb = find(noun, DEFAULT_VERBS[first]!)!;
  if (second === undefined || second.startsWith('-')) return [first, verb.name(), ...rest];
  // `builds blog`: one word is the app; with more behind it, it was meant to be a verb.
  const oneWord = more[0] === undefined || more[0].startsWith('-');
  if (oneWord && verb.registeredArguments.length > 0) return [first, verb.name(), ...rest];
  const near = nearest(second, namesOf(noun));
  throw new DinpError('usage', `there is no command "${printable(first)} ${printable(second)}".`, {
    hint:
      near === undefined
        ? `${look.program} ${first} --help lists what there is.`
        : `Did you mean:  ${look.program} ${retypedLine([first, near, ...more])}`,
  });
}

/** So that `run blog ls -l` needs no `--`: what follows the app and our own options is the command. */
function markCommand(words: readonly string[]): string[] {
  let appSeen = false;
  for (let i = 0; i < words.length; i++) {
    const word = words[i]!;
    if (word === '--') return [...words];
    if (word === '--process' || word === '-p') i++;
    else if (!word.startsWith('-')) {
      if (appSeen) return [...words.slice(0, i), '--', ...words.slice(i)];
      appSeen = true;
    }
  }
  return [...words];
}

function unknownCommand(argv: readonly string[], program: Command, look: Look): DinpError {
  const [word = '', ...rest] = argv;
  // `apps:create` is how Heroku and Dokku write it.
  const [noun = '', verb] = word.split(':', 2);
  const habit = Object.hasOwn(HABITS, noun) ? HABITS[noun]! : undefined;
  const meant = find(program, noun) ? noun : (habit ?? nearest(noun, namesOf(program)));
  return new DinpError('usage', `there is no command "${printable(word)}".`, {
    hint:
      meant === undefined
        ? `${look.program} help lists what there is.`
        : `Did you mean:  ${look.program} ${retypedLine([...meant.split(' '), ...(verb ? [verb] : []), ...rest])}`,
  });
}

function usageError(error: CommanderError, words: readonly string[], program: Command, look: Look): DinpError {
  const command = commandOf(words, program);
  const path = words.slice(0, command === program ? 0 : command.parent === program ? 1 : 2);
  const [message = '', suggestion] = error.message.replace(/^error: /, '').split('\n');
  const better = /^\(Did you mean (?:one of )?([^ ,?]+)/.exec(suggestion ?? '')?.[1];
  const typed = /'([^']*)'$/.exec(message)?.[1];
  const retyped = words.map((word) => (word === typed ? better! : word));
  const more = shellLine([...path, '--help']);
  const usage = `Usage:  ${[look.program, ...path, usageArguments(command)].join(' ').trim()}\n       ${look.program} ${more} says more.`;
  const hint =
    better !== undefined
      ? `Did you mean:  ${look.program} ${retypedLine(retyped)}`
      : command === program
        ? `${look.program} help lists what there is.`
        : usage;
  return new DinpError('usage', explain(error, message, typed), { hint });
}

function explain(error: CommanderError, message: string, typed: string | undefined): string {
  if (error.code === 'commander.missingArgument') return `<${typed}> is missing.`;
  if (error.code === 'commander.unknownOption') return `there is no option "${typed}" here.`;
  return `${message.replace(/\.$/, '')}.`;
}

function commandOf(words: readonly string[], program: Command): Command {
  const noun = find(program, words[0] ?? '');
  return (noun && find(noun, words[1] ?? '')) ?? noun ?? program;
}

function find(command: Command, name: string): Command | undefined {
  return command.commands.find((candidate) => candidate.name() === name);
}

function namesOf(command: Command): string[] {
  return command.commands.map((candidate) => candidate.name());
}
