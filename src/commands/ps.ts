import type { Command } from 'commander';
import type { AppInstances, InstanceStatus } from '../deploy/operations.ts';
import type { Health } from '../deploy/watch/health-rules.ts';
import type { App } from '../domain/app.ts';
import { DinpError } from '../domain/errors.ts';
import { printable } from '../domain/names.ts';
import type { Bind } from './bind.ts';
import type { Call } from './context.ts';
import { findApp, findProcess, noRelease, usableApps } from './lookup.ts';
import { printJson, printRows } from './print.ts';
import { withProgress } from './progress.ts';
import type { Column } from './table.ts';
import { cleanText, iso, listed, span } from './text.ts';

const MAX_INSTANCES = 100;

export function defineProcesses(program: Command, bind: Bind): void {
  program
    .command('ps')
    .argument('[app]', 'all apps where none is given')
    .description('the instances that should run and those that do, and how they are')
    .option(
      '--json',
      'print JSON: process, index, name, release, state, desired, host, healthy, health (state, since, problem, restarts, nextTry), routed, exitCode, restarts, port, startedAt; of all apps: app, release, stopped, problem, instances',
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
    health: status.health === undefined ? null : viewHealth(status.health),
    routed: status.routed ?? null,
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

function viewHealth(health: Health): object {
  const { failingSince, healthySince, problem, restarts, nextTry } = health;
  return {
    state: failingSince !== undefined ? 'failing' : healthySince !== undefined ? 'healthy' : 'starting',
    since: iso(failingSince ?? healthySince ?? health.startedAt),
    problem: problem ?? null,
    restarts,
    nextTry: iso(nextTry),
  };
}

function stateOf(status: InstanceStatus): string {
  const { real, health } = status;
  if (real === undefined) return 'missing';
  const ended = real.state === 'exited' || real.state === 'restarting';
  const exit = ended && real.exitCode !== undefined ? ` (${real.exitCode})` : '';
  const isFailing = health?.failingSince !== undefined && !ended;
  const words = isFailing ? ', failing' : real.healthy === false ? ', unhealthy' : '';
  return `${real.state}${exit}${words}${status.desired ? '' : ', should not run'}`;
}

/** Of an instance that fails: since when, why, and what is done about it. */
function note(status: InstanceStatus, now = Date.now()): string | undefined {
  const { health, real } = status;
  if (health?.failingSince === undefined) return undefined;
  const { failingSince, problem, restarts, nextTry } = health;
  const done = restarts === 0 ? [] : [restarts === 1 ? 'restarted once' : `restarted ${restarts} times`];
  const next =
    nextTry === undefined ? [] : [nextTry <= now ? 'restarted now' : `next restart in ${until(nextTry, now)}`];
  const engine = real?.state === 'restarting' ? ['its engine starts it again with growing pauses'] : [];
  const routed = status.routed === false ? ['visitors are led past it'] : [];
  const rest = [...done, ...next, ...engine, ...routed].map((text) => `; ${text}`).join('');
  const since = span(Math.floor((now - failingSince) / 1000) * 1000).replace('.0 s', ' s');
  return `${status.process}.${status.index} has been failing for ${since}: it ${problem}${rest}.`;
}

function until(time: number, now: number): string {
  return span(Math.ceil((time - now) / 1000) * 1000).replace('.0 s', ' s');
}

/** Restarts by its engine, and by us since it was last healthy for long. */
function restartsOf({ real, health }: InstanceStatus): string {
  return real === undefined ? '-' : String(real.restarts + (health?.restarts ?? 0));
}

function upSince(status: InstanceStatus): string {
  const { real } = status;
  return real?.state === 'running' && real.startedAt !== undefined
    ? span(Math.floor((Date.now() - real.startedAt) / 1000) * 1000).replace('.0 s', ' s')
    : '-';
}

async function ps(call: Call, name: string | undefined, options: { json?: boolean }): Promise<void> {
  if (name === undefined) return await psAll(call, options);
  const app = findApp(call, name);
  const target = call.targetOf(app);
  const rows = target.runs ? await call.operations.instances(app) : [];
  const columns = columnsOf<InstanceStatus>(rows, (status) => status);
  await printRows(call, rows, { json: options.json, view, columns, empty: whyEmpty(call, app) });
  if (!options.json)
    await printNotes(
      call,
      rows.flatMap((row) => note(row) ?? []),
    );
}

interface Row {
  app: App;
  /** undefined: the app has none, or nothing is known of them. */
  status: InstanceStatus | undefined;
  why: string;
}

/** All apps: what should run beside what does. */
async function psAll(call: Call, options: { json?: boolean }): Promise<void> {
  const all = await call.operations.allInstances(usableApps(call));
  if (options.json) return await printJson(call, all.map(viewApp));
  const rows = all.flatMap(({ app, instances, problem }): Row[] => {
    if (problem !== undefined) return [{ app, status: undefined, why: 'unknown' }];
    if (instances.length === 0) return [{ app, status: undefined, why: whyNone(call, app) }];
    return instances.map((status) => ({ app, status, why: '' }));
  });
  await printRows(call, rows, {
    json: false,
    view: (row) => row,
    columns: [
      { title: 'APP', value: ({ app }) => app.name },
      ...columnsOf<Row>(
        rows,
        ({ status }) => status,
        ({ why }) => why,
      ),
    ],
    empty: 'There are no apps yet.',
  });
  const notes = all.flatMap(({ app, instances, problem }) => [
    ...(problem === undefined ? [] : [`${app.name}: ${problem}`]),
    ...instances
      .flatMap((status) => (problem === undefined ? (note(status) ?? []) : []))
      .map((text) => `${app.name}: ${text}`),
  ]);
  await printNotes(call, notes);
}

function viewApp({ app, instances, problem }: AppInstances): object {
  return {
    app: app.name,
    release: app.liveRelease ?? null,
    stopped: app.stopped,
    problem: problem ?? null,
    // What should run is known all the same; what does is not.
    instances:
      problem === undefined ? instances.map(view) : instances.map((each) => ({ ...view(each), state: 'unknown' })),
  };
}

async function printNotes(call: Call, notes: readonly string[]): Promise<void> {
  if (notes.length > 0) await call.out.stdout(`\n${cleanText(notes.join('\n'))}\n`);
}

/** @param why stands for the state where there is no instance */
function columnsOf<R>(
  rows: readonly R[],
  statusOf: (row: R) => InstanceStatus | undefined,
  why: (row: R) => string = () => '',
): Column<R>[] {
  const value = (read: (status: InstanceStatus) => string) => (row: R) => {
    const status = statusOf(row);
    return status === undefined ? '-' : read(status);
  };
  const hasHosts = rows.some((row) => statusOf(row) !== undefined && hostOf(statusOf(row)!) !== undefined);
  return [
    { title: 'INSTANCE', value: value((status) => `${status.process}.${status.index}`) },
    { title: 'RELEASE', value: value((status) => `v${status.release}`), right: true },
    { title: 'STATE', value: (row) => (statusOf(row) === undefined ? why(row) : stateOf(statusOf(row)!)) },
    ...(hasHosts ? [{ title: 'HOST', value: value((status) => hostOf(status) ?? '-') }] : []),
    { title: 'UP', value: value(upSince), right: true },
    { title: 'RESTARTS', value: value(restartsOf), right: true },
    { title: 'PORT', value: value((status) => String(status.real?.hostPort ?? '-')), right: true },
    { title: 'NAME', value: value((status) => status.name), shrink: true },
  ];
}

/** Why an app has no instances, in a word. */
function whyNone(call: Call, app: App): string {
  if (!call.targetOf(app).runs) return 'unit files only';
  if (app.liveRelease === undefined) return 'no release yet';
  return app.stopped ? 'stopped' : 'scaled to 0';
}

function whyEmpty(call: Call, app: App): string {
  const target = call.targetOf(app);
  if (!target.runs)
    return `The target of ${app.name} is "${target.name}": its unit files are written, something else runs them.\n  ${call.program} units show ${app.name}`;
  if (app.liveRelease === undefined) return `${noRelease(call, app).message} ${noRelease(call, app).hint}`;
  if (app.stopped) return `${app.name} is stopped. Start it:\n  ${call.program} start ${app.name}`;
  return `Nothing of ${app.name} should run: all its processes are scaled to 0.\n  ${call.program} scale ${app.name} web=1`;
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
