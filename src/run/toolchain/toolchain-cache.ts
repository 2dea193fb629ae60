import type Docker from 'dockerode';
import { LABEL } from '../docker/docker-container.ts';
import { READ_TIMEOUT_MS, WRITE_TIMEOUT_MS } from '../docker/docker-engine.ts';
import { engineError, statusOf } from '../docker/docker-errors.ts';
import { OwnVolumes } from '../docker/docker-volumes.ts';
import { cacheVolume } from './toolchain-options.ts';

/** Says whose a cache is: an app may get the name that another one had. */
export const CACHE_OF = 'dinp.cache-of';

/** What package managers have downloaded for each app: a volume an app, which no other app ever gets. */
export class ToolchainCaches {
  readonly #docker: Docker;
  readonly #serverId: string;
  readonly #volumes: OwnVolumes;

  constructor(docker: Docker, serverId: string) {
    this.#docker = docker;
    this.#serverId = serverId;
    this.#volumes = new OwnVolumes(docker, serverId);
  }

  /**
   * Makes the app's cache, empty, where it has none.
   * @throws DinpError refused where another server's app of this name has it; unavailable
   */
  async ensure(app: string, appId: number): Promise<void> {
    const name = cacheVolume(app);
    await this.#volumes.check([name]);
    if ((await this.#ownerOf(name)) === String(appId)) return;
    await this.remove(app);
    try {
      await this.#docker.createVolume({
        Name: name,
        Labels: { [LABEL.server]: this.#serverId, [CACHE_OF]: String(appId) },
        abortSignal: AbortSignal.timeout(WRITE_TIMEOUT_MS),
      });
    } catch (error) {
      throw engineError(error, 'unavailable', `make the volume ${name}`);
    }
  }

  /** Removes an app's cache; fine where it has none. @throws DinpError refused where a build uses it; unavailable */
  async remove(app: string): Promise<void> {
    await this.#volumes.remove(cacheVolume(app));
  }

  async #ownerOf(name: string): Promise<string | undefined> {
    try {
      const found = await this.#docker.getVolume(name).inspect({ abortSignal: AbortSignal.timeout(READ_TIMEOUT_MS) });
      return found.Labels?.[CACHE_OF];
    } catch (error) {
      if (statusOf(error) === 404) return undefined;
      throw engineError(error, 'unavailable', `inspect the volume ${name}`);
    }
  }
}
