import { createConnection, type Socket } from 'node:net';
import { join } from 'node:path';
import { shellWord } from '../commands/text.ts';
import { DinpError } from '../domain/errors.ts';
import { socketLink } from '../ssh/link.ts';
import type { ToClient, ToControl } from '../ssh/protocol.ts';
import { Requests } from '../ssh/requests.ts';

/** Where the server of this machine listens for the `dinp` command, below its data folder. */
export const SOCKET_NAME = 'dinp.sock';

/**
 * Connects to the running server.
 * @param data its data folder
 * @param config its config file, for the hint
 * @throws DinpError unavailable when it does not run, denied when this user may not
 */
export async function connectToServer(data: string, config: string | undefined): Promise<Requests> {
  const path = join(data, SOCKET_NAME);
  const socket = createConnection({ path });
  try {
    await connected(socket);
  } catch (cause) {
    throw connectError(cause as NodeJS.ErrnoException, path, config);
  }
  return new Requests(socketLink<ToControl, ToClient>(socket));
}

function connected(socket: Socket): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.once('connect', resolve);
    socket.once('error', reject);
  });
}

function connectError(cause: NodeJS.ErrnoException, path: string, config: string | undefined): DinpError {
  if (cause.code === 'EACCES' || cause.code === 'EPERM') {
    return new DinpError('denied', `you may not use the server's socket ${path}.`, {
      hint: 'Use the account that the server runs under (sudo), or ssh with your key:  ssh -p 2222 dinp@localhost',
      cause,
    });
  }
  if (cause.code === 'ENOENT' || cause.code === 'ECONNREFUSED') {
    const serve = config === undefined ? 'dinp serve' : `dinp serve --config ${shellWord(config)}`;
    return new DinpError('unavailable', `no server runs here: nobody listens on ${path}.`, {
      hint: `Start it:  systemctl start dinp  or  ${serve}\n       For a server elsewhere:  dinp --host dinp@HOST:2222 …`,
      cause,
    });
  }
  return new DinpError('unavailable', `the server's socket ${path} cannot be used: ${cause.message}.`, { cause });
}
