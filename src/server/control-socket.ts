import { chmodSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { socketLink } from '../ssh/link.ts';
import type { ToClient, ToControl } from '../ssh/protocol.ts';
import { type RequestHandler, respond } from '../ssh/responder.ts';

/**
 * Listens on the unix socket that the local `dinp` command talks to. Only the server's own user may open it; the data
 * folder's lock is held, so a socket file that is there is a dead server's.
 */
export async function listenForCommands(
  path: string,
  handler: RequestHandler,
  onError: (error: unknown) => void,
): Promise<Server> {
  rmSync(path, { force: true });
  const server = createServer((socket) => respond(socketLink<ToClient, ToControl>(socket), handler, onError));
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, resolve);
  });
  chmodSync(path, 0o600);
  return server;
}
