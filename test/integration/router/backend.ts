import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { fileURLToPath } from 'node:url';

/** An app for the router: answers its name, and some paths that behave in ways that matter. */
export interface Backend extends AsyncDisposable {
  /** `127.0.0.1:PORT` */
  address: string;
  /** SIGTERM, and waits until it has ended. */
  stop(): Promise<void>;
  kill(): Promise<void>;
}

/** Starts one as a process of its own. @param port one to come back on; a free one else */
export async function startBackend(name: string, port = 0): Promise<Backend> {
  const child: ChildProcess = spawn(process.execPath, [fileURLToPath(import.meta.url), name, String(port)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exited = once(child, 'exit');
  const [line] = (await once(child.stdout!, 'data')) as [Buffer];
  const end = async (signal: NodeJS.Signals) => {
    child.kill(signal);
    await exited;
  };
  return {
    address: `127.0.0.1:${line.toString().trim()}`,
    stop: () => end('SIGTERM'),
    kill: () => end('SIGKILL'),
    [Symbol.asyncDispose]: () => end('SIGKILL'),
  };
}

function serve(name: string, port: number): void {
  let gone = 0;
  const waiting: (() => void)[] = [];
  const server = createServer((request, response) => {
    const url = new URL(request.url!, 'http://x');
    response.setHeader('X-Backend', name);
    if (url.pathname === '/headers') return void response.end(JSON.stringify(request.headers));
    if (url.pathname === '/gone') return void response.end(String(gone));
    if (url.pathname === '/slow') return void setTimeout(() => response.end(name), Number(url.searchParams.get('ms')));
    if (url.pathname === '/upload') return countUpload(request, response);
    if (url.pathname === '/pieces') {
      response.write('first\n');
      return void waiting.push(() => response.end('last\n'));
    }
    if (url.pathname === '/pieces/end') {
      for (const end of waiting.splice(0)) end();
      return void response.end();
    }
    if (url.pathname === '/events') {
      response.setHeader('Content-Type', 'text/event-stream');
      response.write('data: first\n\n');
      const timer = setInterval(() => response.write('data: more\n\n'), 1_000);
      return void response.once('close', () => {
        clearInterval(timer);
        gone++;
      });
    }
    request.resume();
    request.once('end', () => response.end(name));
  });
  server.on('upgrade', (request, socket) => {
    const accept = createHash('sha1').update(
      `${request.headers['sec-websocket-key']}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`,
    );
    socket.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n');
    socket.write(`Sec-WebSocket-Accept: ${accept.digest('base64')}\r\n\r\n`);
    // A server's text frame: not masked.
    socket.once('data', () => socket.write(Buffer.concat([Buffer.from([0x81, name.length]), Buffer.from(name)])));
    socket.on('error', () => socket.destroy());
  });
  // What a well-behaved app does: ends what it has begun, takes nothing new.
  process.once('SIGTERM', () => {
    server.close();
    server.closeIdleConnections();
  });
  server.listen(port, '127.0.0.1', () => console.log((server.address() as { port: number }).port));
}

/** Says how many bytes have come, at the first of them and at the end. */
function countUpload(request: IncomingMessage, response: ServerResponse): void {
  let bytes = 0;
  request.on('data', (chunk: Buffer) => {
    if (bytes === 0) response.write(`${chunk.length}\n`);
    bytes += chunk.length;
  });
  request.once('end', () => response.end(`${bytes} in all\n`));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) serve(process.argv[2]!, Number(process.argv[3]));
