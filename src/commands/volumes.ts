import type { Command } from 'commander';
import type { App } from '../domain/app.ts';
import { DinpError } from '../domain/errors.ts';
import { nearest, printable } from '../domain/names.ts';
import type { Bind } from './bind.ts';
import type { Call } from './context.ts';
import { findApp } from './lookup.ts';
import { printRows } from './print.ts';
import { listed } from './text.ts';

export function defineVolumes(program: Command, bind: Bind): void {
  const volumes = program.command('volumes').description('data of an app that outlives its releases');
  volumes
    .command('list')
    .argument('<app>')
    .description('the volumes of the live release')
    .option('--json', 'print JSON: name, path, process, volume')
    .action(bind(list));
  volumes
    .command('remove')
    .argument('<app>')
    .argument('<volume>')
    .description('remove a volume of a stopped app with all its data (admins)')
    .option('--confirm <volume>', 'the name of the volume once more')
    .action(bind(remove, { admin: true }));
}

function volumesOf(call: Call, app: App): ReturnType<Call['operations']['volumes']> {
  return app.liveRelease === undefined ? [] : call.operations.volumes(app);
}

async function list(call: Call, name: string, options: { json?: boolean }): Promise<void> {
  const app = findApp(call, name);
  await printRows(call, volumesOf(call, app), {
    json: options.json,
    view: ({ name, path, process, volume }) => ({ name, path, process, volume }),
    columns: [
      { title: 'VOLUME', value: (each) => each.name },
      { title: 'PATH', value: (each) => each.path, shrink: true },
      { title: 'PROCESS', value: (each) => each.process },
      { title: "ENGINE'S NAME", value: (each) => each.volume, shrink: true },
    ],
    empty: `${app.name} has no volumes. They are named in its dinp.yml.`,
  });
}

async function remove(call: Call, name: string, wanted: string, options: { confirm?: string }): Promise<void> {
  const app = findApp(call, name);
  const all = volumesOf(call, app);
  const volume = all.find((each) => each.name === wanted);
  if (volume === undefined) {
    const names = [...new Set(all.map((each) => each.name))];
    const near = nearest(wanted, names);
    throw new DinpError('not-found', `${app.name} has no volume "${printable(wanted)}".`, {
      hint:
        near !== undefined ? `Did you mean ${near}?` : names.length > 0 ? `It has ${listed(names)}.` : 'It has none.',
    });
  }
  if (options.confirm !== wanted) {
    throw new DinpError('usage', `removing ${wanted} removes all data in it for good.`, {
      hint: `If you mean it:  ${call.program} volumes remove ${app.name} ${wanted} --confirm ${wanted}`,
    });
  }
  if (!app.stopped) {
    throw new DinpError('refused', `${app.name} runs and uses ${wanted}.`, {
      hint: `Stop it first:  ${call.program} stop ${app.name}`,
    });
  }
  await call.targetOf(app).removeVolume(volume.volume);
  await call.out.stdout(`Removed ${wanted} of ${app.name} and its data.\n`);
}
