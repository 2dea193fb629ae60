#!/usr/bin/env node
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Command } from 'commander';
import { errorStatus, formatError } from '../commands/errors.ts';
import { parseCommand } from '../commands/registry.ts';
import { shellWord } from '../commands/text.ts';
import { DinpError } from '../domain/errors.ts';
import { parseHost, splitArguments } from './arguments.ts';
import { findConfig, runLocally } from './local.ts';
import { runRemotely } from './remote.ts';

/** Exit status after Ctrl-C, as shells give it. */
const INTERRUPTED = 130;
/** After a write to a pipe that nobody reads: 128 and SIGPIPE. */
const BROKEN_PIPE = 141;

const OWN_HELP = `
Of the program itself:
  --config <file>  config of the server on this machine (else DINP_CONFIG, else /etc/dinp/dinp.yml)
  --host <host>    talk to a server elsewhere, over ssh: user@host:port (else DINP_HOST)
  --version        the version of this program`;

interface ServeOptions {
  set?: string[];
}

/** @returns the exit status; undefined where the process goes on, as a server */
async function main(argv: readonly string[]): Promise<number | undefined> {
  const own = splitArguments(argv);
  if (own.version) {
    process.stdout.write(`dinp ${ownVersion()}\n`);
    return 0;
  }
  const host = own.host ?? (own.config === undefined ? process.env.DINP_HOST || undefined : undefined);
  const program = `dinp${own.host === undefined ? '' : ` --host ${shellWord(own.host)}`}${own.config === undefined ? '' : ` --config ${shellWord(own.config)}`}`;
  let serve: ServeOptions | undefined;
  let detect: ({ what: string } & DetectOptions) | undefined;
  const command = own.command.length === 0 ? ['help'] : own.command;
  const parsed = parseCommand(command, { program, columns: process.stdout.columns }, (tree) =>
    addOwnCommands(tree, {
      serve: (options) => {
        serve = options;
      },
      detect: (what, options) => {
        detect = { what, ...options };
      },
    }),
  );
  if (parsed.kind === 'print') {
    process.stdout.write(parsed.text);
    return 0;
  }
  if (detect?.schema) {
    process.stdout.write((await import('../artifact/manifest-json-schema.ts')).manifestJsonSchemaText());
    return 0;
  }
  if (detect !== undefined) {
    const { detectLocally } = await import('./detect.ts');
    process.stdout.write(await detectLocally(detect.what, detect.app));
    return 0;
  }
  const config = findConfig(own.config, process.env);
  if (serve !== undefined) {
    await (await import('../server/serve.ts')).serve({ config, settings: serve.set ?? [] });
    return undefined;
  }
  const input = parsed.kind === 'run' ? parsed.input : { kind: 'none' as const };
  if (host !== undefined) return await runRemotely(parseHost(host), command, input);
  return await interruptible((signal) => runLocally({ argv: command, input, config, program, signal }));
}

interface DetectOptions {
  app?: string;
  schema?: boolean;
}

interface OwnCommands {
  serve(options: ServeOptions): void;
  detect(what: string, options: DetectOptions): void;
}

/** The commands that run here and not in the server. */
function addOwnCommands(tree: Command, run: OwnCommands): void {
  tree
    .command('serve')
    .description('run the server in the foreground')
    .option('--set <key=value>', 'set a key of the config, such as ssh.port=2222; may be repeated', collect)
    .addHelpText('after', '\n  --config <file>  its config (else DINP_CONFIG, else /etc/dinp/dinp.yml)')
    .action(run.serve);
  tree
    .command('detect')
    .description('what a push of this checkout, a commit or an upload of a file would become; needs no server')
    .argument('[what]', 'a folder, a file such as app.war, or a commit such as HEAD~1', '.')
    .option('--app <name>', 'the app that it would be pushed to')
    .option('--schema', 'print the JSON Schema of dinp.yml, for editors, and nothing else')
    .action(run.detect);
  tree.addHelpText('after', OWN_HELP);
}

function collect(value: string, values: string[] = []): string[] {
  return [...values, value];
}

function ownVersion(): string {
  const file = join(import.meta.dirname, '../../package.json');
  return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version;
}

/** The first Ctrl-C asks the server to end the command; a second one does not wait for it. */
async function interruptible(work: (signal: AbortSignal) => Promise<number>): Promise<number> {
  const interrupt = new AbortController();
  const onInterrupt = () => {
    if (interrupt.signal.aborted) process.exit(INTERRUPTED);
    interrupt.abort();
  };
  process.on('SIGINT', onInterrupt);
  try {
    const status = await work(interrupt.signal);
    return interrupt.signal.aborted ? INTERRUPTED : status;
  } catch (error) {
    if (interrupt.signal.aborted) return INTERRUPTED;
    throw error;
  } finally {
    process.off('SIGINT', onInterrupt);
  }
}

for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? BROKEN_PIPE : 1));
}

main(process.argv.slice(2)).then(
  (status) => {
    // Standard input may still be open, with nobody left to read it.
    if (status !== undefined) process.exit(status);
  },
  (error: unknown) => {
    process.stderr.write(
      error instanceof DinpError ? formatError(error, 'dinp') : `${(error as Error).stack ?? error}\n`,
    );
    process.exit(error instanceof DinpError ? errorStatus(error) : 1);
  },
);
