import { createHash } from 'node:crypto';
import type { Descriptor, Manifest, RegistryClient } from './registry.ts';
import { parseIndex } from './registry.ts';
import type { Body } from './registry-connection.ts';

/** Something kept beside an image: a log, a list of what is in it. */
export interface Referrer {
  /** The image (or any manifest) that it is about. */
  subject: Manifest;
  /** A media type of one's own, `application/vnd.dinp.build-log.v1`. */
  artifactType: string;
  blobs: readonly {
    mediaType: string;
    digest: string;
    size: number;
    source: Body;
    annotations?: Record<string, string>;
  }[];
  annotations?: Record<string, string>;
}

const MANIFEST = 'application/vnd.oci.image.manifest.v1+json';
const INDEX = 'application/vnd.oci.image.index.v1+json';
const EMPTY = Buffer.from('{}');
const EMPTY_TYPE = 'application/vnd.oci.empty.v1+json';

const digestOf = (bytes: Buffer): string => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

/**
 * What refers to an image, by OCI distribution 1.1; in registries that do not know that call, by the tag `sha256-<hex>` of an index, as the
 * specification has it for them.
 */
export class Referrers {
  readonly #registry: RegistryClient;
  /** By subject: the index behind a tag is read, changed and written by one at a time. */
  readonly #busy = new Map<string, Promise<unknown>>();

  constructor(registry: RegistryClient) {
    this.#registry = registry;
  }

  /** All that refers to a manifest, or what is of one kind. @throws DinpError unavailable, denied, canceled */
  async list(repository: string, digest: string, artifactType?: string, signal?: AbortSignal): Promise<Descriptor[]> {
    const found =
      (await this.#registry.findReferrers(repository, digest, signal)) ??
      (await this.#tagged(repository, digest, signal));
    return found.filter((each) => artifactType === undefined || each.artifactType === artifactType);
  }

  /** Keeps something beside an image. The same content again changes nothing. @returns its descriptor */
  async put(repository: string, referrer: Referrer, signal?: AbortSignal): Promise<Descriptor> {
    const { subject, artifactType, blobs, annotations } = referrer;
    const registry = this.#registry;
    registry.willPush(repository);
    await registry.putBlob(repository, digestOf(EMPTY), EMPTY, signal);
    for (const { digest, source } of blobs) await registry.putBlob(repository, digest, source, signal);
    const content = {
      schemaVersion: 2,
      mediaType: MANIFEST,
      artifactType,
      config: { mediaType: EMPTY_TYPE, digest: digestOf(EMPTY), size: EMPTY.length },
      layers: blobs.map(({ source: _source, ...descriptor }) => descriptor),
      subject: { mediaType: subject.mediaType, digest: subject.digest, size: subject.bytes.length },
      ...(annotations === undefined ? {} : { annotations }),
    };
    const bytes = Buffer.from(JSON.stringify(content));
    const manifest = { digest: digestOf(bytes), mediaType: MANIFEST, bytes };
    const { subjectNoted } = await registry.putManifest(repository, manifest.digest, manifest, signal);
    const { digest, mediaType } = manifest;
    const descriptor = { mediaType, digest, size: bytes.length, artifactType, ...(annotations && { annotations }) };
    if (!subjectNoted) await this.#addToTag(repository, subject.digest, descriptor, signal);
    return descriptor;
  }

  /** Takes an entry out of the list of what refers to a manifest, where that list is kept under a tag. */
  async forget(repository: string, subject: string, digest: string, signal?: AbortSignal): Promise<void> {
    await this.#change(repository, subject, signal, (known) => known.filter((each) => each.digest !== digest));
  }

  async #tagged(repository: string, digest: string, signal: AbortSignal | undefined): Promise<Descriptor[]> {
    const index = await this.#registry.getManifest(repository, referrersTag(digest), signal);
    return index === undefined ? [] : parseIndex(index.bytes);
  }

  async #addToTag(
    repository: string,
    subject: string,
    descriptor: Descriptor,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    await this.#change(repository, subject, signal, (known) =>
      known.some(({ digest }) => digest === descriptor.digest) ? known : [...known, descriptor],
    );
  }

  async #change(
    repository: string,
    subject: string,
    signal: AbortSignal | undefined,
    change: (known: Descriptor[]) => Descriptor[],
  ): Promise<void> {
    const key = `${repository}@${subject}`;
    const before = this.#busy.get(key) ?? Promise.resolve();
    const task = before.then(async () => {
      const known = await this.#tagged(repository, subject, signal);
      const manifests = change(known);
      if (manifests.length === known.length) return;
      const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: INDEX, manifests }));
      const index = { digest: digestOf(bytes), mediaType: INDEX, bytes };
      await this.#registry.putManifest(repository, referrersTag(subject), index, signal);
    });
    const settled = task.catch(() => {});
    this.#busy.set(key, settled);
    await task;
    if (this.#busy.get(key) === settled) this.#busy.delete(key);
  }
}

/** `sha256:abc…` as the specification makes a tag of it. */
export function referrersTag(digest: string): string {
  return digest.replace(':', '-');
}
