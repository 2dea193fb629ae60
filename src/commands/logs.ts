import { setTimeout as sleep } from 'node:timers/promises';
import type { Command } from 'commander';
import type { InstanceStatus } from '../deploy/operations.ts';
import type { App } from '../domain/app.ts';
import type { LogLine, Target } from '../run/target.ts';
import type { Bind } from './bind.ts';
import type { Call } from './context.ts';
import { findApp, findProcess, noRelease } from './lookup.ts';
import { parseCount } from './options.ts';
import { cleanLine, iso } from './text.ts';

/** How often `--follow` looks for instances that came up since. */
const LOOK_MS = 2000;
/** Lines of an instance that came up while following: all of them, within reason. */
const NEW_INSTANCE_TAIL = 1000;

interface LogsOptions {
  follow?: boolean;
  n: number;
  process?: string;
  json?: boolean;
}

export function defineLogs(program: Command, bind: Bind): void {
  program
    .command('logs')
    .argument('<app>')
    .description('what the instances of an app write')
    .option('-f, --follow', 'go on with what they write from now, also those of the next releases')
    .option('-n <count>', 'last lines of each instance', parseCount, 100)
    .option('-p, --process <process>', 'only this process')
    .option('--json', 'print a JSON object a line: time, process, index, release, instance, text')
    .action(bind(logs));
}

async function logs(call: Call, name: string, options: LogsOptions): Promise<void> {
  const app = findApp(call, name);
  if (app.liveRelease === undefined) throw noRelease(call, app);
  const process = options.process === undefined ? undefined : findProcess(call, app, options.process);
  const target = call.targetOf(app);
  if (!target.runs) {
    return call.out.stderr(`The target of ${app.name} is "${target.name}": what runs it has its logs.\n`);
  }
  const find = () => runningInstances(call, app, process);
  const print = (line: LogLine, instance: InstanceStatus) => call.out.stdout(formatLine(line, instance, options.json));
  if (options.follow) return follow(call, target, find, options.n, print);
  const instances = await find();
  if (instances.size === 0 && !options.json) {
    return call.out.stderr(`Nothing of ${app.name} runs. See:\n  ${call.program} ps ${app.name}\n`);
  }
  const lines: LogLine[] = [];
  const { signal } = call.out;
  for await (const line of target.logs([...instances.keys()], { tail: options.n, follow: false, signal }))
    lines.push(line);
  // Stable: lines whose engine knows no time stay where they are within their instance.
  lines.sort((a, b) => (a.time ?? 0) - (b.time ?? 0));
  for (const line of lines) await print(line, instances.get(line.instance)!);
}

/** The instances that are there, by name. */
async function runningInstances(
  call: Call,
  app: App,
  process: string | undefined,
): Promise<Map<string, InstanceStatus>> {
  const all = await call.operations.instances(app);
  return new Map(
    all
      .filter((status) => status.real !== undefined && (process === undefined || status.process === process))
      .map((status) => [status.name, status]),
  );
}

/** Follows each instance on its own, and those that come up later, until the reader has enough. */
async function follow(
  call: Call,
  target: Target,
  find: () => Promise<Map<string, InstanceStatus>>,
  tail: number,
  print: (line: LogLine, instance: InstanceStatus) => Promise<void>,
): Promise<void> {
  const failed = new AbortController();
  const signal = AbortSignal.any([call.out.signal, failed.signal]);
  const followed = new Map<string, Promise<void>>();
  let failure: unknown;
  const followOne = async (instance: InstanceStatus, lines: number) => {
    for await (const line of target.logs([instance.name], { tail: lines, follow: true, signal })) {
      await print(line, instance);
    }
  };
  for (let first = true; !signal.aborted; first = false) {
    for (const [name, instance] of await find()) {
      if (followed.has(name)) continue;
      const one = followOne(instance, first ? tail : NEW_INSTANCE_TAIL).catch((error) => {
        failure ??= error;
        failed.abort();
      });
      followed.set(name, one);
    }
    await sleep(LOOK_MS, undefined, { signal }).catch(() => {});
  }
  await Promise.all(followed.values());
  if (failure !== undefined && !call.out.signal.aborted) throw failure;
}

/** `2025-11-21T10:15:02.123Z web.1  text` */
function formatLine(line: LogLine, instance: InstanceStatus, json: boolean | undefined): string {
  const { process, index, release } = instance;
  if (json) {
    const { time, text } = line;
    return `${JSON.stringify({ time: iso(time), process, index, release, instance: line.instance, text })}\n`;
  }
  const time = line.time === undefined ? '' : `${iso(line.time)} `;
  return `${time}${process}.${index}  ${cleanLine(line.text)}\n`;
}
