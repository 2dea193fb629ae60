import { setTimeout as sleep } from 'node:timers/promises';
import type Docker from 'dockerode';
import type { Container, ContainerCreateOptions, ContainerInspectInfo } from 'dockerode';
import { DinpError } from '../../domain/errors.ts';
import type { InstanceSpec } from '../../domain/instance.ts';
import { graceSeconds, LABEL } from './docker-container.ts';
import { engineError, engineText, statusOf } from './docker-errors.ts';

/** For calls that only read; the engine answers them in milliseconds unless it hangs. */
export const READ_TIMEOUT_MS = 30_000;
/** For calls that change something, beyond the time that they are asked to wait. */
export const WRITE_TIMEOUT_MS = 120_000;

/**
 * The containers of one server on an engine. Several servers may share the engine: what lacks this server's label
 * is never found, stopped or removed.
 */
export class OwnContainers {
  readonly docker: Docker;
  readonly #serverId: string;

  constructor(docker: Docker, serverId: string) {
    this.docker = docker;
    this.#serverId = serverId;
  }

  /** The container of this id or name, if it is there and this server's. @throws DinpError unavailable */
  async find(container: string): Promise<ContainerInspectInfo | undefined> {
    const info = await this.#inspect(container);
    return info !== undefined && this.#isOurs(info) ? info : undefined;
  }

  /** Like `find`, for somebody who is about to take the name. @throws DinpError start-failed where another's container has it */
  async findByFreeName(name: string): Promise<ContainerInspectInfo | undefined> {
    const info = await this.#inspect(name);
    if (info !== undefined && !this.#isOurs(info)) throw nameTaken(name);
    return info;
  }

  /** @throws DinpError not-found */
  async get(name: string): Promise<ContainerInspectInfo> {
    const info = await this.find(name);
    if (info === undefined) throw noInstance(name);
    return info;
  }

  /** Ids of instances, or of containers for one-off commands. @throws DinpError unavailable */
  async ids(kind: 'instance' | 'one-off', app?: string): Promise<string[]> {
    const label = [`${LABEL.server}=${this.#serverId}`, ...(app === undefined ? [] : [`${LABEL.app}=${app}`])];
    try {
      const abortSignal = AbortSignal.timeout(READ_TIMEOUT_MS);
      const all = await this.docker.listContainers({ all: true, filters: { label }, abortSignal });
      return all.filter((info) => LABEL.oneOff in info.Labels === (kind === 'one-off')).map((info) => info.Id);
    } catch (error) {
      throw engineError(error, 'unavailable', 'list its containers');
    }
  }

  async create(options: ContainerCreateOptions, spec: InstanceSpec): Promise<Container> {
    try {
      return await this.docker.createContainer({ ...options, abortSignal: AbortSignal.timeout(WRITE_TIMEOUT_MS) });
    } catch (error) {
      throw startError(error, spec);
    }
  }

  /** SIGTERM (or the image's stop signal), SIGKILL after the grace; fine where it is stopped or gone. */
  async stop(id: string, stopMs: number): Promise<void> {
    try {
      const abortSignal = AbortSignal.timeout(stopMs + WRITE_TIMEOUT_MS);
      await this.docker.getContainer(id).stop({ t: graceSeconds(stopMs), abortSignal });
    } catch (error) {
      if (statusOf(error) !== 304 && statusOf(error) !== 404) throw engineError(error, 'unavailable', `stop ${id}`);
    }
  }

  /** Removes a container and its anonymous volumes and returns once it is gone; named volumes stay. */
  async discard(id: string): Promise<void> {
    const deadline = Date.now() + READ_TIMEOUT_MS;
    for (;;) {
      try {
        const options = { v: true, force: true, abortSignal: AbortSignal.timeout(WRITE_TIMEOUT_MS) };
        await this.docker.getContainer(id).remove(options);
        return;
      } catch (error) {
        if (statusOf(error) === 404) return;
        // 409: another removal of it is in progress.
        if (statusOf(error) !== 409 || Date.now() > deadline) throw engineError(error, 'unavailable', `remove ${id}`);
        await sleep(50);
      }
    }
  }

  async #inspect(container: string): Promise<ContainerInspectInfo | undefined> {
    try {
      const abortSignal = AbortSignal.timeout(READ_TIMEOUT_MS);
      return await this.docker.getContainer(container).inspect({ abortSignal });
    } catch (error) {
      if (statusOf(error) === 404) return undefined;
      throw engineError(error, 'unavailable', `inspect ${container}`);
    }
  }

  #isOurs(info: ContainerInspectInfo): boolean {
    return info.Config.Labels[LABEL.server] === this.#serverId;
  }
}

/** A GET or POST of the engine whose answer is read as a stream, where the client library would collect all of it. */
export function openStream(
  docker: Docker,
  method: 'GET' | 'POST',
  path: string,
  abortSignal?: AbortSignal,
): Promise<NodeJS.ReadableStream> {
  const statusCodes = { 200: true, 400: 'bad parameter', 404: 'no such container', 500: 'server error' };
  return new Promise((resolve, reject) => {
    docker.modem.dial({ path, method, isStream: true, statusCodes, abortSignal } as never, (error, stream) =>
      error ? reject(error) : resolve(stream as NodeJS.ReadableStream),
    );
  });
}

export function noInstance(name: string): DinpError {
  return new DinpError('not-found', `${name} does not run here.`, { hint: 'See what runs: dinp ps' });
}

/** What kept a container from starting, in words that tell what to do about it. */
export function startError(error: unknown, spec: InstanceSpec): DinpError {
  const label = `${spec.process}.${spec.index}`;
  if (statusOf(error) !== undefined && /port is already allocated|address already in use/i.test(engineText(error))) {
    const message = `${label} could not start: port ${spec.port?.host} of this machine is in use.`;
    return new DinpError('start-failed', message, { hint: 'Deploy again to get another port.', cause: error });
  }
  if (statusOf(error) === 409) return nameTaken(spec.name);
  return engineError(error, 'start-failed', `start ${label}`);
}

function nameTaken(name: string): DinpError {
  return new DinpError('start-failed', `There is a container ${name} already, which this server did not make.`, {
    hint: `Another dinp server may use this engine. Rename the app here, or remove the container: docker rm -f ${name}`,
  });
}
