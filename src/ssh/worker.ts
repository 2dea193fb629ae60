import { flushCompileCache } from 'node:module';
import { createServer, type Server, type Socket } from 'node:net';
import ssh2, { type ServerConfig } from 'ssh2';
import { Connection } from './connection.ts';
import { ipcLink } from './link.ts';
import { MLKEM768_X25519, mlkemAvailable } from './mlkem.ts';
import type { Link, ToClient, ToControl } from './protocol.ts';
import { Requests } from './requests.ts';
import { injectSocket, nativeCrypto, socketOf } from './ssh2-internals.ts';
import { Transport } from './transport.ts';
import type { FromWorker, ToWorker, WorkerSettings } from './worker-messages.ts';

/**
 * A process that serves SSH clients, forked ahead by front-door.ts. It stays small, since starting git takes longer the
 * more memory a process has, and it can be lost at any time: nothing is kept here that the control process needs.
 */

const BACKLOG = 511;
const STOPPED = 'dinp: the server stopped; push again to see the result.';
/** After its end is decided, a worker waits this long for farewells to be read. */
const EXIT_MS = 800;

const link = ipcLink<FromWorker, ToWorker>(process);
const requests = new Requests(link as Link<ToControl, ToClient>);
const connections = new Map<Socket, { transport: Transport; connection: Connection | undefined }>();
let listener: Server | undefined;

const log = (level: 'info' | 'warn' | 'error', message: string, fields: Record<string, unknown> = {}) =>
  link.send({ type: 'log', level, message, fields });

process.on('message', (message: ToWorker, handle: unknown) => {
  if (message.type === 'listen') listen(message.settings, handle);
  else if (message.type === 'ping') link.send({ type: 'pong', residentBytes: process.memoryUsage.rss() });
  else if (message.type === 'stop') stop();
});
link.onClose(stop);
// The operator's Ctrl-C and the service manager's signal go to the whole group; the control process decides.
process.on('SIGINT', () => {});
process.on('SIGTERM', () => {});
process.on('uncaughtException', (error) => log('error', 'an error in ssh2 was survived', { error: error.stack }));

function listen(settings: WorkerSettings, handle: unknown): void {
  const ssh = sshServer(settings);
  listener = createServer({ noDelay: true }, (socket) => accept(socket, ssh, settings));
  listener.on('error', (error: NodeJS.ErrnoException) => {
    link.send({ type: 'listen-error', code: error.code ?? error.message });
  });
  listener.listen(handle as Server, BACKLOG, () => {
    link.send({ type: 'listening' });
    // Else it is written at the end only, which a worker that is killed never sees.
    flushCompileCache();
  });
}

function sshServer(settings: WorkerSettings): unknown {
  const server = new ssh2.Server({
    hostKeys: [settings.hostKey],
    ident: 'dinp',
    algorithms: ALGORITHMS,
    keepaliveInterval: settings.limits.keepaliveMs,
    keepaliveCountMax: settings.limits.keepaliveMisses,
  } as ServerConfig);
  server.on('connection', (client) => {
    const entry = connections.get(socketOf(client));
    if (entry === undefined) return;
    entry.connection = new Connection(client, entry.transport, {
      requests,
      git: settings.git,
      user: settings.user,
      program: settings.program,
      keyExchanges: ALGORITHMS.kex,
      limits: settings.limits,
      onReceiving: (app, active) => link.send({ type: 'receiving', app, active }),
      log,
    });
  });
  server.on('error', (error: Error) => log('warn', 'ssh2 reported an error', { error: error.message }));
  return server;
}

const ALGORITHMS = {
  kex: [
    ...(mlkemAvailable ? [MLKEM768_X25519] : []),
    'curve25519-sha256',
    'curve25519-sha256@libssh.org',
    'ecdh-sha2-nistp256',
    'ecdh-sha2-nistp384',
    'ecdh-sha2-nistp521',
  ],
  serverHostKey: ['ssh-ed25519'],
  cipher: [
    'aes128-gcm@openssh.com',
    'aes256-gcm@openssh.com',
    // Clients prefer it, but without the native code it is several times slower than AES.
    ...(nativeCrypto ? ['chacha20-poly1305@openssh.com'] : []),
    'aes128-ctr',
    'aes192-ctr',
    'aes256-ctr',
  ],
  hmac: ['hmac-sha2-256-etm@openssh.com', 'hmac-sha2-512-etm@openssh.com', 'hmac-sha2-256', 'hmac-sha2-512'],
  compress: ['none'],
};

function accept(socket: Socket, ssh: unknown, settings: WorkerSettings): void {
  const { limits } = settings;
  if (connections.size >= limits.connections) {
    log('warn', 'a connection was refused', { address: socket.remoteAddress, connections: connections.size });
    socket.destroy();
    return;
  }
  makeRoom(limits.unknownConnections);
  const entry = { transport: new Transport(socket), connection: undefined as Connection | undefined };
  connections.set(socket, entry);
  const deadline = setTimeout(() => {
    if (!entry.connection?.isLoggedIn) socket.destroy();
  }, limits.loginMs);
  socket.on('error', () => {});
  socket.once('close', () => {
    clearTimeout(deadline);
    connections.delete(socket);
  });
  injectSocket(ssh, socket);
}

/** Logging in takes a moment, so where too many have not, the oldest of them are the idle ones. */
function makeRoom(limit: number): void {
  const unknown = [...connections].filter(([, { connection }]) => !connection?.isLoggedIn);
  for (const [socket] of unknown.slice(0, Math.max(0, unknown.length - limit + 1))) {
    log('warn', 'an idle connection made room', { address: socket.remoteAddress });
    connections.delete(socket);
    socket.destroy();
  }
}

/** The control process is gone or wants us to end: nobody is left waiting for an answer that cannot come. */
function stop(): void {
  listener?.close();
  setTimeout(() => process.exit(0), EXIT_MS);
  for (const { connection, transport } of connections.values()) {
    transport.socket.once('close', () => {
      if (connections.size === 0) process.exit(0);
    });
    if (connection === undefined) transport.socket.destroy();
    else connection.farewell(STOPPED).catch(() => transport.socket.destroy());
  }
  if (connections.size === 0) process.exit(0);
}
