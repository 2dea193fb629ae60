import { randomBytes } from 'node:crypto';
import { DinpError } from '../../domain/errors.ts';
import { several } from '../several.ts';
import { partsOf } from './manifest-parts.ts';
import { RECORD_SERVER } from './record-annotations.ts';
import type { Referrers } from './referrers.ts';
import { referrersTag } from './referrers.ts';
import type { Descriptor, Manifest, RegistryClient } from './registry.ts';

/** What the registry says of an image that is to go. */
export interface Removal {
  digest: string;
  /** What else of the registry needs it (a tag that somebody set), so that it stays; undefined where nothing does. */
  neededBy: string | undefined;
  /** Another dinp server that built it, too: this one only withdraws its own records, and the other removes it one day. */
  sharedWith: string | undefined;
  /** Bytes that no image that stays has; undefined where it was not in the registry any more. */
  bytes: number | undefined;
  /** Logs and the like beside it that are to be removed: all, or those of this server where another one shares the image. */
  referrers: Descriptor[];
}

export interface RepositoryLook {
  repository: string;
  removals: Removal[];
  /** Tags `layer-<key>` and digests of kept layers that no image will have when the removals are done. */
  layers: { tag: string; digest: string }[];
}

const AT_ONCE = 4;
const LAYER_TAG = /^layer-/;
/** Tags by which builders find what they made before; they need no image, they only find it. */
const CACHE_TAG = /^(?:key|compiled)-[0-9a-f]{64}$/;
const REFERRERS_TAG = /^sha256-[0-9a-f]{64}$/;

/**
 * Removes images from our registry, by digest: with a manifest go all of its tags, so first everything that might still
 * need it is looked at. Blobs are left to the registry's own garbage collection.
 */
export class RepositoryCleaner {
  readonly #registry: RegistryClient;
  readonly #referrers: Referrers;
  readonly #server: string;

  /** @param server id of this server, which its build records bear */
  constructor(registry: RegistryClient, referrers: Referrers, server: string) {
    this.#registry = registry;
    this.#referrers = referrers;
    this.#server = server;
  }

  /** Whether the registry lets manifests be deleted at all: it is asked to delete one that cannot be there. */
  async canDelete(repository: string): Promise<boolean> {
    try {
      await this.#registry.deleteManifest(repository, `sha256:${randomBytes(32).toString('hex')}`);
      return true;
    } catch (error) {
      if (error instanceof DinpError && error.code === 'refused') return false;
      throw error;
    }
  }

  /**
   * Finds out what removing images would take, and which of them somebody else needs; changes nothing.
   * @param unneeded digests of images that nothing of this server needs any more
   * @param staying digests of images of this server that stay
   * @param ownTags every tag that builds of this server may have set in the repository
   * @throws DinpError unavailable, denied
   */
  async look(
    repository: string,
    unneeded: readonly string[],
    staying: readonly string[],
    ownTags: ReadonlySet<string>,
  ): Promise<RepositoryLook> {
    const tags = await this.#registry.listTags(repository);
    const foreign = tags.filter(
      (tag) => !ownTags.has(tag) && ![LAYER_TAG, CACHE_TAG, REFERRERS_TAG].some((form) => form.test(tag)),
    );
    const tagged = await several(foreign, AT_ONCE, undefined, async (tag) => ({
      tag,
      digest: (await this.#registry.findManifest(repository, tag))?.digest,
    }));
    const keptBy = new Map(
      tagged.map(({ tag, digest }) => [digest, `the tag ${tag}, which no build of this server set`]),
    );
    const others = new Set([...staying, ...tagged.flatMap(({ digest }) => digest ?? [])]);
    const remaining = await this.#read(repository, [...others]);
    for (const manifest of remaining)
      for (const part of partsOf(manifest).manifests) keptBy.set(part.digest, `the image index ${manifest.digest}`);
    const found = await several(unneeded, AT_ONCE, undefined, (digest) =>
      this.#lookAt(repository, digest, keptBy.get(digest)),
    );
    const stay = found.flatMap(({ manifest, removal }) => (manifest !== undefined && stays(removal) ? manifest : []));
    const layerTags = tags.filter((tag) => LAYER_TAG.test(tag));
    const blobs = new Set([...remaining, ...stay].flatMap((manifest) => partsOf(manifest).blobs.map((b) => b.digest)));
    const layers = await this.#unusedLayers(repository, layerTags, blobs);
    return { repository, removals: withBytes(found, blobs), layers };
  }

  /**
   * Removes an image with all that refers to it; where another server shares it, only what this one put beside it.
   * Whatever is gone already is fine.
   */
  async remove(repository: string, { digest, neededBy, sharedWith, referrers }: Removal): Promise<void> {
    if (neededBy !== undefined) return;
    // Entries before the list of them, and all of that before the image: what is interrupted can be found again.
    for (const each of referrers) {
      if (sharedWith !== undefined) await this.#referrers.forget(repository, digest, each.digest);
      await this.#registry.deleteManifest(repository, each.digest);
    }
    if (sharedWith !== undefined) return;
    const list = await this.#registry.findManifest(repository, referrersTag(digest));
    if (list !== undefined) await this.#registry.deleteManifest(repository, list.digest);
    await this.#registry.deleteManifest(repository, digest);
  }

  /** Forgets a layer that no image has. */
  async removeLayer(repository: string, digest: string): Promise<void> {
    await this.#registry.deleteManifest(repository, digest);
  }

  async #lookAt(
    repository: string,
    digest: string,
    neededBy: string | undefined,
  ): Promise<{ manifest: Manifest | undefined; removal: Omit<Removal, 'bytes'> }> {
    const manifest = await this.#registry.getManifest(repository, digest);
    const nothing = { digest, neededBy, sharedWith: undefined, referrers: [] };
    if (manifest === undefined || neededBy !== undefined) return { manifest, removal: nothing };
    const referrers = await this.#referrers.list(repository, digest);
    const serverOf = (each: Descriptor) => each.annotations?.[RECORD_SERVER];
    const sharedWith = referrers.map(serverOf).find((id) => id !== undefined && id !== this.#server);
    const ours = referrers.filter((each) => serverOf(each) === this.#server);
    return {
      manifest,
      removal: { digest, neededBy, sharedWith, referrers: sharedWith === undefined ? referrers : ours },
    };
  }

  async #unusedLayers(repository: string, tags: string[], blobs: ReadonlySet<string>) {
    const layers = await several(tags, AT_ONCE, undefined, async (tag) => {
      const manifest = await this.#registry.getManifest(repository, tag);
      if (manifest === undefined) return [];
      return partsOf(manifest).layers.some((layer) => blobs.has(layer.digest)) ? [] : { tag, digest: manifest.digest };
    });
    return layers.flat();
  }

  async #read(repository: string, digests: string[]): Promise<Manifest[]> {
    const read = async (digest: string) => (await this.#registry.getManifest(repository, digest)) ?? [];
    return (await several(digests, AT_ONCE, undefined, read)).flat();
  }
}

/** Each blob counts once, for the first image that goes with it. */
function withBytes(
  found: readonly { manifest: Manifest | undefined; removal: Omit<Removal, 'bytes'> }[],
  staying: ReadonlySet<string>,
): Removal[] {
  const counted = new Set(staying);
  return found.map(({ manifest, removal }) => {
    if (manifest === undefined) return { ...removal, bytes: undefined };
    let bytes = manifest.bytes.length;
    for (const { digest, size } of partsOf(manifest).blobs) {
      if (!counted.has(digest)) bytes += size;
      counted.add(digest);
    }
    return { ...removal, bytes: stays(removal) ? 0 : bytes };
  });
}

function stays({ neededBy, sharedWith }: Pick<Removal, 'neededBy' | 'sharedWith'>): boolean {
  return neededBy !== undefined || sharedWith !== undefined;
}
