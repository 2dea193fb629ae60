import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const ENGINE = '/var/run/docker.sock';

const NOTHING = 'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n[]';

/** A socket that leads to the engine, until it is cut: for a server that loses its engine. */
export interface EngineProxy extends AsyncDisposable {
  /** For the server's config. */
  socket: string;
  /** Breaks all connections, and nobody listens any more. */
  cut(): Promise<void>;
  /** Listens again. */
  restore(): Promise<void>;
  /** While true, the engine answers that it has no container at all, though it has. */
  blind: boolean;
}

export async function startEngineProxy(): Promise<EngineProxy> {
  const folder = mkdtempSync(join(tmpdir(), 'dinp-engine-'));
  const socket = join(folder, 'docker.sock');
  const open = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true }, (near) => {
    const far = connect({ path: ENGINE, allowHalfOpen: true });
    for (const [end, other] of [
      [near, far],
      [far, near],
    ] as const) {
      open.add(end);
      end.on('error', () => other.destroy());
      end.once('close', () => open.delete(end));
    }
    far.pipe(near);
    near.on('data', (chunk: Buffer) => {
      // A request without a body comes in one piece.
      if (proxy.blind && chunk.toString('latin1', 0, 100).includes(' /containers/json')) near.write(NOTHING);
      else far.write(chunk);
    });
    near.once('end', () => far.end());
  });
  const listen = () => new Promise<void>((resolve) => server.listen(socket, resolve));
  const cut = async () => {
    if (!server.listening) return;
    const closed = new Promise((resolve) => server.close(resolve));
    for (const end of open) end.destroy();
    await closed;
  };
  await listen();
  const proxy: EngineProxy = {
    blind: false,
    socket,
    cut,
    restore: listen,
    async [Symbol.asyncDispose]() {
      await cut();
      rmSync(folder, { recursive: true, force: true });
    },
  };
  return proxy;
}
