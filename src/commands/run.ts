import type { Command } from 'commander';
import { DinpError } from '../domain/errors.ts';
import type { Bind } from './bind.ts';
import type { Call } from './context.ts';
import { findApp, findProcess, noRelease } from './lookup.ts';

export function defineRun(program: Command, bind: Bind): void {
  program
    .command('run')
    .argument('<app>')
    .argument('<command...>')
    .usage('<app> [-p process] [--] <command...>')
    .description('run a command once, as the live release would')
    .option('-p, --process <process>', 'as this process has it (default: web, or the first)')
    .addHelpText(
      'after',
      '\nIt runs in a new container with the image, environment and volumes of the live release.' +
        '\nStandard input is passed on; the exit status is that of the command.',
    )
    .action(bind(run, { input: () => ({ kind: 'stream' }) }));
}

async function run(call: Call, name: string, command: string[], options: { process?: string }): Promise<number> {
  const app = findApp(call, name);
  if (app.liveRelease === undefined) throw noRelease(call, app);
  const target = call.targetOf(app);
  if (!target.runs) {
    throw new DinpError('refused', `the target of ${app.name} is "${target.name}", which runs nothing itself.`);
  }
  const process = options.process === undefined ? undefined : findProcess(call, app, options.process);
  const { stdin, signal } = call.out;
  const status = await target.runOnce(call.operations.specFor(app, process), command, {
    stdin,
    onStdout: (chunk) => call.out.stdout(chunk),
    onStderr: (chunk) => call.out.stderr(chunk),
    signal,
  });
  return status;
}
