import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import type { Readable } from 'node:stream';
import type { Dispatcher } from 'undici';
import { Agent, request } from 'undici';
import { DinpError } from '../domain/errors.ts';
import { printable } from '../domain/names.ts';
import { canceled } from './abort.ts';
import { isLoopback } from './image-name.ts';
import type { Credentials } from './registry-auth.ts';
import { basicHeader, fetchToken, parseChallenges } from './registry-auth.ts';

export interface RegistryOptions {
  /** `127.0.0.1:5000`, `registry.example.com`; no scheme. */
  address: string;
  /** Default: http for loopback, else https. */
  scheme?: 'http' | 'https' | undefined;
  /** PEM of the authority that signed the registry's certificate. */
  ca?: string | undefined;
  credentials?: Credentials | undefined;
  /** Host names of token servers that may be given the credentials. */
  authHosts?: readonly string[] | undefined;
  /** How long an answer may take to begin, milliseconds. */
  timeoutMs?: number | undefined;
}

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

/** Bytes to upload: in memory, or a file on disk of that length. */
export type BlobSource = Buffer | { file: string; size: number };

interface Call {
  method: 'GET' | 'HEAD' | 'PUT' | 'POST' | 'PATCH' | 'DELETE';
  /** Path below the registry's origin, or a whole URL (a Location). */
  path: string;
  scope?: string;
  headers?: Record<string, string>;
  body?: BlobSource;
  signal?: AbortSignal | undefined;
}

const MANIFEST_TYPES = [
  'application/vnd.docker.distribution.manifest.v2+json',
  'application/vnd.docker.distribution.manifest.list.v2+json',
  'application/vnd.oci.image.manifest.v1+json',
  'application/vnd.oci.image.index.v1+json',
];
const MAX_MANIFEST = 4 << 20;
const MAX_REDIRECTS = 3;
const DIGEST = /^sha256:[0-9a-f]{64}$/;

const sha256 = (bytes: Buffer): string => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

/** A client of one registry, for the OCI distribution API 1.1. Every method may throw DinpError unavailable, denied or canceled. */
export class RegistryClient {
  readonly address: string;
  readonly #origin: string;
  readonly #credentials: Credentials | undefined;
  readonly #authHosts: readonly string[];
  readonly #timeoutMs: number;
  readonly #agent: Agent;
  readonly #tokens = new Map<string, { header: string; expires: number }>();
  /** Set once the registry has asked for basic authentication, so that later calls need one round trip. */
  #basic: string | undefined;

  constructor(options: RegistryOptions) {
    this.address = options.address;
    this.#origin = `${options.scheme ?? (isLoopback(options.address) ? 'http' : 'https')}://${options.address}`;
    this.#credentials = options.credentials;
    this.#authHosts = options.authHosts ?? [];
    this.#timeoutMs = options.timeoutMs ?? 30_000;
    const ca = options.ca === undefined ? {} : { ca: options.ca };
    this.#agent = new Agent({
      connect: { timeout: Math.min(10_000, this.#timeoutMs), ...ca },
      keepAliveTimeout: 4_000,
    });
  }

  /** Ends the kept connections. */
  async close(): Promise<void> {
    await this.#agent.destroy();
  }

  /** Asks whether a registry answers here and takes the credentials. */
  async ping(signal?: AbortSignal): Promise<void> {
    const response = await this.#call({ method: 'GET', path: '/v2/', signal });
    await response.body.dump();
    if (response.statusCode !== 200) throw await this.#problem(response, 'asked for /v2/');
  }

  /** The digest and type of a manifest, by tag or digest; undefined where it is not there. */
  async findManifest(repository: string, reference: string, signal?: AbortSignal): Promise<ManifestHead | undefined> {
    const response = await this.#manifestCall('HEAD', repository, reference, signal);
    await response.body.dump();
    if (response.statusCode === 404) return undefined;
    if (response.statusCode !== 200) throw await this.#problem(response, `asked for ${repository}:${reference}`);
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
      await response.body.dump();
      return undefined;
    }
    if (response.statusCode !== 200) throw await this.#problem(response, `asked for ${repository}:${reference}`);
    const bytes = await this.#read(response, MAX_MANIFEST, signal);
    const digest = sha256(bytes);
    if (DIGEST.test(reference) && reference !== digest) {
      throw new DinpError(
        'unavailable',
        `The registry ${this.address} gave other content than ${repository}@${reference}.`,
      );
    }
    return { digest, mediaType: header(response, 'content-type') ?? MANIFEST_TYPES[0]!, bytes };
  }

  /** Stores a manifest under a tag or its digest. No blob moves. */
  async putManifest(repository: string, reference: string, manifest: Manifest, signal?: AbortSignal): Promise<void> {
    const response = await this.#call({
      method: 'PUT',
      path: `/v2/${repository}/manifests/${reference}`,
      scope: `repository:${repository}:pull,push`,
      headers: { 'content-type': manifest.mediaType },
      body: manifest.bytes,
      signal,
    });
    if (response.statusCode !== 201)
      throw await this.#problem(response, `given the manifest ${repository}:${reference}`);
    await response.body.dump();
  }

  /** Deletes a manifest (and all of its tags) by digest. @returns false where it was not there */
  async deleteManifest(repository: string, digest: string, signal?: AbortSignal): Promise<boolean> {
    const response = await this.#call({
      method: 'DELETE',
      path: `/v2/${repository}/manifests/${digest}`,
      scope: `repository:${repository}:delete`,
      signal,
    });
    if (response.statusCode === 405) {
      await response.body.dump();
      throw new DinpError('refused', `The registry ${this.address} does not allow deleting.`, {
        hint: 'Set storage.delete.enabled: true in its config.',
      });
    }
    if (response.statusCode !== 202 && response.statusCode !== 404)
      throw await this.#problem(response, `told to delete ${digest}`);
    await response.body.dump();
    return response.statusCode === 202;
  }

  /** All tags of a repository, sorted; empty for a repository that is not there. */
  async listTags(repository: string, signal?: AbortSignal): Promise<string[]> {
    const tags: string[] = [];
    let path: string | undefined = `/v2/${repository}/tags/list?n=1000`;
    while (path !== undefined) {
      const response = await this.#call({ method: 'GET', path, scope: `repository:${repository}:pull`, signal });
      if (response.statusCode === 404) {
        await response.body.dump();
        break;
      }
      if (response.statusCode !== 200) throw await this.#problem(response, `asked for the tags of ${repository}`);
      const page = parseJson((await this.#read(response, 16 << 20, signal)).toString()) as
        | { tags?: unknown }
        | undefined;
      if (Array.isArray(page?.tags)) tags.push(...page.tags.filter((tag): tag is string => typeof tag === 'string'));
      const next: string | undefined = /<([^>]+)>\s*;\s*rel="?next"?/.exec(header(response, 'link') ?? '')?.[1];
      path = next === undefined ? undefined : this.#own(new URL(next, new URL(path, this.#origin)));
    }
    return tags.sort();
  }

  /** Whether the repository holds the blob. */
  async hasBlob(repository: string, digest: string, signal?: AbortSignal): Promise<boolean> {
    const path = `/v2/${repository}/blobs/${digest}`;
    const response = await this.#follow({ method: 'HEAD', path, scope: `repository:${repository}:pull`, signal });
    await response.body.dump();
    if (response.statusCode === 200 || response.statusCode === 404) return response.statusCode === 200;
    throw await this.#problem(response, `asked for ${digest}`);
  }

  /** A small blob (an image's config), checked against its digest. @param limit most bytes to take */
  async getBlob(repository: string, digest: string, limit = MAX_MANIFEST, signal?: AbortSignal): Promise<Buffer> {
    const path = `/v2/${repository}/blobs/${digest}`;
    const response = await this.#follow({ method: 'GET', path, scope: `repository:${repository}:pull`, signal });
    if (response.statusCode !== 200) throw await this.#problem(response, `asked for ${repository}@${digest}`);
    const bytes = await this.#read(response, limit, signal);
    if (sha256(bytes) !== digest) {
      throw new DinpError(
        'unavailable',
        `The registry ${this.address} gave other content than ${repository}@${digest}.`,
      );
    }
    return bytes;
  }

  /** Uploads a blob unless the repository has it. */
  async putBlob(repository: string, digest: string, source: BlobSource, signal?: AbortSignal): Promise<void> {
    if (await this.hasBlob(repository, digest, signal)) return;
    const scope = `repository:${repository}:pull,push`;
    const start = await this.#call({ method: 'POST', path: `/v2/${repository}/blobs/uploads/`, scope, signal });
    const location = header(start, 'location');
    if (start.statusCode !== 202 || location === undefined)
      throw await this.#problem(start, `asked to take a blob of ${repository}`);
    await start.body.dump();
    const target = new URL(location, this.#origin);
    target.searchParams.set('digest', digest);
    const response = await this.#call({
      method: 'PUT',
      path: this.#own(target),
      scope,
      headers: { 'content-type': 'application/octet-stream' },
      body: source,
      signal,
    });
    if (response.statusCode !== 201) throw await this.#problem(response, `given a blob of ${repository}`);
    await response.body.dump();
  }

  #manifestCall(method: 'GET' | 'HEAD', repository: string, reference: string, signal: AbortSignal | undefined) {
    return this.#call({
      method,
      path: `/v2/${repository}/manifests/${reference}`,
      scope: `repository:${repository}:pull`,
      headers: { accept: MANIFEST_TYPES.join(', ') },
      signal,
    });
  }

  /** Follows redirects of reads (to an object store); the credentials stay with the registry. */
  async #follow(call: Call): Promise<Dispatcher.ResponseData> {
    let response = await this.#call(call);
    let at = new URL(call.path, this.#origin);
    for (let hops = 0; response.statusCode >= 301 && response.statusCode <= 308 && hops < MAX_REDIRECTS; hops++) {
      const location = header(response, 'location');
      await response.body.dump();
      if (location === undefined) break;
      at = new URL(location, at);
      if (at.protocol !== 'https:' && at.protocol !== new URL(this.#origin).protocol) break;
      response =
        at.origin === this.#origin
          ? await this.#call({ ...call, path: at.href })
          : await this.#send(at, call, undefined);
    }
    return response;
  }

  /** A Location or Link must stay on this registry: it gets our credentials. */
  #own(url: URL): string {
    // A registry behind a proxy may give its inner scheme; the host decides.
    if (url.host !== new URL(this.#origin).host) {
      throw new DinpError('denied', `The registry ${this.address} sends its callers to another host, ${url.host}.`, {
        hint: 'Set http.host in the registry config (or relativeurls: true) to the address that dinp uses.',
      });
    }
    return `${this.#origin}${url.pathname}${url.search}`;
  }

  async #call(call: Call): Promise<Dispatcher.ResponseData> {
    const url = new URL(call.path, this.#origin);
    const response = await this.#send(url, call, this.#authorization(call.scope));
    if (response.statusCode !== 401) return response;
    const challenges = parseChallenges(header(response, 'www-authenticate') ?? '');
    await response.body.dump();
    const authorization = await this.#answer(challenges, call);
    const again = await this.#send(url, call, authorization);
    if (again.statusCode !== 401 && again.statusCode !== 403) return again;
    await again.body.dump();
    throw this.#refused();
  }

  #authorization(scope: string | undefined): string | undefined {
    const token = this.#tokens.get(scope ?? '');
    if (token !== undefined && token.expires > Date.now()) return token.header;
    return this.#basic;
  }

  async #answer(challenges: ReturnType<typeof parseChallenges>, call: Call): Promise<string> {
    const bearer = challenges.find((challenge) => challenge.scheme === 'bearer');
    if (bearer !== undefined) {
      const token = await fetchToken({
        registry: this.address,
        challenge: bearer,
        scope: call.scope,
        credentials: this.#credentials,
        authHosts: this.#authHosts,
        dispatcher: this.#agent,
        signal: call.signal,
      });
      this.#tokens.set(call.scope ?? '', token);
      return token.header;
    }
    if (this.#credentials === undefined || !challenges.some((challenge) => challenge.scheme === 'basic'))
      throw this.#refused();
    this.#basic = basicHeader(this.#credentials);
    return this.#basic;
  }

  #refused(): DinpError {
    return this.#credentials === undefined
      ? new DinpError(
          'denied',
          `The registry ${this.address} asks for a user name and password; none are configured for it.`,
        )
      : new DinpError(
          'denied',
          `The registry ${this.address} refuses the user name or password that is configured for it.`,
        );
  }

  async #send(url: URL, call: Call, authorization: string | undefined): Promise<Dispatcher.ResponseData> {
    const { body, length } = openBody(call.body);
    try {
      return await request(url, {
        method: call.method,
        headers: {
          ...call.headers,
          ...(length === undefined ? {} : { 'content-length': String(length) }),
          ...(authorization === undefined ? {} : { authorization }),
        },
        body: body ?? null,
        dispatcher: this.#agent,
        headersTimeout: this.#timeoutMs,
        bodyTimeout: this.#timeoutMs,
        ...(call.signal === undefined ? {} : { signal: call.signal }),
      });
    } catch (cause) {
      throw this.#unreachable(cause, call.signal);
    }
  }

  async #read(response: Dispatcher.ResponseData, limit: number, signal: AbortSignal | undefined): Promise<Buffer> {
    const chunks: Buffer[] = [];
    let size = 0;
    try {
      for await (const chunk of response.body as AsyncIterable<Buffer>) {
        size += chunk.length;
        if (size > limit) break;
        chunks.push(chunk);
      }
    } catch (cause) {
      throw this.#unreachable(cause, signal);
    }
    if (size > limit)
      throw new DinpError('unavailable', `The registry ${this.address} answered with more than ${limit} bytes.`);
    return Buffer.concat(chunks);
  }

  #unreachable(cause: unknown, signal: AbortSignal | undefined): DinpError {
    if (signal?.aborted) return canceled(signal);
    return new DinpError('unavailable', `The registry ${this.address} does not answer (${reasonOf(cause)}).`, {
      hint: `Check that it runs: curl ${this.#origin}/v2/`,
      cause,
    });
  }

  async #problem(response: Dispatcher.ResponseData, doing: string): Promise<DinpError> {
    const text = await response.body.text().catch(() => '');
    const json = parseJson(text) as { errors?: { code?: string; message?: string; detail?: unknown }[] } | undefined;
    const first = json?.errors?.[0];
    const said = printable(first?.message ?? text.slice(0, 200)).trim();
    if (/no space left/i.test(text) || response.statusCode === 507) {
      return new DinpError('unavailable', `The disk of the registry ${this.address} is full.`, {
        hint: 'Free space there, then push again.',
      });
    }
    if (response.statusCode === 401 || response.statusCode === 403) return this.#refused();
    const because = said === '' ? '' : `: ${said}`;
    return new DinpError(
      'unavailable',
      `The registry ${this.address}, ${doing}, answered ${response.statusCode}${because}.`,
    );
  }
}

function openBody(source: BlobSource | undefined): { body: Buffer | Readable | undefined; length: number | undefined } {
  if (source === undefined || Buffer.isBuffer(source)) return { body: source, length: source?.length };
  return { body: createReadStream(source.file), length: source.size };
}

function header(response: Dispatcher.ResponseData, name: string): string | undefined {
  const value = response.headers[name];
  return Array.isArray(value) ? value[0] : value;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** The reason of a failed connection in a word or two, without addresses or headers. */
function reasonOf(cause: unknown): string {
  const code = (cause as { code?: unknown; cause?: { code?: unknown } } | undefined)?.code;
  switch (code) {
    case 'ECONNREFUSED':
      return 'connection refused';
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return 'its name is not known';
    case 'UND_ERR_CONNECT_TIMEOUT':
    case 'UND_ERR_HEADERS_TIMEOUT':
    case 'UND_ERR_BODY_TIMEOUT':
    case 'ETIMEDOUT':
      return 'it took too long';
    case 'ECONNRESET':
    case 'UND_ERR_SOCKET':
    case 'EPIPE':
      return 'the connection broke';
    default:
      return cause instanceof Error ? printable(typeof code === 'string' ? code : cause.message) : 'unknown reason';
  }
}
