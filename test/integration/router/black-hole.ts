import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';

/** An address of this machine at which connections are neither made nor refused, as at a host that is gone. */
export interface BlackHole extends AsyncDisposable {
  /** `127.0.0.1:PORT` */
  address: string;
}

const LISTEN = `const server = require('node:net').createServer();
server.listen({ port: 0, host: '127.0.0.1', backlog: 1 }, () => console.log(server.address().port));`;
/** A connection of this machine is made at once or not at all. */
const MADE_MS = 500;

/** A process that listens, is stopped, and whose queue is full: Linux drops what asks for one more connection. */
export async function openBlackHole(): Promise<BlackHole> {
  const child = spawn(process.execPath, ['-e', LISTEN], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [line] = (await once(child.stdout, 'data')) as [Buffer];
  child.kill('SIGSTOP');
  const port = Number(line.toString());
  const sockets: Socket[] = [];
  for (let isMade = true; isMade; ) {
    const socket = connect({ host: '127.0.0.1', port });
    socket.on('error', () => socket.destroy());
    sockets.push(socket);
    isMade = await once(socket, 'connect', { signal: AbortSignal.timeout(MADE_MS) }).then(
      () => true,
      () => false,
    );
  }
  return {
    address: `127.0.0.1:${port}`,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      child.kill('SIGKILL');
      await once(child, 'exit');
    },
  };
}
