import { connect, createServer, type Socket } from 'node:net';

/** A path to a port of this machine that takes its time. */
export interface DelayedPath extends AsyncDisposable {
  port: number;
}

/**
 * Forwards connections to a loopback port, and every byte half a round trip later than it came. It takes what it is
 * given at once, however much that is, as a long path with room does: what limits a transfer is the window of SSH.
 */
export async function openDelayedPath(port: number, roundTripMs: number): Promise<DelayedPath> {
  const sockets = new Set<Socket>();
  const server = createServer({ noDelay: true }, (client) => {
    const target = connect({ port, host: '127.0.0.1', noDelay: true });
    for (const [from, to] of [
      [client, target],
      [target, client],
    ] as const) {
      sockets.add(from);
      from.once('close', () => sockets.delete(from));
      from.on('error', () => to.destroy());
      forward(from, to, roundTripMs / 2);
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    port: (server.address() as { port: number }).port,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** One direction. What waits is kept in order by one timer, since timers of their own may fire out of it. */
function forward(from: Socket, to: Socket, delayMs: number): void {
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
    while (waiting.length > 0 && waiting[0]!.due <= now) {
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

/** A path that listens: it adds nothing, and knows how long nobody said anything in each connection. */
export interface WatchedPath extends AsyncDisposable {
  port: number;
  /** Longest time between two pieces of data of either side, in milliseconds, for each connection so far. */
  silences: number[];
}

/** Forwards connections to a loopback port as they are, without Nagle's algorithm on its own sockets. */
export async function openWatchedPath(port: number): Promise<WatchedPath> {
  const silences: number[] = [];
  const server = createServer({ noDelay: true }, (client) => {
    const target = connect({ port, host: '127.0.0.1', noDelay: true });
    const connection = silences.push(0) - 1;
    let heard = performance.now();
    for (const [from, to] of [
      [client, target],
      [target, client],
    ] as const) {
      from.on('error', () => to.destroy());
      from.on('data', (chunk) => {
        const now = performance.now();
        silences[connection] = Math.max(silences[connection]!, now - heard);
        heard = now;
        if (to.writable) to.write(chunk);
      });
      from.on('end', () => to.end());
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    port: (server.address() as { port: number }).port,
    silences,
    async [Symbol.asyncDispose]() {
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
