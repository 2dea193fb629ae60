import { setTimeout as sleep } from 'node:timers/promises';
import { engineError } from '../docker/docker-errors.ts';
import { LogPosition, logLines, mergeAsTheyCome, mergeByTime, type StampedLine } from '../docker/docker-logs.ts';
import { frames } from '../docker/docker-streams.ts';
import type { LogLine, LogOptions } from '../target.ts';
import type { SwarmManagers } from './swarm-managers.ts';
import { currentTask, isDown, phaseOf, type SwarmTask } from './swarm-state.ts';

const POLL_MS = 500;

/**
 * The merged lines of several instances, read from the nodes through the managers: first what there is, in order of
 * time, then (with follow) what comes, also after an instance moved to another node. Lines of a node that is down are
 * not to be had; a line says so.
 */
export async function* readLogs(
  managers: SwarmManagers,
  instances: string[],
  { tail, follow, signal: outer }: LogOptions,
): AsyncGenerator<LogLine> {
  const stop = new AbortController();
  const signal = AbortSignal.any([outer, stop.signal]);
  try {
    const nodes = await managers.nodes();
    const past: AsyncGenerator<StampedLine>[] = [];
    const coming: AsyncGenerator<StampedLine>[] = [];
    for (const instance of instances) {
      const service = await managers.find(instance);
      if (service === undefined) continue;
      const known = new Map<string, LogPosition>();
      for (const task of await managers.tasksOf(service.ID)) {
        const node = nodes.find(({ ID }) => ID === task.NodeID);
        // Without a container there are no lines.
        if (!task.Status.ContainerStatus?.ContainerID) continue;
        if (isDown(node)) {
          const where = node?.Description.Hostname ?? 'a node that is gone';
          yield { instance, time: undefined, text: `(the lines of ${where} are missing: it does not answer)` };
          continue;
        }
        const position = new LogPosition();
        known.set(task.ID, position);
        past.push(
          noted(readTask(managers, instance, task.ID, { tail: Math.max(tail, 1), follow: false, signal }), position),
        );
      }
      coming.push(followService(managers, instance, service.ID, known, signal));
    }
    yield* lastOf(mergeByTime(past), tail);
    if (follow) for await (const line of mergeAsTheyCome(coming)) yield publicLine(line);
  } catch (error) {
    if (!outer.aborted) throw engineError(error, 'unavailable', 'read the logs');
  } finally {
    stop.abort();
  }
}

/** Each task has lines up to `tail` of its own: of all of them the last are meant. */
async function* lastOf(lines: AsyncIterable<StampedLine>, tail: number): AsyncGenerator<LogLine> {
  const kept: LogLine[] = [];
  for await (const line of lines) {
    kept.push(publicLine(line));
    if (kept.length > tail) kept.shift();
  }
  yield* kept;
}

/** A manager follows a task on and on, also when it has ended: so what should run is asked for again and again. */
async function* followService(
  managers: SwarmManagers,
  instance: string,
  service: string,
  known: Map<string, LogPosition>,
  signal: AbortSignal,
): AsyncGenerator<StampedLine> {
  for (;;) {
    const task = await nextTask(managers, service, signal);
    if (task === undefined) return;
    const position = known.get(task.ID) ?? new LogPosition();
    known.set(task.ID, position);
    const over = new AbortController();
    const either = AbortSignal.any([signal, over.signal]);
    void watchEnd(managers, service, task.ID, either).finally(() => over.abort());
    try {
      const options = { since: position.since(), follow: true, signal: either };
      for await (const line of readTask(managers, instance, task.ID, options)) if (position.take(line)) yield line;
    } catch (error) {
      if (!over.signal.aborted || signal.aborted) throw error;
    } finally {
      over.abort();
    }
  }
}

/** The task of the service once it runs; undefined where the service is gone. */
async function nextTask(managers: SwarmManagers, service: string, signal: AbortSignal): Promise<SwarmTask | undefined> {
  for (;;) {
    const tasks = (await managers.tasksOf(service)).filter(({ DesiredState }) => DesiredState !== 'remove');
    if (tasks.length === 0) return undefined;
    const task = currentTask(tasks)!;
    if (phaseOf(task) === 'running') return task;
    await sleep(POLL_MS, undefined, { signal });
  }
}

/** Resolves when a task is not the one that runs any more, and its last lines had time to come. */
async function watchEnd(managers: SwarmManagers, service: string, task: string, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await sleep(POLL_MS, undefined, { signal }).catch(() => undefined);
    const tasks = await managers.tasksOf(service).catch(() => undefined);
    if (tasks === undefined) continue;
    const now = tasks.find(({ ID }) => ID === task);
    if (now === undefined || phaseOf(now) === 'ended' || currentTask(tasks)?.ID !== task) break;
  }
  await sleep(POLL_MS, undefined, { signal }).catch(() => undefined);
}

async function* noted(lines: AsyncGenerator<StampedLine>, position: LogPosition): AsyncGenerator<StampedLine> {
  for await (const line of lines) {
    position.take(line);
    yield line;
  }
}

async function* readTask(
  managers: SwarmManagers,
  instance: string,
  task: string,
  options: { tail?: number; since?: string | undefined; follow: boolean; signal: AbortSignal },
): AsyncGenerator<StampedLine> {
  const query = new URLSearchParams({ stdout: '1', stderr: '1', timestamps: '1', follow: options.follow ? '1' : '0' });
  if (options.tail !== undefined) query.set('tail', String(options.tail));
  if (options.since !== undefined) query.set('since', options.since);
  const stream = await managers.taskLog(task, query, options.signal);
  if (stream === undefined) return;
  yield* logLines(instance, frames(stream as AsyncIterable<Buffer>));
}

function publicLine({ instance, time, text }: StampedLine): LogLine {
  return { instance, time, text };
}
