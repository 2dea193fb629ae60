import type Docker from 'dockerode';
import { DinpError } from '../../domain/errors.ts';
import { engineVolumeName, LABEL } from './docker-container.ts';
import { READ_TIMEOUT_MS, WRITE_TIMEOUT_MS } from './docker-engine.ts';
import { engineError, statusOf } from './docker-errors.ts';

/** The named volumes of one server on an engine; those of another server are refused, never mounted or removed. */
export class OwnVolumes {
  readonly #docker: Docker;
  readonly #serverId: string;

  constructor(docker: Docker, serverId: string) {
    this.#docker = docker;
    this.#serverId = serverId;
  }

  /** @throws DinpError refused where one of them belongs to another server */
  async check(volumes: string[]): Promise<void> {
    for (const name of volumes.map(engineVolumeName)) await this.#exists(name);
  }

  /** Removes a volume with its data; unknown is fine. @throws DinpError refused where a container uses it */
  async remove(volume: string): Promise<void> {
    const name = engineVolumeName(volume);
    if (!(await this.#exists(name))) return;
    try {
      await this.#docker.getVolume(name).remove({ abortSignal: AbortSignal.timeout(WRITE_TIMEOUT_MS) });
    } catch (error) {
      if (statusOf(error) === 404) return;
      if (statusOf(error) !== 409) throw engineError(error, 'refused', `remove volume ${name}`);
      throw await this.#inUse(name, error);
    }
  }

  async #exists(name: string): Promise<boolean> {
    try {
      const found = await this.#docker.getVolume(name).inspect({ abortSignal: AbortSignal.timeout(READ_TIMEOUT_MS) });
      const server = found.Labels?.[LABEL.server];
      if (server === undefined || server === this.#serverId) return true;
    } catch (error) {
      if (statusOf(error) === 404) return false;
      throw engineError(error, 'unavailable', `inspect volume ${name}`);
    }
    throw new DinpError('refused', `Volume ${name} belongs to another dinp server on this engine.`, {
      hint: 'Rename the app here, or the volume in dinp.yml.',
    });
  }

  async #inUse(name: string, cause: unknown): Promise<DinpError> {
    const users = await this.#docker.listContainers({ all: true, filters: { volume: [name] } }).catch(() => []);
    const names = users.map((user) => user.Names[0]?.slice(1) ?? user.Id.slice(0, 12));
    const by = names.length === 0 ? '' : ` by ${names.join(', ')}`;
    return new DinpError('refused', `Volume ${name} is in use${by}.`, { hint: 'Stop the app first.', cause });
  }
}
