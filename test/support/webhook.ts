import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** A request as it came. */
export interface Taken {
  headers: IncomingHttpHeaders;
  body: string;
}

/** A webhook on the loopback address that keeps what it is told. */
export interface Webhook extends AsyncDisposable {
  url: string;
  taken: Taken[];
}

/** @param answer gets the number of the request, from 1 on; every request is taken where it is not given */
export async function startWebhook(
  answer: (res: ServerResponse, count: number) => void = (res) => res.end(),
): Promise<Webhook> {
  const taken: Taken[] = [];
  const server = createServer((req, res) => {
    const chunks: Buffer[] = [];
    req.on('data', (chunk: Buffer) => chunks.push(chunk));
    req.on('end', () => {
      taken.push({ headers: req.headers, body: Buffer.concat(chunks).toString() });
      answer(res, taken.length);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook?token=x`,
    taken,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
