import { DinpError } from '../../domain/errors.ts';
import { throwIfAborted } from '../abort.ts';
import type { BuiltImage, ImageBuilder, ImageRequest } from '../builder.ts';
import { contentKey } from '../content-key.ts';
import { Progress } from '../direct/progress.ts';
import { formatImageName, parseImageName } from '../image-name.ts';
import { copyImage } from './copy-image.ts';
import { ImageTags } from './image-tags.ts';
import type { Registries } from './registries.ts';

export interface ImageCopierOptions {
  registries: Registries;
  /** Of the hosts that run the images, `linux/amd64`. */
  platform: string;
}

/** Takes over an image that exists by copying it into our registry, so that what runs does not depend on where it came from. */
export class ImageCopier implements ImageBuilder {
  readonly #options: ImageCopierOptions;

  constructor(options: ImageCopierOptions) {
    this.#options = options;
  }

  async build(request: ImageRequest): Promise<BuiltImage> {
    const { plan, repository, signal } = request;
    const { registries, platform } = this.#options;
    if (plan.kind !== 'image') throw new Error(`an image of kind ${plan.kind} is not copied`);
    throwIfAborted(signal);
    const name = parseImageName(plan.reference);
    const image = formatImageName(name);
    const registry = registries.reach(name.host);
    const head = await registry.findManifest(name.repository, name.digest ?? name.tag ?? 'latest', signal);
    if (head === undefined) {
      throw new DinpError('refused', `There is no image ${image}, or it may not be read.`, {
        hint: `Look whether it is there: docker manifest inspect ${image}`,
      });
    }
    const bases = [[`${name.host}/${name.repository}`, head.digest]] as const;
    const key = contentKey({ plan: { kind: 'image', reference: '' }, watch: [], recipe: [], bases, platform });
    const tags = new ImageTags(registries, request, key, platform);
    const known = await tags.reuse();
    if (known !== undefined) return known;
    request.onOutput(`Copying ${image} (${platform})\n`);
    const progress = new Progress(request.onOutput);
    const digest = await copyImage(
      { registry, repository: name.repository, reference: head.digest },
      { registry: registries.own, repository, tags: [] },
      { platform, signal, onProgress: (sent, total) => progress.set('copied', sent, total) },
    );
    const manifest = await registries.own.getManifest(repository, digest, signal);
    if (manifest === undefined)
      throw new DinpError(
        'unavailable',
        `The registry ${registries.own.address} lost the image that was copied to it.`,
      );
    return tags.finish(manifest);
  }
}
