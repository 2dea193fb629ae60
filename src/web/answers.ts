import { randomBytes } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { DinpError } from '../domain/errors.ts';
import { statusOf, WebError } from './errors.ts';

/** A body that nobody wants is read for so long and so far, so that its sender gets to read why. */
const LINGER_MS = 2_000;
const LINGER_BYTES = 4 * 1024 * 1024;

/** Answers with JSON, indented, for people have curl. */
export function sendJson(
  res: ServerResponse,
  status: number,
  value: unknown,
  headers: Record<string, string> = {},
): void {
  const body = Buffer.from(`${JSON.stringify(value, null, 2)}\n`);
  res.writeHead(status, {
    ...headers,
    'content-type': 'application/json; charset=utf-8',
    'content-length': body.length,
  });
  res.end(body);
}

/** Answers with an error: what was expected is explained, anything else is "internal error" under an id of the log. */
export async function sendError(
  req: IncomingMessage,
  res: ServerResponse,
  error: unknown,
  log: { error(fields: object, message: string): void },
): Promise<void> {
  if (res.headersSent || res.destroyed) {
    res.destroy();
    return;
  }
  const unread = !req.complete;
  // What is left of the body would be taken for the next request.
  const headers: Record<string, string> = unread ? { connection: 'close' } : {};
  if (error instanceof DinpError) {
    const { code, message, hint, detail } = error;
    const more = error instanceof WebError ? error.headers : {};
    sendJson(res, statusOf(error), { code, message, hint, detail }, { ...headers, ...more });
  } else {
    const id = randomBytes(4).toString('hex');
    log.error({ err: error, errorId: id }, 'unexpected error');
    sendJson(
      res,
      500,
      { code: 'internal', message: `internal error ${id}; the log of the server says more.` },
      headers,
    );
  }
  if (unread) await linger(req);
}

/** Reads on for a moment: closing at once resets the connection, and the answer is lost with it. */
async function linger(req: IncomingMessage): Promise<void> {
  let bytes = 0;
  req.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes > LINGER_BYTES) req.destroy();
  });
  req.on('error', () => {});
  const ended = new Promise<void>((resolve) => req.once('close', resolve).once('end', resolve));
  await Promise.race([ended, sleep(LINGER_MS, undefined, { ref: false })]);
  req.destroy();
}
