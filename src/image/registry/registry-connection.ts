import { createReadStream } from 'node:fs';
import { Readable } from 'node:stream';
import type { Dispatcher } from 'undici';
import { Agent, request } from 'undici';
import { DinpError } from '../../domain/errors.ts';
import { printable } from '../../domain/names.ts';
import { canceled } from '../abort.ts';
import { isLoopback } from '../image-name.ts';
import type { Challenge, Credentials } from './registry-auth.ts';
import { basicHeader, covers, fetchToken, parseChallenges } from './registry-auth.ts';

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

/** Bytes to send: in memory, a file on disk of that length, or a stream (of that length, where it is known). */
export type Body =
  | Buffer
  | { file: string; size: number }
  | { stream: AsyncIterable<Buffer>; size?: number | undefined };

export interface Call {
  method: 'GET' | 'HEAD' | 'PUT' | 'POST' | 'PATCH' | 'DELETE';
  /** Path below the registry's origin, or a whole URL (a Location). */
  path: string;
  /** What a token must allow, `repository:blog:pull,push`. */
  scopes?: readonly string[];
  headers?: Record<string, string>;
  body?: Body;
  signal?: AbortSignal | undefined;
}

export type Answer = Dispatcher.ResponseData;

/** The connection broke or the registry was not up: the same call may succeed when it is made again. */
export class RegistryBroken extends DinpError {}

const MAX_REDIRECTS = 3;

/** HTTP with one registry: authentication, redirects and what goes wrong, put in words. */
export class RegistryConnection {
  readonly address: string;
  readonly #origin: string;
  readonly #credentials: Credentials | undefined;
  readonly #authHosts: readonly string[];
  readonly #timeoutMs: number;
  readonly #agent: Agent;
  /** By the scopes that were asked for. */
  readonly #tokens = new Map<string, { header: string; expires: number; scopes: readonly string[] }>();
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

  /**
   * Makes one call, and makes it again with credentials where the registry asks for them. What was streamed cannot be sent again: such a
   * call then fails as broken, and succeeds when it is repeated.
   */
  async call(call: Call): Promise<Answer> {
    const url = new URL(call.path, this.#origin);
    const response = await this.#send(url, call, this.#authorization(call.scopes));
    if (response.statusCode !== 401) return response;
    const challenges = parseChallenges(header(response, 'www-authenticate') ?? '');
    await this.drop(response);
    const authorization = await this.#answer(challenges, call);
    if (isStream(call.body))
      throw new RegistryBroken('unavailable', `The registry ${this.address} asked anew who it speaks with.`);
    const again = await this.#send(url, call, authorization);
    if (again.statusCode !== 401 && again.statusCode !== 403) return again;
    await this.drop(again);
    throw this.#refused();
  }

  /** Follows redirects of reads (to an object store); the credentials stay with the registry. */
  async follow(call: Call): Promise<Answer> {
    let response = await this.call(call);
    let at = new URL(call.path, this.#origin);
    for (let hops = 0; response.statusCode >= 301 && response.statusCode <= 308 && hops < MAX_REDIRECTS; hops++) {
      const location = header(response, 'location');
      await this.drop(response);
      if (location === undefined) break;
      at = new URL(location, at);
      if (at.protocol !== 'https:' && at.protocol !== new URL(this.#origin).protocol) break;
      response =
        at.origin === this.#origin
          ? await this.call({ ...call, path: at.href })
          : await this.#send(at, call, undefined);
    }
    return response;
  }

  /** A Location or Link must stay on this registry: it gets our credentials. @param base what a relative one is relative to */
  own(location: string, base = '/'): URL {
    const url = new URL(location, new URL(base, this.#origin));
    // A registry behind a proxy may give its inner scheme; the host decides.
    if (url.host !== new URL(this.#origin).host) {
      throw new DinpError('denied', `The registry ${this.address} sends its callers to another host, ${url.host}.`, {
        hint: 'Set http.host in the registry config (or relativeurls: true) to the address that dinp uses.',
      });
    }
    return new URL(`${this.#origin}${url.pathname}${url.search}`);
  }

  /** The body of an answer, in memory. */
  async read(response: Answer, limit: number, signal: AbortSignal | undefined): Promise<Buffer> {
    const chunks: Buffer[] = [];
    let size = 0;
    for await (const chunk of this.stream(response, signal)) {
      size += chunk.length;
      if (size > limit) break;
      chunks.push(chunk);
    }
    if (size > limit)
      throw new DinpError('unavailable', `The registry ${this.address} answered with more than ${limit} bytes.`);
    return Buffer.concat(chunks);
  }

  /** The body of an answer as it comes. */
  async *stream(response: Answer, signal: AbortSignal | undefined): AsyncGenerator<Buffer> {
    try {
      for await (const chunk of response.body as AsyncIterable<Buffer>) yield chunk;
    } catch (cause) {
      throw this.#unreachable(cause, signal);
    }
  }

  /** Leaves the body of an answer unread. */
  async drop(response: Answer): Promise<void> {
    await response.body.dump().catch(() => {});
  }

  /** The error for an answer that is not what was asked for; not-found where the registry lacks what a manifest needs. */
  async problem(response: Answer, doing: string): Promise<DinpError> {
    const text = await response.body.text().catch(() => '');
    const json = parseJson(text) as { errors?: { code?: string; message?: string; detail?: unknown }[] } | undefined;
    const first = json?.errors?.[0];
    const said = printable(first?.message ?? text.slice(0, 200)).trim();
    // The reference registry sends the number of its error: 28 is ENOSPC.
    if (/no space left|"Err":28\b/i.test(text) || response.statusCode === 507) {
      return new DinpError('unavailable', `The disk of the registry ${this.address} is full.`, {
        hint: 'Free space there, then push again.',
      });
    }
    if (response.statusCode === 401 || response.statusCode === 403) return this.#refused();
    const because = said === '' ? '' : `: ${said}`;
    const missing = /^(?:BLOB|MANIFEST|MANIFEST_BLOB)_UNKNOWN$/.test(first?.code ?? '');
    const message = `The registry ${this.address}, ${doing}, answered ${response.statusCode}${because}.`;
    return response.statusCode >= 502 && response.statusCode <= 504
      ? new RegistryBroken('unavailable', message)
      : new DinpError(missing ? 'not-found' : 'unavailable', message);
  }

  #authorization(scopes: readonly string[] = []): string | undefined {
    const valid = [...this.#tokens].filter(([, token]) => token.expires > Date.now());
    const exact = valid.find(([key]) => key === scopes.join(' '));
    // A token to push also pulls; one that was asked for exactly comes first, as servers may grant less than was asked.
    const token = exact ?? valid.find(([, { scopes: has }]) => scopes.length > 0 && covers(has, scopes));
    return token?.[1].header ?? this.#basic;
  }

  async #answer(challenges: Challenge[], call: Call): Promise<string> {
    const bearer = challenges.find((challenge) => challenge.scheme === 'bearer');
    if (bearer !== undefined) {
      const scopes = call.scopes ?? [];
      const token = await fetchToken({
        registry: this.address,
        challenge: bearer,
        scopes,
        credentials: this.#credentials,
        authHosts: this.#authHosts,
        dispatcher: this.#agent,
        signal: call.signal,
      });
      for (const [key, { expires }] of this.#tokens) if (expires <= Date.now()) this.#tokens.delete(key);
      this.#tokens.set(scopes.join(' '), { ...token, scopes });
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

  async #send(url: URL, call: Call, authorization: string | undefined): Promise<Answer> {
    const { body, length, failure } = openBody(call.body);
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
      // What could not be read is not the registry's fault.
      const own = failure();
      if (own !== undefined && !call.signal?.aborted) throw own.error;
      throw this.#unreachable(cause, call.signal);
    }
  }

  #unreachable(cause: unknown, signal: AbortSignal | undefined): DinpError {
    if (signal?.aborted) return canceled(signal);
    if (cause instanceof DinpError) return cause;
    return new RegistryBroken('unavailable', `The registry ${this.address} does not answer (${reasonOf(cause)}).`, {
      hint: `Check that it runs: curl ${this.#origin}/v2/`,
      cause,
    });
  }
}

/** The first value of a header. */
export function header(response: Answer, name: string): string | undefined {
  const value = response.headers[name];
  return Array.isArray(value) ? value[0] : value;
}

export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function isStream(body: Body | undefined): boolean {
  return body !== undefined && !Buffer.isBuffer(body) && 'stream' in body;
}

interface OpenBody {
  body: Buffer | Readable | undefined;
  length: number | undefined;
  /** Why the bytes could not be read, where they could not. */
  failure(): { error: unknown } | undefined;
}

function openBody(source: Body | undefined): OpenBody {
  const failure = (): undefined => undefined;
  if (source === undefined || Buffer.isBuffer(source)) return { body: source, length: source?.length, failure };
  let failed: { error: unknown } | undefined;
  const bytes = ('file' in source ? createReadStream(source.file) : source.stream)[Symbol.asyncIterator]();
  const watched = async function* (): AsyncGenerator<Buffer> {
    try {
      for (;;) {
        const next = await bytes.next().catch((error: unknown) => {
          failed = { error };
          throw error;
        });
        if (next.done) return;
        yield next.value;
      }
    } finally {
      await bytes.return?.();
    }
  };
  return { body: Readable.from(watched(), { objectMode: false }), length: source.size, failure: () => failed };
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
