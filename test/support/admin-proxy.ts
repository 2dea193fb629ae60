import { createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';

/** Stands between a server and its Caddy's admin API, and can withhold answers to changes or refuse all. */
export interface AdminProxy extends AsyncDisposable {
  /** For the server's config. */
  url: string;
  /** Where Caddy really is; until it is set, no call gets through. */
  target: string;
  /** From now on changes are made and not answered. @returns resolves once one was made */
  withhold(): Promise<void>;
  /** From now on no call gets through: as if Caddy were gone for its admin, though it serves. */
  refuse(): void;
  /** Answers again. */
  answer(): void;
}

export async function startAdminProxy(): Promise<AdminProxy> {
  let onChange: (() => void) | undefined;
  let refuses = false;
  const server = createServer((incoming, outgoing) => {
    if (refuses || proxy.target === '') {
      incoming.socket.destroy();
      return;
    }
    const { host } = new URL(proxy.target);
    const headers = { ...incoming.headers, host };
    const { method = 'GET', url = '/' } = incoming;
    const onward = request(`${proxy.target}${url}`, { method, headers, agent: false }, (answer) => {
      if (method !== 'GET' && onChange !== undefined) {
        answer.resume();
        answer.once('end', onChange);
        return;
      }
      outgoing.writeHead(answer.statusCode ?? 500, answer.headers);
      answer.pipe(outgoing);
    });
    onward.once('error', () => outgoing.destroy());
    incoming.pipe(onward);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const proxy: AdminProxy = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    target: '',
    withhold: () =>
      new Promise((resolve) => {
        onChange = () => resolve();
      }),
    refuse() {
      refuses = true;
    },
    answer() {
      refuses = false;
      onChange = undefined;
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return proxy;
}
