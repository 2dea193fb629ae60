import { DinpError } from '../../domain/errors.ts';
import { throwIfAborted } from '../abort.ts';
import type { CataloguedBase, CataloguedBasesOptions } from '../bases/catalogued-bases.ts';
import { CataloguedBases } from '../bases/catalogued-bases.ts';
import type { BuiltImage, ImageBuilder, ImageRequest } from '../builder.ts';
import { contentKey } from '../content-key.ts';
import { jsonBlob, makeManifest } from '../image-format.ts';
import { formatImageName, parseImageName } from '../image-name.ts';
import type { Place } from '../registry/copy-blob.ts';
import { copyBlob, isForeign } from '../registry/copy-blob.ts';
import { IMAGE_LABEL, ImageTags } from '../registry/image-tags.ts';
import type { Registries } from '../registry/registries.ts';
import type { Manifest } from '../registry/registry.ts';
import { several } from '../several.ts';
import type { Base } from './base.ts';
import { readBase } from './base.ts';
import type { MadeLayer } from './compose.ts';
import { composeConfig } from './compose.ts';
import { findLayer, keepLayer } from './kept-layers.ts';
import { uploadLayer } from './layer-upload.ts';
import type { LayersPlan, Layout } from './layout.ts';
import { layOut } from './layout.ts';
import { giveFolders } from './owned-folders.ts';
import { megabytes, Progress } from './progress.ts';

export interface DirectImageBuilderOptions extends CataloguedBasesOptions {
  registries: Registries;
  /** Of the hosts that run the images, `linux/amd64`. */
  platform: string;
}

/** A layer of ours that the registry has by now. */
type ProvidedLayer = MadeLayer & { isNew: boolean };

/** Blobs of a base that are copied at the same time. */
const COPIES = 4;

/**
 * Makes images of prebuilt artifacts by writing them straight into the registry (OCI distribution and image-spec): a base's layers as they
 * are, at most two of ours, and a config. Needs no Docker Engine, keeps no state and nothing on disk; equal commits give equal digests on
 * every server (ImageBuilder says what it throws).
 */
export class DirectImageBuilder implements ImageBuilder {
  readonly #options: DirectImageBuilderOptions;
  readonly #bases: CataloguedBases;

  constructor(options: DirectImageBuilderOptions) {
    this.#options = options;
    this.#bases = new CataloguedBases(options);
  }

  async build(request: ImageRequest): Promise<BuiltImage> {
    const { plan, tree, signal } = request;
    const { registries, platform } = this.#options;
    if (plan.kind !== 'layers') throw new Error(`an image of kind ${plan.kind} is not made of layers`);
    throwIfAborted(signal);
    const layouts = layOut(plan, tree);
    const what = `the ${plan.artifact} image of ${request.app}`;
    const found = await this.#bases.find(plan.base, { what, onOutput: (text) => request.onOutput(text), signal });
    const key = contentKey({
      // The layers' keys say all of the files, more exactly than the ids of the trees that they lie in; the base, whose folders are.
      plan: { ...plan, files: [], dependencies: [] },
      watch: layouts.map((layout) => `${layout.name} ${layout.key}`),
      recipe: [],
      bases: [[plan.base, found.digest]],
      platform,
    });
    const tags = new ImageTags(registries, request, key, platform);
    const known = await tags.reuse();
    if (known !== undefined) return known;
    const base = await readBase(this.#placeOf(found), found.digest, platform, signal);
    const made = await this.#layers(request, base, giveFolders(layouts, plan, base));
    const kind = { format: base.format, platform };
    const [manifest] = await Promise.all([
      this.#write(request, { plan, base, found, key, made }),
      ...made
        .filter(({ isNew }) => isNew)
        .map(({ layout, layer }) => keepLayer(this.#repositoryOf(request), layout, layer, kind, signal)),
    ]);
    return tags.finish(manifest);
  }

  /** Puts all layers of an image into its repository at the same time. @returns ours */
  async #layers(request: ImageRequest, base: Base, layouts: readonly Layout[]): Promise<ProvidedLayer[]> {
    const lines = new OrderedLines(request.onOutput);
    const progress = new Progress(request.onOutput);
    const all = [undefined, ...layouts];
    const made = await several(all, all.length, request.signal, async (layout, signal) => {
      const at = all.indexOf(layout);
      if (layout === undefined) {
        lines.set(at, await this.#provideBase(request, base, progress, signal));
        return [];
      }
      const { line, ...provided } = await this.#provideLayer(request, layout, progress, signal);
      lines.set(at, line);
      return [provided];
    });
    return made.flat();
  }

  /** Sees to it that the base's blobs are in the image's repository. @returns a line for the pusher */
  async #provideBase(request: ImageRequest, base: Base, progress: Progress, signal: AbortSignal): Promise<string> {
    const to = this.#repositoryOf(request);
    const blobs = base.layers.filter((layer) => !isForeign(layer));
    const total = blobs.reduce((sum, { size }) => sum + size, 0);
    let sent = 0;
    const ways = await several(blobs, COPIES, signal, (blob, each) =>
      copyBlob(base.place, to, blob, each, (bytes) => {
        sent += bytes;
        progress.set('base', sent, total);
      }),
    );
    const copied = ways.filter((way) => way === 'copied').length;
    const where = copied === 0 ? 'in the registry' : `${copied} copied from ${base.place.registry.address}`;
    const zstd = base.layers.some(({ mediaType }) => mediaType.endsWith('+zstd'))
      ? '; compressed with zstd, which Docker before 23 cannot run'
      : '';
    const count = `${base.layers.length} ${base.layers.length === 1 ? 'layer' : 'layers'}`;
    const { plan } = request;
    const name = plan.kind === 'layers' ? plan.base : '';
    return `Base ${name}@${base.digest.slice(0, 'sha256:'.length + 12)} (${count}, ${where}${zstd})\n`;
  }

  /** Finds the layer of those files in the registry, else makes it. */
  async #provideLayer(request: ImageRequest, layout: Layout, progress: Progress, signal: AbortSignal) {
    const place = this.#repositoryOf(request);
    const { name, files, bytes } = layout;
    const what = `${name}  ${files.length} ${files.length === 1 ? 'file' : 'files'}, ${megabytes(bytes)}`;
    const kept = request.noCache ? undefined : await findLayer(place, layout, signal);
    if (kept !== undefined) return { layout, layer: kept, isNew: false, line: `${what}: unchanged, reused\n` };
    const start = Date.now();
    const layer = await uploadLayer(place, request.tree, layout, signal, (read) => progress.set(name, read, bytes));
    const seconds = ((Date.now() - start) / 1000).toFixed(1);
    return { layout, layer, isNew: true, line: `${what} → ${megabytes(layer.size)} in ${seconds} s\n` };
  }

  /** Writes the config. @returns the manifest, which is not in the registry yet */
  async #write(
    request: ImageRequest,
    image: { plan: LayersPlan; base: Base; found: CataloguedBase; key: string; made: readonly MadeLayer[] },
  ): Promise<Manifest> {
    const { base, made } = image;
    const { registry, repository } = this.#repositoryOf(request);
    const config = jsonBlob(
      composeConfig(base, made, image.plan, {
        [IMAGE_LABEL.key]: image.key,
        [IMAGE_LABEL.app]: request.app,
        [IMAGE_LABEL.artifact]: image.plan.artifact,
        ...(request.revision === undefined ? {} : { 'org.opencontainers.image.revision': request.revision }),
        'org.opencontainers.image.base.name': this.#nameOf(image.found),
        'org.opencontainers.image.base.digest': base.digest,
      }),
    );
    await registry.putBlob(repository, config.digest, config.bytes, request.signal);
    const own = made.map(({ layer: { digest, size } }) => ({ mediaType: base.format.layer, digest, size }));
    return makeManifest(base.format, config, [...base.layers, ...own]);
  }

  /** The base's name as another server has it too: in our own registry, without that registry's address. */
  #nameOf({ image }: CataloguedBase): string {
    const name = parseImageName(image);
    return name.host === this.#options.registries.own.address
      ? image.slice(name.host.length + 1)
      : formatImageName(name);
  }

  #placeOf({ repository, digest }: CataloguedBase): Place {
    const name = parseImageName(`${repository}@${digest}`);
    const registry = this.#options.registries.find(name.host);
    if (registry !== undefined) return { registry, repository: name.repository };
    throw new DinpError('config', `${repository} is in a registry that the server config does not name.`);
  }

  #repositoryOf(request: ImageRequest): Place {
    return { registry: this.#options.registries.own, repository: request.repository };
  }
}

/** Lines of things that end in any order, printed in the order in which they were begun. */
class OrderedLines {
  readonly #onOutput: (text: string) => void;
  readonly #lines = new Map<number, string>();
  #next = 0;

  constructor(onOutput: (text: string) => void) {
    this.#onOutput = onOutput;
  }

  set(at: number, line: string): void {
    this.#lines.set(at, line);
    for (let text = this.#lines.get(this.#next); text !== undefined; text = this.#lines.get(this.#next)) {
      this.#onOutput(text);
      this.#next++;
    }
  }
}
