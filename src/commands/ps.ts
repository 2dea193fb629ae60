import type { Command } from 'commander';
import type { InstanceStatus } from '../deploy/operations.ts';
import { DinpError } from '../domain/errors.ts';
import { printable } from '../domain/names.ts';
import type { Bind } from './bind.ts';
import type { Call } from './context.ts';
import { findApp, findProcess, noRelease } from './lookup.ts';
import { printRows } from './print.ts';
import { withProgress } from './progress.ts';
import { iso, listed, span } from './text.ts';

const MAX_INSTANCES = 100;

export function defineProcesses(program: Command, bind: Bind): void {
  program
    .command('ps')
    .argument('<app>')
    .description('the instances that should run and those that do')
    .option(
      '--json',
      'print JSON: process, index, name, release, state, desired, host, healthy, exitCode, restarts, port, startedAt',
    )
    .action(bind(ps));
  program
    .command('scale')
    .argument('<app>')
    .argument('[formation...]', 'PROCESS=COUNT; none: say how many there are')
    .description('run so many instances of a process')
    .option('--json', 'print JSON: a count for each process')
    .action(bind(scale));
  program.command('restart').argument('<app>').description('restart all instances of an app').action(bind(restart));
  program.command('stop').argument('<app>').description('stop an app until it is started again').action(bind(stop));
  program.command('start').argument('<app>').description('start a stopped app').action(bind(start));
}

function view(status: InstanceStatus): object {
  const { real } = status;
  return {
    process: status.process,
    index: status.index,
    name: status.name,
    release: status.release,
    state: real?.state ?? 'missing',
    desired: status.desired,
    host: hostOf(status) ?? null,
    healthy: real?.healthy ?? null,
    exitCode: real?.exitCode ?? null,
    restarts: real?.restarts ?? null,
    port: real?.hostPort ?? null,
    startedAt: iso(real?.startedAt),
  };
}

/** Where it is, or else should be. */
function hostOf({ host, real }: InstanceStatus): string | undefined {
  return real?.host ?? host;
}

function stateOf(status: InstanceStatus): string {
  const { real } = status;
  if (real === undefined) return 'missing';
  const exit = real.state === 'exited' && real.exitCode !== undefined ? ` (${real.exitCode})` : '';
  const health = real.healthy === false ? ', unhealthy' : '';
  return `${real.state}${exit}${health}${status.desired ? '' : ', should not run'}`;
}

function upSince(status: InstanceStatus): string {
  const { real } = status;
  return real?.state === 'running' && real.startedAt !== undefined
    ? span(Math.floor((Date.now() - real.startedAt) / 1000) * 1000).replace('.0 s', ' s')
    : '-';
}

async function ps(call: Call, name: string, options: { json?: boolean }): Promise<void> {
  const app = findApp(call, name);
  const target = call.targetOf(app);
  const empty = !target.runs
    ? `The target of ${app.name} is "${target.name}": its unit files are written, something else runs them.\n  ${call.program} units show ${app.name}`
    : app.liveRelease === undefined
      ? `${noRelease(call, app).message} ${noRelease(call, app).hint}`
      : app.stopped
        ? `${app.name} is stopped. Start it:\n  ${call.program} start ${app.name}`
        : `Nothing of ${app.name} should run: all its processes are scaled to 0.\n  ${call.program} scale ${app.name} web=1`;
  const instances = target.runs ? await call.operations.instances(app) : [];
  const hasHosts = instances.some((status) => hostOf(status) !== undefined);
  await printRows(call, instances, {
    json: options.json,
    view,
    columns: [
      { title: 'INSTANCE', value: (status) => `${status.process}.${status.index}` },
      { title: 'RELEASE', value: (status) => `v${status.release}`, right: true },
      { title: 'STATE', value: stateOf },
      ...(hasHosts ? [{ title: 'HOST', value: (status: InstanceStatus) => hostOf(status) ?? '-' }] : []),
      { title: 'UP', value: upSince, right: true },
      { title: 'RESTARTS', value: (status) => String(status.real?.restarts ?? '-'), right: true },
      { title: 'PORT', value: (status) => String(status.real?.hostPort ?? '-'), right: true },
      { title: 'NAME', value: (status) => status.name, shrink: true },
    ],
    empty,
  });
}

async function scale(call: Call, name: string, words: string[], options: { json?: boolean }): Promise<void> {
  const app = findApp(call, name);
  if (app.liveRelease === undefined) throw noRelease(call, app);
  const wanted: Record<string, number> = {};
  for (const word of words) {
    const [process, count] = parseScale(call, app.name, word);
    if (Object.hasOwn(wanted, process)) throw new DinpError('usage', `${process} is given twice.`);
    wanted[findProcess(call, app, process)] = count;
  }
  const before = call.operations.formation(app);
  const changed = Object.keys(wanted).some((process) => wanted[process] !== before[process]);
  if (changed) {
    await withProgress(call, (progress) => call.operations.scale(app, wanted, progress, call.out.signal));
  }
  const counts = Object.entries({ ...before, ...wanted });
  await printRows(call, counts, {
    json: options.json,
    view: ([process, instances]) => ({ process, instances }),
    columns: [
      { title: 'PROCESS', value: ([process]) => process },
      { title: 'INSTANCES', value: ([, instances]) => String(instances), right: true },
    ],
    empty: `${app.name} has no processes.`,
  });
}

function parseScale(call: Call, app: string, word: string): [process: string, count: number] {
  const match = /^([a-z0-9-]+)[=:](\d{1,9})$/.exec(word);
  if (match === null) {
    throw new DinpError('usage', `"${printable(word)}" is not PROCESS=COUNT.`, {
      hint: `For example:  ${call.program} scale ${app} web=2`,
    });
  }
  const count = Number(match[2]);
  if (count <= MAX_INSTANCES) return [match[1]!, count];
  throw new DinpError('usage', `${count} instances are too many; at most ${MAX_INSTANCES} of a process run.`);
}

async function restart(call: Call, name: string): Promise<void> {
  const app = findApp(call, name);
  if (app.liveRelease === undefined) throw noRelease(call, app);
  if (app.stopped) {
    throw new DinpError('refused', `${app.name} is stopped.`, { hint: `Start it:  ${call.program} start ${app.name}` });
  }
  await withProgress(call, (progress) => call.operations.restart(app, progress, call.out.signal));
  await call.out.stdout(`Restarted ${app.name}.\n`);
}

async function stop(call: Call, name: string): Promise<void> {
  const app = findApp(call, name);
  if (app.stopped) return call.out.stdout(`${app.name} is stopped already.\n`);
  await withProgress(call, (progress) => call.operations.stop(app, progress));
  await call.out.stdout(`Stopped ${app.name}. Start it again:\n  ${call.program} start ${app.name}\n`);
}

async function start(call: Call, name: string): Promise<void> {
  const app = findApp(call, name);
  if (!app.stopped) {
    if (app.liveRelease === undefined) throw noRelease(call, app);
    return call.out.stdout(`${app.name} is not stopped.\n`);
  }
  await withProgress(call, (progress) => call.operations.start(app, progress, call.out.signal));
  const where = call.operations.addresses(app);
  await call.out.stdout(`Started ${app.name}${where.length === 0 ? '' : `: ${listed(where.slice(0, 1))}`}.\n`);
}
