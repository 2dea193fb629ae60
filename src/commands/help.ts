import type { Command } from 'commander';
import type { Bind } from './bind.ts';
import type { Call } from './context.ts';
import { describeIdentity, usableApps } from './lookup.ts';
import { renderTable } from './table.ts';
import { gitRemote } from './text.ts';

const SHOWN_APPS = 20;

export function defineHelp(program: Command, bind: Bind): void {
  program
    .command('help')
    .argument('[command...]')
    .description('this text, or more about one command')
    // Words behind help never arrive here: they were turned into COMMAND --help.
    .action(() => program.outputHelp());
  program.command('version').description('the version of the server').action(bind(version));
  program.addHelpText(
    'after',
    '\nEvery list and show command takes --json. "COMMAND --help" says more about a command.' +
      '\nDeployers may use, for the apps they were given: apps list and info, config (without values), domains list, deploy,' +
      '\nbuilds, releases, rollback, units, ps, scale, restart, stop, start, logs, run, volumes list, whoami.' +
      '\nAdmins may do everything.',
  );
}

async function version(call: Call): Promise<void> {
  await call.out.stdout(`dinp ${call.server.version}\n`);
}

/** What a command line without words gets: who one is, what there is, what to type next. */
export async function greet(call: Call): Promise<number> {
  const apps = usableApps(call);
  const shown = apps.slice(0, SHOWN_APPS);
  const lines = [`You are ${describeIdentity(call.identity)}.\n`];
  if (shown.length > 0) {
    lines.push(
      '\n',
      renderTable(
        [
          { title: 'APP', value: (app) => app.name },
          { title: 'RELEASE', value: (app) => (app.liveRelease === undefined ? '-' : `v${app.liveRelease}`) },
          { title: 'ADDRESS', value: (app) => call.operations.addresses(app)[0] ?? '-' },
        ],
        shown,
        call.out.columns,
      ),
    );
    if (apps.length > shown.length) lines.push(`and ${apps.length - shown.length} more:  ${call.program} apps list\n`);
  }
  const name = call.identity.role === 'admin' ? 'APP' : (apps[0]?.name ?? 'APP');
  lines.push(
    '\nTo deploy, in your repository:\n',
    `  git remote add dinp ${gitRemote(call.server, name)}\n`,
    `  git push dinp ${apps.find((app) => app.name === name)?.deployBranch ?? 'HEAD:main'}\n`,
    `\nAll commands:\n  ${call.program} help\n`,
  );
  await call.out.stdout(lines.join(''));
  return 0;
}
