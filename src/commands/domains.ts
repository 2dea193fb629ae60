import type { Command } from 'commander';
import type { AppDomain } from '../deploy/app-domains.ts';
import { parseHostName } from '../domain/host-names.ts';
import type { Bind } from './bind.ts';
import type { Call } from './context.ts';
import { findApp, usableApps } from './lookup.ts';
import { printRows } from './print.ts';
import { withProgress } from './progress.ts';
import { listed } from './text.ts';

export function defineDomains(program: Command, bind: Bind): void {
  const domains = program.command('domains').description('host names of apps');
  domains
    .command('list')
    .argument('[app]', 'all of yours where none is given')
    .description('host names: under the server\'s domain ("server"), added here, or of dinp.yml')
    .option('--json', 'print JSON: app, name, from, url')
    .action(bind(list));
  domains
    .command('add')
    .argument('<app>')
    .argument('<host...>', 'such as www.example.org or *.example.org')
    .description('give an app host names, at once and without a release (admins)')
    .action(bind(add, { admin: true }));
  domains
    .command('remove')
    .argument('<app>')
    .argument('<host...>')
    .description('take host names from an app that were added (admins)')
    .action(bind(remove, { admin: true }));
}

async function list(call: Call, name: string | undefined, options: { json?: boolean }): Promise<void> {
  const apps = name === undefined ? usableApps(call) : [findApp(call, name)];
  const rows = apps.flatMap((app) => call.domains.list(app));
  await printRows(call, rows, {
    json: options.json,
    view: (row) => ({ app: row.app, name: row.name, from: row.from, url: row.url ?? null }),
    columns: [
      { title: 'APP', value: (row) => row.app },
      { title: 'HOST', value: (row: AppDomain) => row.name, shrink: true },
      { title: 'FROM', value: (row) => row.from },
      { title: 'ADDRESS', value: (row) => row.url ?? '-', shrink: true },
    ],
    empty: `There are no host names. To add one:\n  ${call.program} domains add ${name ?? 'APP'} www.example.org`,
  });
}

async function add(call: Call, name: string, hosts: string[]): Promise<void> {
  const app = findApp(call, name);
  const names = [...new Set(hosts.map(parseHostName))];
  await withProgress(call, (progress) => call.domains.add(app, names, progress));
  const urls = call.domains.list(app).filter((row) => names.includes(row.name) && row.url !== undefined);
  const where = app.liveRelease === undefined ? `${app.name} will be reached` : `${app.name} is reached`;
  const text =
    urls.length === 0
      ? `Added ${listed(names)}. No router is configured here: something else has to lead there.`
      : `${where} at ${listed(urls.map((row) => row.url!))}`;
  await call.out.stdout(`${text}\n`);
}

async function remove(call: Call, name: string, hosts: string[]): Promise<void> {
  const app = findApp(call, name);
  const names = [...new Set(hosts.map(parseHostName))];
  await withProgress(call, (progress) => call.domains.remove(app, names, progress));
  await call.out.stdout(`Took ${listed(names)} from ${app.name}.\n`);
}
