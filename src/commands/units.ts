import { type Command, Option } from 'commander';
import { UNIT_KINDS, type UnitKind, unitKindOf } from '../domain/unit-file.ts';
import type { Bind } from './bind.ts';
import type { Call } from './context.ts';
import { findApp, findRelease, requireAdmin } from './lookup.ts';
import { printJson } from './print.ts';

export function defineUnits(program: Command, bind: Bind): void {
  const units = program.command('units').description('unit files of a release');
  units
    .command('show')
    .argument('<app>')
    .description('the unit files of a release, as its target or another engine takes them')
    .option('--release <number>', 'the live one where none is given')
    .addOption(
      new Option('--target <kind>', "whose units; those of the release's target where none is given").choices(
        UNIT_KINDS,
      ),
    )
    .option('--secrets', 'the files with config values that the units need instead (admins)')
    .option('--json', 'print JSON: name, text')
    .action(bind(show));
}

interface ShowOptions {
  release?: string;
  target?: UnitKind;
  secrets?: boolean;
  json?: boolean;
}

async function show(call: Call, name: string, options: ShowOptions): Promise<void> {
  const app = findApp(call, name);
  if (options.secrets) requireAdmin(call);
  const release = findRelease(call, app, options.release);
  const kind = options.target ?? unitKindOf(release.target);
  const files = options.secrets
    ? call.operations.unitSecrets(release, kind)
    : await call.operations.units(release, kind);
  if (options.json)
    return printJson(
      call,
      files.map((file) => ({ name: file.name, text: file.text })),
    );
  await call.out.stdout(files.map((file) => `# ${file.name}\n${file.text.trimEnd()}\n`).join('\n'));
}
