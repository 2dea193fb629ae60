import type Docker from 'dockerode';
import { formatImageRef, type ImageRef } from '../../domain/image-ref.ts';
import { CACHE_OF } from '../toolchain/toolchain-cache.ts';
import { LABEL } from './docker-container.ts';
import { READ_TIMEOUT_MS, WRITE_TIMEOUT_MS } from './docker-engine.ts';
import { engineError, statusOf } from './docker-errors.ts';

/** The label of images that this server's builds made. */
const BUILT_BY = 'dinp.image.server';
/** A build that runs may still need an image that has no name yet. */
const SETTLED_MS = 3_600_000;

/** Something of ours in the engine that nothing needs. */
export interface Leftover {
  kind: 'image' | 'volume';
  /** What the engine knows it by. */
  name: string;
  /** Bytes, where the engine says so. */
  bytes: number | undefined;
}

/** What builds and deploys leave in a Docker Engine. Nothing without this server's label or name is ever touched. */
export class DockerLeftovers {
  readonly #docker: Docker;
  readonly #serverId: string;

  constructor(docker: Docker, serverId: string) {
    this.#docker = docker;
    this.#serverId = serverId;
  }

  /**
   * The engine's copies of images: by reference, all names that it has them under in the same repository.
   * @throws DinpError unavailable
   */
  async findImages(images: readonly ImageRef[]): Promise<Map<string, Leftover[]>> {
    const found = new Map<string, Leftover[]>();
    if (images.length === 0) return found;
    const all = await this.#ask('list images', (abortSignal) =>
      this.#docker.listImages({ digests: true, abortSignal }),
    );
    for (const image of images) {
      const reference = formatImageRef(image);
      const copies = all.filter(({ RepoDigests }) => RepoDigests?.includes(reference));
      const names = copies.flatMap(({ RepoTags, Size }) => {
        const tags = (RepoTags ?? []).filter((tag) => tag.slice(0, tag.lastIndexOf(':')) === image.repository);
        return [...tags, reference].map((name) => ({ kind: 'image' as const, name, bytes: Size }));
      });
      if (names.length > 0) found.set(reference, names);
    }
    return found;
  }

  /** Images of this server's builds that lost their last name, and caches of apps that are no more. @throws DinpError unavailable */
  async findAbandoned(isApp: (id: number) => boolean): Promise<Leftover[]> {
    const images = await this.#ask('list images', (abortSignal) =>
      this.#docker.listImages({
        filters: JSON.stringify({ dangling: ['true'], label: [`${BUILT_BY}=${this.#serverId}`] }),
        abortSignal,
      }),
    );
    const { Volumes } = await this.#ask('list volumes', (abortSignal) =>
      this.#docker.listVolumes({
        filters: JSON.stringify({ label: [`${LABEL.server}=${this.#serverId}`, CACHE_OF] }),
        abortSignal,
      }),
    );
    const nameless = images.filter(
      ({ RepoTags, RepoDigests, Created }) =>
        ![...(RepoTags ?? []), ...(RepoDigests ?? [])].some((name) => !name.startsWith('<none>')) &&
        Date.now() - Created * 1000 > SETTLED_MS,
    );
    const caches = (Volumes ?? []).filter((volume) => !isApp(Number(volume.Labels?.[CACHE_OF])));
    return [
      ...nameless.map(({ Id, Size }) => ({ kind: 'image' as const, name: Id, bytes: Size })),
      ...caches.map(({ Name }) => ({ kind: 'volume' as const, name: Name, bytes: undefined })),
    ];
  }

  /** Removes it, unless something uses it; fine where it is gone. @returns whether it is gone now @throws DinpError unavailable */
  async remove({ kind, name }: Leftover): Promise<boolean> {
    const abortSignal = AbortSignal.timeout(WRITE_TIMEOUT_MS);
    try {
      if (kind === 'volume') await this.#docker.getVolume(name).remove({ abortSignal });
      else await this.#docker.getImage(name).remove({ abortSignal });
      return true;
    } catch (error) {
      if (statusOf(error) === 404) return true;
      if (statusOf(error) === 409) return false;
      throw engineError(error, 'unavailable', `remove ${kind} ${name}`);
    }
  }

  async #ask<T>(what: string, call: (signal: AbortSignal) => Promise<T>): Promise<T> {
    try {
      return await call(AbortSignal.timeout(READ_TIMEOUT_MS));
    } catch (error) {
      throw engineError(error, 'unavailable', what);
    }
  }
}
