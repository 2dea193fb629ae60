import { connect, createServer, type Socket } from 'node:net';

/** A TCP path to another machine's port, until it is cut. */
export interface CutPath extends AsyncDisposable {
  /** On 127.0.0.1. */
  port: number;
  /** Breaks all connections; with `stay` nobody gets through any more. */
  cut(how?: 'stay'): void;
  /** Lets connections through again. */
  restore(): void;
}

export async function openCutPath(to: { host: string; port: number }): Promise<CutPath> {
  const open = new Set<Socket>();
  let isCut = false;
  const server = createServer((near) => {
    if (isCut) return void near.destroy();
    const far = connect(to);
    for (const [end, other] of [
      [near, far],
      [far, near],
    ] as const) {
      open.add(end);
      end.on('error', () => other.destroy());
      end.once('close', () => {
        open.delete(end);
        other.destroy();
      });
      end.pipe(other);
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const cut = (how?: 'stay') => {
    isCut = how === 'stay';
    for (const end of open) end.destroy();
  };
  return {
    port: (server.address() as { port: number }).port,
    cut,
    restore: () => {
      isCut = false;
    },
    async [Symbol.asyncDispose]() {
      const closed = new Promise((resolve) => server.close(resolve));
      cut('stay');
      await closed;
    },
  };
}
