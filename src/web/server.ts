import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';

export interface WebSettings {
  /** undefined: all addresses. */
  host: string | undefined;
  /** 0: any. */
  port: number;
  /** So long a whole request may take to come in, body and all; milliseconds. */
  requestMs: number;
}

const MAX_CONNECTIONS = 256;
const HEADERS_MS = 10_000;
const IDLE_MS = 5_000;
const CHECK_MS = 2_000;

export interface OpenWeb {
  port: number;
  /** Takes no more, and lets go of whoever is connected. */
  close(): Promise<void>;
}

/**
 * Listens for HTTP/1.1. Clients that send their headers slowly, send nothing, or are too many are let go; what a body may
 * be is the handler's to say, who also answers `Expect: 100-continue`.
 * @throws Error as listening fails
 */
export async function openWeb(
  settings: WebSettings,
  handle: (req: IncomingMessage, res: ServerResponse) => void,
): Promise<OpenWeb> {
  const server = createServer(
    {
      keepAlive: true,
      keepAliveTimeout: IDLE_MS,
      headersTimeout: HEADERS_MS,
      // The handler's own limit, which says more, comes first.
      requestTimeout: settings.requestMs + HEADERS_MS,
      connectionsCheckingInterval: CHECK_MS,
    },
    handle,
  );
  server.maxConnections = MAX_CONNECTIONS;
  server.on('checkContinue', handle);
  server.on('clientError', refuse);
  await listen(server, settings);
  return {
    port: (server.address() as AddressInfo).port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

async function listen(server: Server, { host, port }: WebSettings): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host, port }, () => {
      server.off('error', reject);
      resolve();
    });
  });
}

/** Answers what is no request, or comes too slowly, in the few words that such a client may understand. */
function refuse(error: NodeJS.ErrnoException, socket: Socket): void {
  if (!socket.writable || error.code === 'ECONNRESET') {
    socket.destroy();
    return;
  }
  const status =
    error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
      ? '408 Request Timeout'
      : error.code === 'HPE_HEADER_OVERFLOW'
        ? '431 Request Header Fields Too Large'
        : '400 Bad Request';
  socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`, () => socket.destroy());
}
