import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { text } from 'node:stream/consumers';
import type Docker from 'dockerode';
import type { ContainerInspectInfo } from 'dockerode';
import type { InstanceSpec, RunningInstance } from '../../domain/instance.ts';
import { canceled } from '../canceled.ts';
import { parseListeners } from '../listeners.ts';
import type { ExecStreams, Listener, LogLine, LogOptions, Target } from '../target.ts';
import { execInside, runToEnd } from './docker-commands.ts';
import { graceSeconds, instanceOptions, isMadeOf, oneOffOptions, runningInstance } from './docker-container.ts';
import { noInstance, OwnContainers, READ_TIMEOUT_MS, startError, WRITE_TIMEOUT_MS } from './docker-engine.ts';
import { engineError, statusOf } from './docker-errors.ts';
import { type FindLogin, ImagePuller, type PullOptions } from './docker-image.ts';
import { readLogs } from './docker-log-reader.ts';
import { OwnVolumes } from './docker-volumes.ts';

/**
 * The Docker Engine itself keeps the instances running: they come back after a crash and with the engine, whether
 * this server lives or not. All that it makes carries the label `dinp.server`.
 */
export class DockerTarget implements Target {
  readonly name = 'docker';
  readonly runs = true;
  readonly #docker: Docker;
  readonly #serverId: string;
  readonly #containers: OwnContainers;
  readonly #volumes: OwnVolumes;
  readonly #puller: ImagePuller;

  /**
   * @param options.serverId tells the instances of servers that share an engine apart; stays the same over restarts
   * @param options.findLogin credentials of a registry, by repository
   */
  constructor(docker: Docker, options: { serverId: string; findLogin: FindLogin }) {
    this.#docker = docker;
    this.#serverId = options.serverId;
    this.#containers = new OwnContainers(docker, options.serverId);
    this.#volumes = new OwnVolumes(docker, options.serverId);
    this.#puller = new ImagePuller(docker, options.findLogin);
  }

  async start(spec: InstanceSpec, { onProgress, signal }: PullOptions): Promise<void> {
    if (signal.aborted) throw canceled(signal);
    const existing = await this.#containers.findByFreeName(spec.name);
    const wanted = instanceOptions(spec, this.#serverId);
    if (existing?.State.Running && !existing.State.Restarting && isMadeOf(existing, wanted)) return;
    if (existing !== undefined) await this.#containers.discard(existing.Id);
    await this.#puller.ensure(spec.image, { onProgress, signal });
    await this.#volumes.check(Object.keys(spec.volumes));
    const container = await this.#containers.create(wanted, spec);
    try {
      if (signal.aborted) throw canceled(signal);
      await container.start({ abortSignal: AbortSignal.timeout(WRITE_TIMEOUT_MS) });
    } catch (error) {
      await this.#containers.discard(container.id).catch(() => undefined);
      throw startError(error, spec);
    }
  }

  async remove(instances: { name: string; stopMs: number }[]): Promise<void> {
    await allOf(
      instances.map(async ({ name, stopMs }) => {
        const info = await this.#containers.find(name);
        if (info === undefined) return;
        await this.#containers.stop(info.Id, stopMs);
        await this.#containers.discard(info.Id);
      }),
    );
  }

  async list(app?: string): Promise<RunningInstance[]> {
    const ids = await this.#containers.ids('instance', app);
    const infos = await Promise.all(ids.map((id) => this.#containers.find(id)));
    const found = infos.filter((info) => info !== undefined).map(runningInstance);
    return found.sort((a, b) => compare(a.app, b.app) || a.release - b.release || compare(a.name, b.name));
  }

  async find(instance: string): Promise<RunningInstance | undefined> {
    const info = await this.#containers.find(instance);
    if (info === undefined) return undefined;
    const found = runningInstance(info);
    // When the engine starts it again, the exit status of the crash is wiped.
    if (found.exitCode !== undefined || info.RestartCount === 0) return found;
    return { ...found, exitCode: await this.#lastExit(info) };
  }

  async listeners(instance: string): Promise<Listener[] | undefined> {
    const info = await this.#containers.find(instance);
    if (info === undefined || !info.State.Running) return undefined;
    const proc = `/proc/${info.State.Pid}`;
    try {
      // The process id is the engine's: if this server runs in a container, it means another process or none.
      if ((await readFile(`${proc}/cgroup`, 'utf8')).includes(info.Id)) {
        const tables = ['tcp', 'tcp6'].map((table) => readFile(`${proc}/net/${table}`, 'utf8').catch(() => ''));
        return parseListeners((await Promise.all(tables)).join('\n'));
      }
    } catch {
      // Not this machine's engine, or /proc hides it: asked from the inside.
    }
    return await this.#listenersFromInside(instance);
  }

  logs(instances: string[], options: LogOptions): AsyncGenerator<LogLine> {
    return readLogs(this.#containers, instances, options);
  }

  exec(instance: string, command: string[], streams: ExecStreams): Promise<number> {
    return execInside(this.#containers, instance, command, streams);
  }

  async runOnce(spec: InstanceSpec, command: string[], streams: ExecStreams): Promise<number> {
    await this.#puller.ensure(spec.image, { onProgress: () => undefined, signal: streams.signal });
    await this.#volumes.check(Object.keys(spec.volumes));
    const name = `${spec.name}--run-${randomBytes(4).toString('hex')}`;
    const stdin = streams.stdin !== undefined;
    const options = oneOffOptions(spec, command, { serverId: this.#serverId, name, stdin });
    return await runToEnd(this.#containers, options, spec, streams);
  }

  async restart(instances: { name: string; stopMs: number }[]): Promise<void> {
    await allOf(
      instances.map(async ({ name, stopMs }) => {
        const { Id: id } = await this.#containers.get(name);
        try {
          const abortSignal = AbortSignal.timeout(stopMs + WRITE_TIMEOUT_MS);
          await this.#docker.getContainer(id).restart({ t: graceSeconds(stopMs), abortSignal });
        } catch (error) {
          throw statusOf(error) === 404 ? noInstance(name) : engineError(error, 'start-failed', `restart ${name}`);
        }
      }),
    );
  }

  async removeVolume(volume: string): Promise<void> {
    await this.#volumes.remove(volume);
  }

  /**
   * Removes the containers of one-off commands that this server left behind when it died; to be called at its start.
   * @throws DinpError unavailable
   */
  async removeLeftovers(): Promise<void> {
    const ids = await this.#containers.ids('one-off');
    await allOf(ids.map((id) => this.#containers.discard(id)));
  }

  /** The status of the container's last exit, if the engine remembers it: it keeps a few hundred events. */
  async #lastExit(info: ContainerInspectInfo): Promise<number | undefined> {
    try {
      const stream = await this.#docker.getEvents({
        since: Math.floor(Date.parse(info.Created) / 1000),
        until: Date.now() / 1000,
        filters: { container: [info.Id], event: ['die'] },
        abortSignal: AbortSignal.timeout(READ_TIMEOUT_MS),
      });
      const last = JSON.parse((await text(stream)).trim().split('\n').at(-1) ?? '');
      const { exitCode } = (last as { Actor: { Attributes: { exitCode?: string } } }).Actor.Attributes;
      return exitCode === undefined ? undefined : Number(exitCode);
    } catch {
      return undefined;
    }
  }

  async #listenersFromInside(instance: string): Promise<Listener[] | undefined> {
    const chunks: Uint8Array[] = [];
    const streams: ExecStreams = {
      stdin: undefined,
      onStdout: (chunk) => void chunks.push(chunk),
      onStderr: () => undefined,
      signal: AbortSignal.timeout(5_000),
    };
    try {
      await this.exec(instance, ['cat', '/proc/net/tcp', '/proc/net/tcp6'], streams);
    } catch {
      return undefined;
    }
    const tables = Buffer.concat(chunks).toString('latin1');
    return tables.includes('local_address') ? parseListeners(tables) : undefined;
  }
}

/** Waits for all, also when one fails, and then throws the first failure. */
async function allOf(work: Promise<unknown>[]): Promise<void> {
  const failed = (await Promise.allSettled(work)).find((result) => result.status === 'rejected');
  if (failed !== undefined) throw failed.reason;
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
