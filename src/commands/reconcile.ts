import type { Command } from 'commander';
import type { ReconcileReport } from '../deploy/watch/reconcile.ts';
import type { Bind } from './bind.ts';
import type { Call } from './context.ts';
import { findApp } from './lookup.ts';
import { printJson } from './print.ts';
import { withProgress } from './progress.ts';
import { counted } from './text.ts';

interface Options {
  dryRun?: boolean;
  json?: boolean;
}

export function defineReconcile(program: Command, bind: Bind): void {
  program
    .command('reconcile')
    .argument('[app]', 'all apps where none is given')
    .description('bring what runs and the routes in line with what should be, now (admins)')
    .option('--dry-run', 'show what differs, and change nothing')
    .option('--json', 'print JSON: apps (app, differences, failed), strays, problems, looked')
    .addHelpText(
      'after',
      '\nThe server does the same every so often (reconcile.every in its config).' +
        '\nExit status 1: something could not be found out or set right.',
    )
    .action(bind(reconcile, { admin: true }));
}

async function reconcile(call: Call, name: string | undefined, options: Options): Promise<number> {
  const only = name === undefined ? undefined : findApp(call, name);
  const dryRun = options.dryRun === true;
  const run = (progress: Parameters<typeof call.reconciler.run>[1]['progress']) =>
    call.reconciler.run((app) => only === undefined || app.id === only.id, {
      ...{ dryRun, asked: true, progress },
      signal: call.out.signal,
    });
  const quiet = { heading: () => undefined, line: () => undefined };
  const report = options.json ? await run(quiet) : await withProgress(call, run);
  if (options.json) await printJson(call, { ...report, dryRun });
  else await printReport(call, report, dryRun);
  const wentWell = report.problems.length === 0 && report.apps.every(({ failed }) => failed.length === 0);
  return wentWell ? 0 : 1;
}

async function printReport(call: Call, report: ReconcileReport, dryRun: boolean): Promise<void> {
  const lines: string[] = [];
  for (const { app, differences, failed } of report.apps) {
    for (const { text } of differences) lines.push(`${app}: ${dryRun ? 'would ' : ''}${text}`);
    for (const why of failed) lines.push(`${app}: could not be set right: ${why}`);
  }
  for (const { instance, target, stopped } of report.strays) {
    const what = stopped ? 'stopped' : dryRun ? 'would be stopped' : 'could not be stopped';
    lines.push(`${instance} on ${target} belongs to no app: ${what}`);
  }
  for (const problem of report.problems) lines.push(`could not be looked at or set right: ${problem}`);
  const looked = counted(report.looked, 'app');
  if (lines.length === 0) lines.push(`All is as it should be: ${looked}.`);
  await call.out.stdout(lines.map((line) => `${line}\n`).join(''));
}
