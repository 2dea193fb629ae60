import { request } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { DinpError } from '../domain/errors.ts';

export interface AdminAnswer {
  status: number;
  /** The JSON value, undefined where the body is empty. */
  value: unknown;
  /** For If-Match on the next change of the same path. */
  etag: string | undefined;
}

const TIMEOUT_MS = 30_000;
/** A machine that is gone answers nothing: nobody should wait for it at each deploy. */
const CONNECT_MS = 3_000;
const CUT_RETRIES = 4;
const CUT_PAUSE_MS = 25;

/**
 * Caddy's admin API (https://caddyserver.com/docs/api): every change of the config is loaded as a whole and either
 * takes effect completely or not at all.
 */
export class CaddyAdmin {
  readonly #url: URL;

  /** @param url `http://127.0.0.1:2019`, or `unix:/run/caddy/admin.sock` */
  constructor(url: string) {
    this.#url = new URL(url);
  }

  /** false: on another machine, as far as its address tells. */
  get isHere(): boolean {
    return this.#url.protocol === 'unix:' || /^(?:localhost|127\..*|\[::1\])$/.test(this.#url.hostname);
  }

  /** The value at a config path and its ETag; undefined where nothing is there. @throws DinpError unavailable */
  async get(path: string): Promise<AdminAnswer> {
    const answer = await this.#getPatiently(path);
    if (answer.status < 300) return { ...answer, value: answer.value ?? undefined };
    // A parent that is not there; newer releases of Caddy say 404, older ones 400.
    if (answer.status === 404 || /invalid traversal path/.test(problemOf(answer)))
      return { ...answer, value: undefined };
    throw this.#failure(answer);
  }

  /**
   * Creates or replaces the value at a config path with all its parents, if it is still what `before` found.
   * @returns false where somebody else changed it meanwhile, or where no answer came: look again
   * @throws DinpError config where Caddy cannot load it, unavailable
   */
  async set(path: string, value: unknown, before: AdminAnswer): Promise<boolean> {
    // PUT makes missing parents but refuses to replace; PATCH only replaces.
    const isNew = before.value === undefined;
    const etag = isNew ? undefined : before.etag;
    const answer = await this.#send(isNew ? 'PUT' : 'PATCH', path, value, etag).catch((error: unknown) => {
      if (wasCut(error)) return undefined;
      throw error;
    });
    if (answer === undefined) return false;
    if (answer.status < 300) return true;
    if (answer.status === 412 || /key already exists|key does not exist/.test(problemOf(answer))) return false;
    throw this.#failure(answer);
  }

  /** With each change Caddy replaces its admin listener too, which can cut a connection. */
  async #getPatiently(path: string): Promise<AdminAnswer> {
    for (let left = CUT_RETRIES; ; left--) {
      try {
        return await this.#send('GET', path);
      } catch (error) {
        if (left === 0 || !wasCut(error)) throw error;
        await sleep(CUT_PAUSE_MS);
      }
    }
  }

  #send(method: string, path: string, body?: unknown, ifMatch?: string): Promise<AdminAnswer> {
    const text = body === undefined ? undefined : JSON.stringify(body);
    const isUnix = this.#url.protocol === 'unix:';
    const where = isUnix
      ? { socketPath: this.#url.pathname }
      : { host: this.#url.hostname.replace(/^\[|\]$/g, ''), port: this.#url.port || 80 };
    const headers: Record<string, string | number> = {
      // Caddy checks it against its own address, to keep web pages of others out.
      // Of a socket that is no host it is empty (RFC 9110, 7.2).
      Host: isUnix ? '' : this.#url.host,
      ...(text === undefined ? {} : { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(text) }),
      ...(ifMatch === undefined ? {} : { 'If-Match': ifMatch }),
    };
    return new Promise((resolve, reject) => {
      const signal = AbortSignal.timeout(TIMEOUT_MS);
      const outgoing = request(
        { ...where, method, path: `/config${path}`, headers, setHost: false, agent: false, signal },
        (incoming) => {
          const chunks: Buffer[] = [];
          incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
          incoming.once('error', (error) => reject(this.#unreachable(error)));
          incoming.once('end', () => {
            const etag = incoming.headers.etag ?? incoming.trailers.etag;
            resolve({ status: incoming.statusCode ?? 0, value: parse(Buffer.concat(chunks).toString()), etag });
          });
        },
      );
      outgoing.once('error', (error) => reject(this.#unreachable(error)));
      outgoing.once('socket', (socket) => {
        const timer = setTimeout(() => outgoing.destroy(timedOut()), CONNECT_MS);
        socket.once('connect', () => clearTimeout(timer)).once('close', () => clearTimeout(timer));
      });
      outgoing.end(text);
    });
  }

  #unreachable(cause: Error): DinpError {
    const reason = (cause as NodeJS.ErrnoException).code ?? cause.message;
    return new DinpError('unavailable', `Caddy does not answer at ${this.#url.href.replace(/\/$/, '')} (${reason}).`, {
      hint: 'Is it running? Try: systemctl start caddy; and see that its admin address is the one in the configuration.',
      cause,
    });
  }

  #failure(answer: AdminAnswer): DinpError {
    const problem = problemOf(answer);
    if (answer.status === 403) {
      return new DinpError('unavailable', `Caddy's admin API refuses this server: ${problem}`, {
        hint: `Allow the origin ${this.#url.host} in Caddy's admin configuration.`,
      });
    }
    const taken = /listener address repeated: (?:tcp\/)?(\S+)/.exec(problem);
    if (taken !== null) {
      return new DinpError('config', `Caddy listens on ${taken[1]} already, for a site of its own configuration.`, {
        hint: "Set another address in dinp's configuration, or take that site out of Caddy's.",
      });
    }
    const busy = /listen \w+ (\S+): bind: (.*)/.exec(problem);
    if (busy !== null) {
      return new DinpError('config', `Caddy cannot listen on ${busy[1]}: ${busy[2]}.`, {
        hint: 'See what uses it: ss -ltnp',
      });
    }
    return new DinpError('unavailable', `Caddy did not take the route: ${problem || `status ${answer.status}`}`);
  }
}

/** The connection broke although somebody had accepted it. */
function wasCut(error: unknown): boolean {
  const cause = error instanceof DinpError ? (error.cause as NodeJS.ErrnoException) : undefined;
  return cause?.code === 'ECONNRESET' || cause?.code === 'EPIPE';
}

function problemOf(answer: AdminAnswer): string {
  const error = (answer.value as { error?: unknown } | null | undefined)?.error;
  return typeof error === 'string' ? error : '';
}

function timedOut(): Error {
  return Object.assign(new Error('no connection'), { code: 'ETIMEDOUT' });
}

/** Whether there is no process that listens: what it was cannot serve visitors either. */
export function isGone(error: unknown): boolean {
  const cause = error instanceof DinpError ? (error.cause as NodeJS.ErrnoException) : undefined;
  return cause?.code === 'ECONNREFUSED' || cause?.code === 'ENOENT';
}

function parse(text: string): unknown {
  if (text.trim() === '') return undefined;
  try {
    return JSON.parse(text);
  } catch {
    return { error: text.trim() };
  }
}
