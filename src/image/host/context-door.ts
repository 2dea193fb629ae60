import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Duplex, Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';

/** The build context of one commit, for whoever has the token: once, and for a while. */
export interface ContextTicket extends Disposable {
  /** `/contexts/blog/<sha>.tar` */
  path: string;
  /** For the header `Authorization: Bearer …` (RFC 6750). */
  token: string;
}

interface Issued {
  path: string;
  /** SHA-256 of the token; the token itself is not kept. */
  hash: Buffer;
  expiresAt: number;
  /** true: somebody reads it just now. */
  isBusy: boolean;
  open(): Readable;
}

const MAX_CONNECTIONS = 64;
/** From a connection's start until its request is there. */
const ASK_TIMEOUT_MS = 10_000;

/**
 * Hands build contexts out to machines that build for us. It listens nowhere: connections are brought to it, each over the SSH
 * connection to a host. A ticket is good for the context of one app and source; it ends when all of that was sent, when its time is
 * over, or when it is disposed of, whatever comes first.
 */
export class ContextDoor {
  readonly #server: Server;
  readonly #tickets = new Map<string, Issued>();
  /** Open connections, and what ends those that ask for nothing. */
  readonly #waiting = new Map<Duplex, NodeJS.Timeout>();

  constructor() {
    this.#server = createServer((request, response) => {
      clearTimeout(this.#waiting.get(request.socket));
      response.setHeader('Connection', 'close');
      this.#answer(request, response).catch(() => response.destroy());
    });
  }

  /** Answers HTTP on a connection, one request each. Whoever is on the host can open them, so they are few and short. */
  serve(connection: Duplex): void {
    if (this.#waiting.size >= MAX_CONNECTIONS) return void connection.destroy();
    const end = setTimeout(() => connection.destroy(), ASK_TIMEOUT_MS).unref();
    this.#waiting.set(connection, end);
    connection.once('close', () => {
      clearTimeout(end);
      this.#waiting.delete(connection);
    });
    this.#server.emit('connection', connection);
  }

  /**
   * @param source what the context is of: a commit's full SHA, `up-…`
   * @param open gives the context as tar; called again where a transfer was cut
   */
  issue(app: string, source: string, open: () => Readable, timeoutMs: number): ContextTicket {
    const token = randomBytes(32).toString('base64url');
    const hash = sha256(token);
    const path = `/contexts/${app}/${source}.tar`;
    const key = hash.toString('hex');
    this.#tickets.set(key, { path, hash, expiresAt: Date.now() + timeoutMs, isBusy: false, open });
    return { path, token, [Symbol.dispose]: () => void this.#tickets.delete(key) };
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (request.method !== 'GET') return refuse(response, 405);
    const [, token] = /^Bearer ([A-Za-z0-9_-]{43})$/.exec(request.headers.authorization ?? '') ?? [];
    const ticket = token === undefined ? undefined : this.#find(token);
    if (ticket === undefined) return refuse(response, 401);
    if (request.url !== ticket.path) return refuse(response, 403);
    // Of a transfer that was cut we may not have heard yet: 503 is asked again.
    if (ticket.isBusy) return refuse(response, 503);
    ticket.isBusy = true;
    try {
      response.writeHead(200, { 'Content-Type': 'application/x-tar', 'Cache-Control': 'no-store' });
      // Where reading fails, the connection is cut before its last chunk: nobody takes a part for the whole.
      await pipeline(ticket.open(), response);
      this.#tickets.delete(ticket.hash.toString('hex'));
    } finally {
      ticket.isBusy = false;
    }
  }

  #find(token: string): Issued | undefined {
    const hash = sha256(token);
    const found = this.#tickets.get(hash.toString('hex'));
    if (found === undefined || !timingSafeEqual(found.hash, hash)) return undefined;
    return Date.now() < found.expiresAt ? found : undefined;
  }
}

function refuse(response: ServerResponse, status: number): void {
  response.writeHead(status, { 'Content-Length': 0 }).end();
}

function sha256(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
