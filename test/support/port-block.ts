import { createServer, type Server } from 'node:net';

const FIRST = 11_000;
const SIZE = 200;
const BLOCKS = 45;

/** Ports that no other test of this machine uses, until it is released. Below those that the kernel hands out by itself. */
export interface PortBlock extends AsyncDisposable {
  first: number;
  /** Inclusive. */
  last: number;
}

/** Takes a block of ports; its first port is listened on, and by that the block is ours. */
export async function takePortBlock(): Promise<PortBlock> {
  const start = Math.floor(Math.random() * BLOCKS);
  for (let i = 0; i < BLOCKS; i++) {
    const first = FIRST + ((start + i) % BLOCKS) * SIZE;
    const lock = await listen(first);
    if (lock === undefined) continue;
    return {
      first: first + 1,
      last: first + SIZE - 1,
      async [Symbol.asyncDispose]() {
        await new Promise((resolve) => lock.close(resolve));
      },
    };
  }
  throw new Error(`all ${BLOCKS} blocks of ports are taken`);
}

function listen(port: number): Promise<Server | undefined> {
  return new Promise((resolve) => {
    const server = createServer((socket) => socket.destroy());
    server.once('error', () => resolve(undefined));
    server.listen(port, '127.0.0.1', () => resolve(server.unref()));
  });
}
