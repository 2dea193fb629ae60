import { setTimeout as sleep } from 'node:timers/promises';
import { DinpError } from '../../domain/errors.ts';
import { canceled } from '../canceled.ts';
import { pullHint } from '../docker/docker-image.ts';
import { type Frame, frames } from '../docker/docker-streams.ts';
import type { ExecStreams } from '../target.ts';
import type { ServiceAuth, SwarmManagers } from './swarm-managers.ts';
import type { InstanceService } from './swarm-service.ts';
import { isDown, phaseOf, type SwarmTask } from './swarm-state.ts';

const POLL_MS = 200;
/** A node that could take it is found at once, or there is none. */
const PLACE_TIMEOUT_MS = 20_000;

/**
 * Runs a service whose one task runs once, and removes it, whatever happens.
 * @returns the exit status of its command
 * @throws DinpError start-failed, unavailable, canceled; refused where it is sent input, which Swarm takes none of
 */
export async function runService(
  managers: SwarmManagers,
  service: InstanceService,
  auth: ServiceAuth | undefined,
  streams: ExecStreams,
): Promise<number> {
  if (streams.signal.aborted) throw canceled(streams.signal);
  const own = new AbortController();
  const signal = AbortSignal.any([streams.signal, own.signal]);
  void refuseInput(streams.stdin, own);
  const id = await managers.create(service, auth);
  try {
    return await new OneOff(managers, id, { ...streams, signal }).run();
  } catch (error) {
    if (own.signal.aborted) throw own.signal.reason;
    throw streams.signal.aborted ? canceled(streams.signal, error) : error;
  } finally {
    own.abort();
    await managers.remove(id).catch(() => undefined);
  }
}

/** Nobody's input is thrown away without a word. */
async function refuseInput(stdin: AsyncIterable<Uint8Array> | undefined, stop: AbortController): Promise<void> {
  try {
    for await (const chunk of stdin ?? []) {
      if (chunk.length === 0) continue;
      stop.abort(
        new DinpError('refused', 'a command on a swarm cannot read standard input.', {
          hint: 'Put what it needs into the image, a volume or the config.',
        }),
      );
      return;
    }
  } catch {
    // The sender broke off: there is no input.
  }
}

/** Follows the one task of a service to its end. */
class OneOff {
  readonly #managers: SwarmManagers;
  readonly #service: string;
  readonly #streams: ExecStreams;
  /** Bytes of each stream that were given out. */
  readonly #given = { stdout: 0, stderr: 0 };

  constructor(managers: SwarmManagers, service: string, streams: ExecStreams) {
    this.#managers = managers;
    this.#service = service;
    this.#streams = streams;
  }

  async run(): Promise<number> {
    const started = await this.#until((task) => ['running', 'ended'].includes(phaseOf(task)));
    const stopFollowing = new AbortController();
    const following = phaseOf(started) === 'running' ? this.#follow(started.ID, stopFollowing.signal) : undefined;
    let ended: SwarmTask;
    try {
      ended = await this.#until((task) => phaseOf(task) === 'ended');
    } finally {
      stopFollowing.abort();
      await following;
    }
    if (ended.Status.State === 'rejected') throw notStarted(ended);
    // What a manager sends of a followed log may lack its end: read again, and the rest is given.
    await this.#read(ended.ID, { follow: '0' }, this.#streams.signal);
    return ended.Status.ContainerStatus?.ExitCode ?? 1;
  }

  async #until(isIt: (task: SwarmTask) => boolean): Promise<SwarmTask> {
    const { signal } = this.#streams;
    const begin = performance.now();
    for (;;) {
      signal.throwIfAborted();
      const [task] = await this.#managers.tasksOf(this.#service);
      if (task !== undefined && isIt(task)) return task;
      if (task !== undefined && phaseOf(task) === 'waiting' && performance.now() - begin > PLACE_TIMEOUT_MS) {
        throw new DinpError('start-failed', `no node of the swarm takes it: ${task.Status.Err ?? 'none is ready'}.`);
      }
      if (task !== undefined && phaseOf(task) === 'running') await this.#checkNode(task);
      await sleep(POLL_MS, undefined, { signal });
    }
  }

  /** The task of a node that went down is never told of again. */
  async #checkNode(task: SwarmTask): Promise<void> {
    if (task.DesiredState === 'running') return;
    const node = (await this.#managers.nodes()).find(({ ID }) => ID === task.NodeID);
    if (!isDown(node)) return;
    const name = node?.Description.Hostname ?? 'a node';
    throw new DinpError('unavailable', `${name} went away while the command ran there.`);
  }

  async #follow(task: string, stop: AbortSignal): Promise<void> {
    const signal = AbortSignal.any([this.#streams.signal, stop]);
    await this.#read(task, { follow: '1' }, signal).catch(() => undefined);
  }

  /** Gives out what was not given out before: without time stamps a log is the same bytes each time. */
  async #read(task: string, options: { follow: '0' | '1' }, signal: AbortSignal): Promise<void> {
    const query = new URLSearchParams({ stdout: '1', stderr: '1', ...options });
    const stream = await this.#managers.taskLog(task, query, signal);
    const seen = { stdout: 0, stderr: 0 };
    for await (const frame of frames((stream ?? []) as AsyncIterable<Buffer>)) {
      const before = seen[frame.stream];
      seen[frame.stream] += frame.data.length;
      const known = Math.max(0, this.#given[frame.stream] - before);
      if (known >= frame.data.length) continue;
      this.#given[frame.stream] = seen[frame.stream];
      await this.#give({ stream: frame.stream, data: frame.data.subarray(known) });
    }
  }

  async #give({ stream, data }: Frame): Promise<void> {
    if (stream === 'stdout') await this.#streams.onStdout(data);
    else await this.#streams.onStderr(data);
  }
}

/** What a node said that could not even make the container. */
export function notStarted(task: SwarmTask, what = 'the command', node?: string): DinpError {
  const why = task.Status.Err ?? 'its node refused it';
  const hint = pullHint(why);
  const where = node === undefined ? '' : ` on ${node}`;
  return new DinpError('start-failed', `${what} could not start${where}: ${why}`, hint === undefined ? {} : { hint });
}
