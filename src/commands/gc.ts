import type { Command } from 'commander';
import type { CleanUpReport, Thing } from '../deploy/clean-up/clean-up.ts';
import type { Bind } from './bind.ts';
import type { Call } from './context.ts';
import { findApp } from './lookup.ts';
import { printJson } from './print.ts';
import { renderTable } from './table.ts';
import { counted } from './text.ts';

interface Options {
  dryRun?: boolean;
  json?: boolean;
}

export function defineGc(program: Command, bind: Bind): void {
  program
    .command('gc')
    .argument('[app]', 'all apps where none is given')
    .description('remove images, logs and leftovers that no rule of "keep" holds any more (admins)')
    .option('--dry-run', 'show what would go and why the rest stays, and remove nothing')
    .option('--json', 'print JSON: untouched, removed (kind, name, bytes), kept (name, why), notes')
    .action(bind(gc, { admin: true }));
}

async function gc(call: Call, name: string | undefined, options: Options): Promise<void> {
  const only = name === undefined ? undefined : findApp(call, name);
  const report = await call.cleanUp.run((app) => only === undefined || app.id === only.id, options.dryRun === true);
  if (options.json) {
    const removed = report.removed.map((thing) => ({ ...thing, bytes: thing.bytes ?? null }));
    return printJson(call, { ...report, removed, dryRun: options.dryRun === true });
  }
  for (const { app, why } of report.untouched) await call.out.stdout(`Nothing of ${app} is removed: ${why}.\n`);
  for (const note of report.notes) await call.out.stdout(`${note}\n`);
  if (options.dryRun) await printKept(call, report);
  await printRemoved(call, report, options.dryRun ? 'would be removed' : 'removed');
}

async function printKept(call: Call, { kept }: CleanUpReport): Promise<void> {
  if (kept.length === 0) return;
  const columns = [
    { title: 'STAYS', value: (image: CleanUpReport['kept'][number]) => image.name },
    {
      title: 'WHY',
      value: ({ why }: CleanUpReport['kept'][number]) =>
        why.length > 1 ? `${why[0]} (and ${counted(why.length - 1, 'more reason')})` : why[0]!,
    },
  ];
  await call.out.stdout(`${renderTable(columns, kept, call.out.columns)}\n`);
}

async function printRemoved(call: Call, { removed }: CleanUpReport, what: string): Promise<void> {
  if (removed.length === 0) return await call.out.stdout(`Nothing ${what}.\n`);
  const columns = [
    { title: what.toUpperCase(), value: ({ kind, name }: Thing) => `${kind} ${name}` },
    { title: 'SIZE', value: ({ bytes }: Thing) => (bytes === undefined ? '-' : size(bytes)), right: true },
  ];
  await call.out.stdout(renderTable(columns, removed, call.out.columns));
  // The engine counts a copy under each of its names, and shares layers between copies.
  const counts = removed.filter(({ kind }) => !kind.startsWith('engine'));
  const total = counts.reduce((sum, { bytes }) => sum + (bytes ?? 0), 0);
  const where = counts.some(({ kind }) => kind === 'image')
    ? '; the registry frees the disk of images at its own garbage collection'
    : '';
  await call.out.stdout(`${size(total)} in ${counted(removed.length, 'thing')} ${what}${where}.\n`);
}

/** `312 B`, `1.2 MB`. */
function size(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let value = bytes;
  let unit = 0;
  for (; value >= 1000 && unit < units.length - 1; unit++) value /= 1000;
  return `${value >= 100 || unit === 0 ? value.toFixed(0) : value.toFixed(1)} ${units[unit]}`;
}
