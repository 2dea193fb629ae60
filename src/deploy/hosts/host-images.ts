import { DinpError } from '../../domain/errors.ts';
import { formatImageRef, type ImageRef } from '../../domain/image-ref.ts';
import type { RunHost } from '../../domain/run-host.ts';
import type { Hosts } from './hosts.ts';

const TIMEOUT_MS = 120_000;
/** Names in one command, well below what a command line may have. */
const AT_ONCE = 100;

/** The copies of images that hosts have pulled. */
export class HostImages {
  readonly #hosts: Pick<Hosts, 'list' | 'link' | 'imageName'>;

  constructor(hosts: Pick<Hosts, 'list' | 'link' | 'imageName'>) {
    this.#hosts = hosts;
  }

  /**
   * Removes the hosts' copies of images that are gone from the registry. What runs there keeps its image, and a host that
   * does not answer keeps all: that does no harm but to its disk.
   */
  async remove(images: readonly ImageRef[]): Promise<void> {
    await Promise.all(this.#hosts.list().map((host) => this.#removeOn(host, images)));
  }

  async #removeOn(host: RunHost, images: readonly ImageRef[]): Promise<void> {
    const names = images.map((image) => formatImageRef(this.#hosts.imageName(host, image)));
    try {
      for (let at = 0; at < names.length; at += AT_ONCE) {
        const argv = [host.docker, 'image', 'rm', ...names.slice(at, at + AT_ONCE)];
        // It fails for those that are not there or in use, and removes the others.
        await this.#hosts.link(host).host.run(argv, { timeoutMs: TIMEOUT_MS });
      }
    } catch (error) {
      if (!(error instanceof DinpError)) throw error;
    }
  }
}
