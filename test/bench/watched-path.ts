import { connect, createServer } from 'node:net';

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
