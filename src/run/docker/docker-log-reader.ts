import { setTimeout as sleep } from 'node:timers/promises';
import type { LogLine, LogOptions } from '../target.ts';
import { type OwnContainers, openStream } from './docker-engine.ts';
import { engineError, statusOf } from './docker-errors.ts';
import { LogPosition, logLines, mergeAsTheyCome, mergeByTime, type StampedLine } from './docker-logs.ts';
import { frames } from './docker-streams.ts';

const STOPPED_POLL_MS = 250;

/**
 * The merged lines of several containers: first what there is, in order of time, then (with follow) what comes,
 * also after a container started anew. Ends when the signal is aborted or no container is left.
 * Holds a line of each container at most: a slow reader makes the engine wait, not memory grow.
 */
export async function* readLogs(
  containers: OwnContainers,
  instances: string[],
  { tail, follow, signal: outer }: LogOptions,
): AsyncGenerator<LogLine> {
  const stop = new AbortController();
  const signal = AbortSignal.any([outer, stop.signal]);
  try {
    const infos = await Promise.all(instances.map((name) => containers.find(name)));
    const names = instances.filter((_, i) => infos[i] !== undefined);
    const positions = new Map(names.map((name) => [name, new LogPosition()]));
    // Without a tail still one line is read, to know where the past ends.
    const past = names.map((name) => readLog(containers, name, { tail: Math.max(tail, 1), follow: false, signal }));
    for await (const line of mergeByTime(past)) {
      positions.get(line.instance)!.take(line);
      if (tail > 0) yield publicLine(line);
    }
    if (!follow) return;
    const coming = [...positions].map(([name, position]) => followLog(containers, name, position, signal));
    for await (const line of mergeAsTheyCome(coming)) yield publicLine(line);
  } catch (error) {
    if (!outer.aborted) throw engineError(error, 'unavailable', 'read the logs');
  } finally {
    stop.abort();
  }
}

/** The engine ends a followed log when the container stops: goes on when it runs again, ends when it is removed. */
async function* followLog(
  containers: OwnContainers,
  name: string,
  position: LogPosition,
  signal: AbortSignal,
): AsyncGenerator<StampedLine> {
  for (;;) {
    for await (const line of readLog(containers, name, { since: position.since(), follow: true, signal })) {
      if (position.take(line)) yield line;
    }
    for (;;) {
      const state = (await containers.find(name))?.State;
      if (state === undefined) return;
      if (state.Running && !state.Restarting) break;
      await sleep(STOPPED_POLL_MS, undefined, { signal });
    }
  }
}

async function* readLog(
  { docker }: OwnContainers,
  container: string,
  options: { tail?: number; since?: string | undefined; follow: boolean; signal: AbortSignal },
): AsyncGenerator<StampedLine> {
  const query = new URLSearchParams({ stdout: '1', stderr: '1', timestamps: '1', follow: options.follow ? '1' : '0' });
  if (options.tail !== undefined) query.set('tail', String(options.tail));
  if (options.since !== undefined) query.set('since', options.since);
  let stream: NodeJS.ReadableStream;
  try {
    stream = await openStream(docker, 'GET', `/containers/${container}/logs?${query}&`, options.signal);
  } catch (error) {
    if (statusOf(error) === 404) return;
    throw error;
  }
  yield* logLines(container, frames(stream as AsyncIterable<Buffer>));
}

function publicLine({ instance, time, text }: StampedLine): LogLine {
  return { instance, time, text };
}
