import { createHash } from 'node:crypto';
import { DinpError } from '../../domain/errors.ts';
import type { Answer, Body, RegistryOptions } from './registry-connection.ts';
import { header, parseJson, RegistryConnection } from './registry-connection.ts';

/** A manifest exactly as the registry holds it. */
export interface Manifest {
  digest: string;
  mediaType: string;
  bytes: Buffer;
}

/** What a HEAD of a manifest tells. */
export interface ManifestHead {
  digest: string;
  mediaType: string;
}

/** What points to a blob or manifest (OCI image-spec, descriptor.md). */
export interface Descriptor {
  mediaType: string;
  digest: string;
  /** Bytes. */
  size: number;
  annotations?: Record<string, string>;
  artifactType?: string;
  platform?: { os?: string; architecture?: string; variant?: string };
  urls?: string[];
}

export interface OpenedBlob {
  /** Bytes, where the registry says so. */
  size: number | undefined;
  stream: AsyncIterable<Buffer>;
}

const MANIFEST_TYPES = [
  'application/vnd.docker.distribution.manifest.v2+json',
  'application/vnd.docker.distribution.manifest.list.v2+json',
  'application/vnd.oci.image.manifest.v1+json',
  'application/vnd.oci.image.index.v1+json',
];
const MAX_MANIFEST = 4 << 20;
const DIGEST = /^sha256:[0-9a-f]{64}$/;

const sha256 = (bytes: Buffer): string => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

/** A client of one registry, for the OCI distribution API 1.1. Every method may throw DinpError unavailable, denied or canceled. */
export class RegistryClient {
  readonly address: string;
  readonly #http: RegistryConnection;
  /** Repositories that will be pushed to. */
  readonly #pushed = new Set<string>();

  constructor(options: RegistryOptions) {
    this.address = options.address;
    this.#http = new RegistryConnection(options);
  }

  /** Ends the kept connections. */
  async close(): Promise<void> {
    await this.#http.close();
  }

  /** Asks whether a registry answers here and takes the credentials. */
  async ping(signal?: AbortSignal): Promise<void> {
    const response = await this.#http.call({ method: 'GET', path: '/v2/', signal });
    await this.#http.drop(response);
    if (response.statusCode !== 200) throw await this.#http.problem(response, 'asked for /v2/');
  }

  /** The digest and type of a manifest, by tag or digest; undefined where it is not there. */
  async findManifest(repository: string, reference: string, signal?: AbortSignal): Promise<ManifestHead | undefined> {
    const response = await this.#manifestCall('HEAD', repository, reference, signal);
    await this.#http.drop(response);
    if (response.statusCode === 404) return undefined;
    if (response.statusCode !== 200) throw await this.#http.problem(response, `asked for ${repository}:${reference}`);
    const digest = header(response, 'docker-content-digest');
    if (digest !== undefined && DIGEST.test(digest)) {
      return { digest, mediaType: header(response, 'content-type') ?? MANIFEST_TYPES[0]! };
    }
    // The digest header is optional in the specification: without it the content itself tells.
    return this.getManifest(repository, reference, signal);
  }

  /** A manifest by tag or digest; undefined where it is not there. What was asked for by digest is checked against it. */
  async getManifest(repository: string, reference: string, signal?: AbortSignal): Promise<Manifest | undefined> {
    const response = await this.#manifestCall('GET', repository, reference, signal);
    if (response.statusCode === 404) {
      await this.#http.drop(response);
      return undefined;
    }
    if (response.statusCode !== 200) throw await this.#http.problem(response, `asked for ${repository}:${reference}`);
    const bytes = await this.#http.read(response, MAX_MANIFEST, signal);
    const digest = sha256(bytes);
    if (DIGEST.test(reference) && reference !== digest) {
      throw new DinpError(
        'unavailable',
        `The registry ${this.address} gave other content than ${repository}@${reference}.`,
      );
    }
    return { digest, mediaType: header(response, 'content-type') ?? MANIFEST_TYPES[0]!, bytes };
  }

  /**
   * Stores a manifest under a tag or its digest. No blob moves.
   * @returns whether the registry has taken note of the manifest's subject, for those that refer to another one
   */
  async putManifest(
    repository: string,
    reference: string,
    manifest: Manifest,
    signal?: AbortSignal,
  ): Promise<{ subjectNoted: boolean }> {
    const response = await this.#http.call({
      method: 'PUT',
      path: `/v2/${repository}/manifests/${reference}`,
      scopes: push(repository),
      headers: { 'content-type': manifest.mediaType },
      body: manifest.bytes,
      signal,
    });
    if (response.statusCode !== 201)
      throw await this.#http.problem(response, `given the manifest ${repository}:${reference}`);
    await this.#http.drop(response);
    return { subjectNoted: header(response, 'oci-subject') !== undefined };
  }

  /** Deletes a manifest (and all of its tags) by digest. @returns false where it was not there */
  async deleteManifest(repository: string, digest: string, signal?: AbortSignal): Promise<boolean> {
    const response = await this.#http.call({
      method: 'DELETE',
      path: `/v2/${repository}/manifests/${digest}`,
      scopes: [`repository:${repository}:delete`],
      signal,
    });
    if (response.statusCode === 405) {
      await this.#http.drop(response);
      throw new DinpError('refused', `The registry ${this.address} does not allow deleting.`, {
        hint: 'Set storage.delete.enabled: true in its config.',
      });
    }
    if (response.statusCode !== 202 && response.statusCode !== 404)
      throw await this.#http.problem(response, `told to delete ${digest}`);
    await this.#http.drop(response);
    return response.statusCode === 202;
  }

  /** All tags of a repository, sorted; empty for a repository that is not there. */
  async listTags(repository: string, signal?: AbortSignal): Promise<string[]> {
    const tags: string[] = [];
    let path: string | undefined = `/v2/${repository}/tags/list?n=1000`;
    while (path !== undefined) {
      const response = await this.#http.call({ method: 'GET', path, scopes: this.#pull(repository), signal });
      if (response.statusCode === 404) {
        await this.#http.drop(response);
        break;
      }
      if (response.statusCode !== 200) throw await this.#http.problem(response, `asked for the tags of ${repository}`);
      const page = parseJson((await this.#http.read(response, 16 << 20, signal)).toString()) as
        | { tags?: unknown }
        | undefined;
      if (Array.isArray(page?.tags)) tags.push(...page.tags.filter((tag): tag is string => typeof tag === 'string'));
      const next: string | undefined = nextPage(response);
      path = next === undefined ? undefined : this.#http.own(next, path).href;
    }
    return tags.sort();
  }

  /** Whether the repository holds the blob. */
  async hasBlob(repository: string, digest: string, signal?: AbortSignal): Promise<boolean> {
    const path = `/v2/${repository}/blobs/${digest}`;
    const response = await this.#http.follow({ method: 'HEAD', path, scopes: this.#pull(repository), signal });
    await this.#http.drop(response);
    if (response.statusCode === 200 || response.statusCode === 404) return response.statusCode === 200;
    throw await this.#http.problem(response, `asked for ${digest}`);
  }

  /** A small blob (an image's config), checked against its digest. @param limit most bytes to take */
  async getBlob(repository: string, digest: string, limit = MAX_MANIFEST, signal?: AbortSignal): Promise<Buffer> {
    const path = `/v2/${repository}/blobs/${digest}`;
    const response = await this.#http.follow({ method: 'GET', path, scopes: this.#pull(repository), signal });
    if (response.statusCode !== 200) throw await this.#http.problem(response, `asked for ${repository}@${digest}`);
    const bytes = await this.#http.read(response, limit, signal);
    if (sha256(bytes) !== digest) {
      throw new DinpError(
        'unavailable',
        `The registry ${this.address} gave other content than ${repository}@${digest}.`,
      );
    }
    return bytes;
  }

  /**
   * A blob as a stream, wherever redirects lead. What comes is checked: at its end the stream throws where the digest is another one.
   * @throws DinpError not-found where the repository does not hold it
   */
  async openBlob(repository: string, digest: string, signal?: AbortSignal): Promise<OpenedBlob> {
    const path = `/v2/${repository}/blobs/${digest}`;
    const response = await this.#http.follow({ method: 'GET', path, scopes: this.#pull(repository), signal });
    if (response.statusCode === 404) {
      await this.#http.drop(response);
      throw new DinpError('not-found', `The registry ${this.address} does not have ${repository}@${digest}.`);
    }
    if (response.statusCode !== 200) throw await this.#http.problem(response, `asked for ${repository}@${digest}`);
    const length = Number(header(response, 'content-length') ?? Number.NaN);
    const size = Number.isSafeInteger(length) ? length : undefined;
    return { size, stream: this.#checked(this.#http.stream(response, signal), repository, digest) };
  }

  async *#checked(bytes: AsyncIterable<Buffer>, repository: string, digest: string): AsyncGenerator<Buffer> {
    const hash = createHash('sha256');
    for await (const chunk of bytes) {
      hash.update(chunk);
      yield chunk;
    }
    if (`sha256:${hash.digest('hex')}` !== digest) {
      throw new DinpError(
        'unavailable',
        `The registry ${this.address} gave other content than ${repository}@${digest}.`,
      );
    }
  }

  /**
   * Has a blob of another repository of this registry counted to this one as well; no byte moves.
   * @returns false where the registry would not: the other does not hold it, may not be read, or mounts are not known here
   */
  async mountBlob(repository: string, digest: string, fromRepository: string, signal?: AbortSignal): Promise<boolean> {
    const query = new URLSearchParams({ mount: digest, from: fromRepository });
    const scopes = [...push(repository), `repository:${fromRepository}:pull`];
    let response: Answer;
    try {
      response = await this.#http.call({ method: 'POST', path: `${uploads(repository)}?${query}`, scopes, signal });
    } catch (error) {
      // Without the right to read the other repository the blob is uploaded as any other is.
      if (error instanceof DinpError && error.code === 'denied') return false;
      throw error;
    }
    await this.#http.drop(response);
    if (response.statusCode === 202) this.#forget(repository, header(response, 'location'));
    return response.statusCode === 201;
  }

  /** Uploads a blob unless the repository has it. The registry refuses bytes of another digest. */
  async putBlob(repository: string, digest: string, source: Body, signal?: AbortSignal): Promise<void> {
    if (await this.hasBlob(repository, digest, signal)) return;
    const location = await this.#startUpload(repository, signal);
    await this.#finishUpload(repository, location, digest, source, signal);
  }

  /**
   * Uploads a blob whose digest is known only when its last byte has been made.
   * @param digest asked for after the end of the bytes
   * @throws RegistryBroken where it may be tried again from the beginning; what `bytes` throws
   */
  async uploadBlob(
    repository: string,
    bytes: AsyncIterable<Buffer>,
    digest: () => string,
    signal?: AbortSignal,
  ): Promise<void> {
    const start = await this.#startUpload(repository, signal);
    let location: string | undefined = start;
    try {
      const response = await this.#http.call({
        method: 'PATCH',
        path: start,
        scopes: push(repository),
        headers: { 'content-type': 'application/octet-stream' },
        body: { stream: bytes },
        signal,
      });
      if (response.statusCode !== 202 && response.statusCode !== 204)
        throw await this.#http.problem(response, `given a blob of ${repository}`);
      await this.#http.drop(response);
      location = this.#http.own(header(response, 'location') ?? start, start).href;
      await this.#finishUpload(repository, location, digest(), undefined, signal);
    } catch (error) {
      this.#forget(repository, location);
      throw error;
    }
  }

  async #startUpload(repository: string, signal: AbortSignal | undefined): Promise<string> {
    const response = await this.#http.call({
      method: 'POST',
      path: uploads(repository),
      scopes: push(repository),
      signal,
    });
    const location = header(response, 'location');
    if (response.statusCode !== 202 || location === undefined)
      throw await this.#http.problem(response, `asked to take a blob of ${repository}`);
    await this.#http.drop(response);
    return this.#http.own(location, uploads(repository)).href;
  }

  async #finishUpload(
    repository: string,
    location: string,
    digest: string,
    source: Body | undefined,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const target = new URL(location);
    target.searchParams.set('digest', digest);
    const response = await this.#http.call({
      method: 'PUT',
      path: target.href,
      scopes: push(repository),
      headers: { 'content-type': 'application/octet-stream' },
      body: source ?? Buffer.alloc(0),
      signal,
    });
    if (response.statusCode !== 201) throw await this.#http.problem(response, `given a blob of ${repository}`);
    await this.#http.drop(response);
  }

  /** Tells the registry that an upload will not go on, without waiting for its answer: it would clear it away in time anyway. */
  #forget(repository: string, location: string | undefined): void {
    if (location === undefined) return;
    const gone = async (): Promise<void> => {
      const path = this.#http.own(location, uploads(repository)).href;
      const signal = AbortSignal.timeout(5_000);
      await this.#http.drop(await this.#http.call({ method: 'DELETE', path, scopes: push(repository), signal }));
    };
    gone().catch(() => {});
  }

  /**
   * The manifests that refer to one (OCI distribution 1.1), as descriptors.
   * @returns undefined where the registry does not know that call
   */
  async findReferrers(repository: string, digest: string, signal?: AbortSignal): Promise<Descriptor[] | undefined> {
    const found: Descriptor[] = [];
    let path: string | undefined = `/v2/${repository}/referrers/${digest}`;
    while (path !== undefined) {
      const response = await this.#http.call({ method: 'GET', path, scopes: this.#pull(repository), signal });
      // A registry that knows the call answers with an empty list where there are none.
      if (response.statusCode === 404 || response.statusCode === 405) {
        await this.#http.drop(response);
        return undefined;
      }
      if (response.statusCode !== 200) throw await this.#http.problem(response, `asked what refers to ${digest}`);
      found.push(...parseIndex(await this.#http.read(response, MAX_MANIFEST, signal)));
      const next: string | undefined = nextPage(response);
      path = next === undefined ? undefined : this.#http.own(next, path).href;
    }
    return found;
  }

  /**
   * From now on tokens for that repository are asked for with the right to push: a push then asks for one token, not for one to look and
   * another one to push.
   */
  willPush(repository: string): void {
    this.#pushed.add(repository);
  }

  #pull(repository: string): string[] {
    return this.#pushed.has(repository) ? push(repository) : [`repository:${repository}:pull`];
  }

  #manifestCall(method: 'GET' | 'HEAD', repository: string, reference: string, signal: AbortSignal | undefined) {
    return this.#http.call({
      method,
      path: `/v2/${repository}/manifests/${reference}`,
      scopes: this.#pull(repository),
      headers: { accept: MANIFEST_TYPES.join(', ') },
      signal,
    });
  }
}

const uploads = (repository: string): string => `/v2/${repository}/blobs/uploads/`;
const push = (repository: string): string[] => [`repository:${repository}:pull,push`];

/** The address of the next page of a list (RFC 8288). */
function nextPage(response: Answer): string | undefined {
  return /<([^>]+)>\s*;\s*rel="?next"?/.exec(header(response, 'link') ?? '')?.[1];
}

/** The entries of an image index; what is not one has none. */
export function parseIndex(bytes: Buffer): Descriptor[] {
  const json = parseJson(bytes.toString('utf8')) as { manifests?: unknown } | undefined;
  if (!Array.isArray(json?.manifests)) return [];
  return json.manifests.filter(
    (each: Partial<Descriptor> | null): each is Descriptor =>
      typeof each?.digest === 'string' && DIGEST.test(each.digest) && typeof each.mediaType === 'string',
  );
}
