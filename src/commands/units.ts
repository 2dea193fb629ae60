import { type Command, Option } from 'commander';
import type { Bind } from './bind.ts';
import type { Call } from './context.ts';
import { findApp, findRelease } from './lookup.ts';
import { printJson } from './print.ts';

export function defineUnits(program: Command, bind: Bind): void {
  const units = program.command('units').description('unit files of a release');
  units
    .command('show')
    .argument('<app>')
    .description('the unit files of a release, as systemd or fleet takes them')
    .option('--release <number>', 'the live one where none is given')
    .addOption(new Option('--target <target>', 'whose units').choices(['systemd', 'fleet']).default('systemd'))
    .option('--json', 'print JSON: name, text')
    .action(bind(show));
}

interface ShowOptions {
  release?: string;
  target: 'systemd' | 'fleet';
  json?: boolean;
}

async function show(call: Call, name: string, options: ShowOptions): Promise<void> {
  const app = findApp(call, name);
  const units = call.operations.units(app, findRelease(call, app, options.release), options.target);
  if (options.json)
    return printJson(
      call,
      units.map((unit) => ({ name: unit.name, text: unit.text })),
    );
  await call.out.stdout(units.map((unit) => `# ${unit.name}\n${unit.text.trimEnd()}\n`).join('\n'));
}
