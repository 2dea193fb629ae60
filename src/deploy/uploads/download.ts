import { lookup } from 'node:dns/promises';
import { isIP, type LookupFunction } from 'node:net';
import { Agent, type Dispatcher, errors, request } from 'undici';
import { DinpError } from '../../domain/errors.ts';
import { printable } from '../../domain/names.ts';
import type { AllowedHosts } from './allowed-hosts.ts';
import type { Received } from './received-file.ts';
import type { Uploads } from './uploads.ts';

const MAX_REDIRECTS = 5;
const CONNECT_MS = 10_000;
const HEADERS_MS = 30_000;

export interface DownloadParts {
  uploads: Pick<Uploads, 'receive' | 'maxSize'>;
  allowed: AllowedHosts;
  /** The addresses of a host name; the system's resolver where none is given. */
  resolve?: ((host: string) => Promise<string[]>) | undefined;
}

export interface Downloaded extends Received {
  /** The last part of the address's path. */
  filename: string;
}

/**
 * Fetches artifacts over http and https from where AllowedHosts lets us: each host is resolved once, all of its addresses are
 * checked, and the connection goes to one of those and no other; after each redirect anew.
 */
export class Downloads {
  readonly #parts: DownloadParts;

  constructor(parts: DownloadParts) {
    this.#parts = parts;
  }

  /**
   * @param address http or https; may hold credentials, which go to that origin only
   * @param options.sha256 what it must have, 64 hex digits
   * @throws DinpError usage, refused, not-found, denied, unavailable, timeout, canceled; without credentials in its text
   */
  async fetch(address: string, options: { signal: AbortSignal; sha256?: string | undefined }): Promise<Downloaded> {
    const first = parseHttpUrl(address);
    let url = first;
    for (let hop = 0; hop <= MAX_REDIRECTS; hop++) {
      const agent = await this.#agentFor(url);
      try {
        const answer = await ask(url, url.origin === first.origin ? first : undefined, agent, options.signal);
        // Also one that nobody reads fails when its connection is closed.
        answer.body.on('error', () => {});
        const next = redirectOf(url, answer);
        if (next === undefined) return { ...(await this.#receive(url, answer, options)), filename: filenameOf(first) };
        url = next;
      } finally {
        await agent.destroy();
      }
    }
    throw new DinpError('refused', `${shownUrl(first)} leads from one address to the next, ${MAX_REDIRECTS} times.`);
  }

  /** Connections of this agent reach only addresses that were checked just now. */
  async #agentFor(url: URL): Promise<Agent> {
    const host = url.hostname.replace(/^\[(.*)\]$/, '$1');
    const addresses = isIP(host) ? [host] : await this.#resolve(host);
    this.#parts.allowed.check(host, addresses);
    const answers = addresses.map((address) => ({ address, family: isIP(address) }));
    const pinned: LookupFunction = (_host, options, callback) => {
      if (options.all) callback(null, answers);
      else callback(null, answers[0]!.address, answers[0]!.family);
    };
    return new Agent({
      connect: { lookup: pinned, timeout: CONNECT_MS, autoSelectFamily: true },
      headersTimeout: HEADERS_MS,
      // Receiving watches over the body.
      bodyTimeout: 0,
    });
  }

  async #resolve(host: string): Promise<string[]> {
    try {
      if (this.#parts.resolve) return await this.#parts.resolve(host);
      return (await lookup(host, { all: true })).map(({ address }) => address);
    } catch (cause) {
      throw new DinpError('unavailable', `${printable(host)} has no address: ${(cause as Error).message}.`, { cause });
    }
  }

  async #receive(
    url: URL,
    { statusCode, headers, body }: Dispatcher.ResponseData,
    options: { signal: AbortSignal; sha256?: string | undefined },
  ): Promise<Received> {
    if (statusCode !== 200) throw badStatus(url, statusCode);
    const { maxSize } = this.#parts.uploads;
    if (Number(headers['content-length'] ?? 0) > maxSize) {
      throw new DinpError('too-large', `${shownUrl(url)} is larger than the ${maxSize} bytes that are taken.`, {
        hint: "The operator can raise uploads.maxSize in the server's config.",
      });
    }
    const whole = headers['content-length'] !== undefined || headers['transfer-encoding'] !== undefined;
    if (!whole && options.sha256 === undefined) {
      throw new DinpError(
        'refused',
        `${shownUrl(url)} does not say how long it is, so that a cut would not be noticed.`,
        {
          hint: 'Say what must come:  --sha256 HEX',
        },
      );
    }
    try {
      return await this.#parts.uploads.receive(body, options);
    } catch (error) {
      throw error instanceof DinpError ? error : failed(url, error);
    }
  }
}

/** @throws DinpError usage for what is no address for http or https */
function parseHttpUrl(address: string): URL {
  const url = URL.canParse(address) ? new URL(address) : undefined;
  if (url && ['http:', 'https:'].includes(url.protocol) && url.hostname !== '') return url;
  throw new DinpError('usage', 'artifacts are fetched by http and https only.', {
    hint: 'An address looks like https://artifacts.example.com/shop.war',
  });
}

async function ask(
  url: URL,
  login: URL | undefined,
  dispatcher: Agent,
  signal: AbortSignal,
): Promise<Dispatcher.ResponseData> {
  const credentials = login && login.username + login.password !== '' ? basicAuth(login) : undefined;
  const target = new URL(url);
  target.username = '';
  target.password = '';
  try {
    return await request(target, {
      dispatcher,
      signal,
      headers: { 'user-agent': 'dinp', 'accept-encoding': 'identity', ...credentials },
    });
  } catch (error) {
    if (signal.aborted) throw new DinpError('canceled', 'the download was stopped.');
    throw failed(url, error);
  }
}

function basicAuth({ username, password }: URL): { authorization: string } {
  const pair = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  return { authorization: `Basic ${Buffer.from(pair).toString('base64')}` };
}

/** Where an answer sends us; undefined for one that is none of the kind. @throws DinpError refused */
function redirectOf(url: URL, { statusCode, headers }: Dispatcher.ResponseData): URL | undefined {
  const { location } = headers;
  if (![301, 302, 303, 307, 308].includes(statusCode) || typeof location !== 'string') return undefined;
  if (!URL.canParse(location, url.href)) {
    throw new DinpError('refused', `${shownUrl(url)} leads to what is no address.`);
  }
  const next = parseHttpUrl(new URL(location, url).href);
  if (url.protocol === 'https:' && next.protocol === 'http:') {
    throw new DinpError('refused', `${shownUrl(url)} leads from https to http, at ${next.host}.`);
  }
  return next;
}

function badStatus(url: URL, status: number): DinpError {
  const what = `${shownUrl(url)} answers ${status}`;
  if (status === 404 || status === 410) return new DinpError('not-found', `${what}: nothing is there.`);
  if (status === 401 || status === 403) {
    return new DinpError('denied', `${what}: it lets only some in.`, {
      hint: 'Download it yourself and send the file:  dinp deploy APP FILE',
    });
  }
  return new DinpError('unavailable', `${what}.`);
}

function failed(url: URL, cause: unknown): DinpError {
  const { code, message } = cause as NodeJS.ErrnoException;
  if (cause instanceof errors.ConnectTimeoutError || cause instanceof errors.HeadersTimeoutError) {
    return new DinpError('timeout', `${url.host} does not answer.`, { cause });
  }
  const why = cause instanceof AggregateError ? cause.errors.map(String).join('; ') : message;
  return new DinpError('unavailable', `${shownUrl(url)} was not received: ${why || code}.`, {
    hint: 'Try again.',
    cause,
  });
}

/** An address as people may see it: without credentials, and without a query, which may hold some. */
export function shownUrl(url: URL): string {
  return printable(`${url.origin}${url.pathname}`);
}

function filenameOf(url: URL): string {
  const last = url.pathname.split('/').at(-1) ?? '';
  try {
    return decodeURIComponent(last) || 'download';
  } catch {
    return last;
  }
}
