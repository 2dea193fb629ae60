import { connect, createServer, type Socket } from 'node:net';

/** A path to a port of this machine that takes its time. */
export interface DelayedPath extends AsyncDisposable {
  port: number;
  /** Bytes that clients have sent so far. */
  sent: number;
  /** While it is set, nothing of what the server says reaches a client. */
  deaf: boolean;
}

/**
 * Forwards connections to a loopback port, and every byte half a round trip later than it came. It takes what it is
 * given at once, however much that is, as a long path with room does: what limits a transfer is the window of SSH.
 */
export async function openDelayedPath(port: number, roundTripMs: number): Promise<DelayedPath> {
  const sockets = new Set<Socket>();
  const state = { sent: 0, deaf: false };
  const server = createServer({ noDelay: true }, (client) => {
    const target = connect({ port, host: '127.0.0.1', noDelay: true });
    for (const [from, to] of [
      [client, target],
      [target, client],
    ] as const) {
      sockets.add(from);
      from.once('close', () => sockets.delete(from));
      from.on('error', () => to.destroy());
    }
    client.on('data', (chunk) => {
      state.sent += chunk.length;
    });
    forward(client, target, roundTripMs / 2, () => false);
    forward(target, client, roundTripMs / 2, () => state.deaf);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return Object.assign(state, {
    port: (server.address() as { port: number }).port,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  });
}

/** One direction. What waits is kept in order by one timer, since timers of their own may fire out of it. */
function forward(from: Socket, to: Socket, delayMs: number, isHeld: () => boolean): void {
  const waiting: { due: number; chunk: Buffer | undefined }[] = [];
  let isTimed = false;
  const wait = (milliseconds: number) => {
    isTimed = true;
    setTimeout(send, milliseconds);
  };
  const send = () => {
    isTimed = false;
    const now = performance.now();
    to.cork();
    while (waiting.length > 0 && waiting[0]!.due <= now && !isHeld()) {
      const { chunk } = waiting.shift()!;
      if (chunk === undefined) to.end();
      else if (to.writable) to.write(chunk);
    }
    to.uncork();
    if (waiting.length > 0) wait(Math.max(1, waiting[0]!.due - performance.now()));
  };
  const enqueue = (chunk: Buffer | undefined) => {
    waiting.push({ due: performance.now() + delayMs, chunk });
    if (!isTimed) wait(delayMs);
  };
  from.on('data', enqueue);
  from.on('end', () => enqueue(undefined));
}
