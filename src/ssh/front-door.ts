import { type ChildProcess, fork } from 'node:child_process';
import net from 'node:net';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { DinpError } from '../domain/errors.ts';
import type { GitServiceSettings } from '../git/receive-pack.ts';
import { ensureHostKey } from './host-key.ts';
import { ipcLink } from './link.ts';
import type { Log } from './log.ts';
import type { Link, ToClient, ToControl } from './protocol.ts';
import { nativeCrypto } from './ssh2-internals.ts';
import type { FromWorker, FrontDoorLimits, ToWorker, WorkerSettings } from './worker-messages.ts';

export interface FrontDoorOptions {
  host: string;
  /** 0 takes a free one. */
  port: number;
  /** The only user that can log in. */
  user: string;
  /** How clients call us from their shell, for hints: `ssh dinp@host`. */
  program: string;
  /** An OpenSSH private key; made at the first start. */
  hostKeyPath: string;
  git: GitServiceSettings;
  /** Folder where workers keep their compiled code: those that find it there take two thirds of the memory. */
  compileCache?: string;
  /** Processes that serve clients; by default one a core, and never fewer than two. */
  workers?: number;
  limits?: Partial<FrontDoorLimits>;
  /** Called with the link of every worker, the replaced ones' too: answer its requests (respond() in responder.ts). */
  onWorker(link: Link<ToClient, ToControl>): void;
  /** A worker died while pushes came in: refs of these apps may have moved without anybody having heard of it. */
  onWorkerLost(appsBeingReceived: string[]): void;
  log: Log;
}

export interface FrontDoor {
  port: number;
  hostKey: { publicKey: string; fingerprint: string };
  /** Whether ssh2's native ciphers are there; without them transfers are slower. */
  nativeCrypto: boolean;
  /** Process ids of the workers. */
  workers(): number[];
  /** Stops listening, tells open sessions, ends the workers; takes about a second. */
  close(): Promise<void>;
}

const LIMITS: FrontDoorLimits = {
  loginMs: 20_000,
  unknownConnections: 500,
  connections: 2000,
  sessions: 4,
  keepaliveMs: 15_000,
  keepaliveMisses: 3,
  rekeyBytes: 1024 * 1024 * 1024,
  rekeyMs: 3_600_000,
};

const PING_MS = 2000;
/** Pings without an answer until a worker is taken for stalled: some 10 s, counted so that a stall of ours is none of its. */
const MISSES = 5;
/** A worker that grew to this serves nobody well, and its clients are few. */
const MAX_RESIDENT_BYTES = 1024 * 1024 * 1024;
const CLOSE_MS = 3000;
const MAX_RESTART_DELAY_MS = 5000;

/**
 * Opens the SSH port and forks the processes that serve it. They share the listening socket, so that one that hangs
 * keeps nobody else from being served; they are watched, and replaced when they stall or die.
 * @throws DinpError config when the port cannot be had or the host key is unusable
 */
export async function openFrontDoor(options: FrontDoorOptions): Promise<FrontDoor> {
  const hostKey = ensureHostKey(options.hostKeyPath);
  const socket = bind(options.host, options.port);
  const settings: WorkerSettings = {
    hostKey: hostKey.privateKey,
    user: options.user,
    program: options.program,
    git: options.git,
    limits: { ...LIMITS, ...options.limits },
  };
  if (!nativeCrypto) options.log('warn', 'ssh2 runs without its native ciphers: transfers are slower');
  const count = options.workers ?? Math.max(2, availableParallelism());
  const posts = Array.from({ length: count }, () => new Post(options, settings, socket.handle));
  try {
    await Promise.all(posts.map((post) => post.listening));
  } catch (error) {
    await Promise.all(posts.map((post) => post.close()));
    socket.handle.close();
    throw listenError(error, options);
  }
  return {
    port: socket.port,
    hostKey: { publicKey: hostKey.publicKey, fingerprint: hostKey.fingerprint },
    nativeCrypto,
    workers: () => posts.flatMap((post) => post.pid ?? []),
    close: async () => {
      await Promise.all(posts.map((post) => post.close()));
      socket.handle.close();
    },
  };
}

function listenError(error: unknown, { host, port }: Pick<FrontDoorOptions, 'host' | 'port'>): DinpError {
  if (error instanceof DinpError) return error;
  const code = (error as { code?: string }).code ?? String(error);
  const where = `${host} port ${port}`;
  const why =
    code === 'EADDRINUSE' ? 'another program listens there' : code === 'EACCES' ? 'that is not allowed' : code;
  return new DinpError('config', `SSH cannot listen on ${where}: ${why}.`, {
    hint: 'Stop the other program, or set another ssh.port.',
    cause: error,
  });
}

/** A native TCP handle of Node. */
interface TcpHandle {
  close(): void;
  getsockname(out: { port?: number }): number;
}

/**
 * A bound socket that this process never listens on: the workers do, and this process keeps it open for those that
 * come later. A net.Server would accept connections here too, so this is the call that node:cluster makes for it.
 */
function bind(host: string, port: number): { handle: TcpHandle; port: number } {
  const { _createServerHandle: create } = net as unknown as {
    _createServerHandle(address: string, port: number, family: 4 | 6, fd: undefined, flags: number): TcpHandle | number;
  };
  const address = host === 'localhost' ? '127.0.0.1' : host;
  const handle = create(address, port, net.isIPv6(address) ? 6 : 4, undefined, 0);
  if (typeof handle === 'number') {
    throw new DinpError('config', `SSH cannot listen on ${host} port ${port}: the address cannot be used here.`, {
      hint: 'Use an IP address of this machine, 0.0.0.0 or ::.',
    });
  }
  const name: { port?: number } = {};
  handle.getsockname(name);
  // libuv keeps "address in use" for listen(), which is not called here; the socket is simply not bound then.
  if (name.port === undefined || name.port === 0) {
    handle.close();
    throw listenError({ code: 'EADDRINUSE' }, { host, port });
  }
  return { handle, port: name.port };
}

/** One place of the pool: a worker, and the next one when it is lost. */
class Post {
  /** Settled by the first worker: it listens, or why it cannot. */
  readonly listening: Promise<void>;
  readonly #options: FrontDoorOptions;
  readonly #settings: WorkerSettings;
  readonly #handle: TcpHandle;
  #child: ChildProcess | undefined;
  #restart: NodeJS.Timeout | undefined;
  #delayMs = 0;
  #closing = false;

  constructor(options: FrontDoorOptions, settings: WorkerSettings, handle: TcpHandle) {
    this.#options = options;
    this.#settings = settings;
    this.#handle = handle;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.listening = promise;
    promise.catch(() => {});
    this.#start(resolve, reject);
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  async close(): Promise<void> {
    this.#closing = true;
    clearTimeout(this.#restart);
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    const timer = setTimeout(() => child.kill('SIGKILL'), CLOSE_MS);
    ipcLink<ToWorker, FromWorker>(child).send({ type: 'stop' });
    await ended;
    clearTimeout(timer);
  }

  #start(listening: () => void, failed: (error: unknown) => void): void {
    const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
    const child = fork(fileURLToPath(new URL(`./worker.${extension}`, import.meta.url)), [], {
      serialization: 'advanced',
      // A small young generation: memory makes every start of git slower.
      execArgv: ['--max-semi-space-size=1'],
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
      env: {
        PATH: process.env.PATH ?? '',
        NODE_ENV: process.env.NODE_ENV ?? '',
        ...(this.#options.compileCache === undefined ? {} : { NODE_COMPILE_CACHE: this.#options.compileCache }),
      },
    });
    this.#child = child;
    const startedAt = Date.now();
    const watch = new Watch(child, this.#options.log);
    const receiving = new Map<string, number>();
    const link = ipcLink<ToWorker, FromWorker>(child);
    link.onMessage((message) => {
      if (message.type === 'listening') listening();
      else if (message.type === 'listen-error') failed(message);
      else if (message.type === 'pong') watch.answered(message.residentBytes);
      else if (message.type === 'log') this.#options.log(message.level, message.message, message.fields);
      else if (message.type === 'receiving') count(receiving, message.app, message.active ? 1 : -1);
    });
    this.#options.onWorker(requestsOnly(link));
    child.send({ type: 'listen', settings: this.#settings } satisfies ToWorker, this.#handle as unknown as net.Server);
    child.once('exit', (code, signal) => {
      watch.stop();
      failed(new Error('a worker ended before it listened'));
      if (receiving.size > 0) this.#options.onWorkerLost([...receiving.keys()]);
      if (!this.#closing) this.#replace(startedAt, { code, signal });
    });
  }

  /** At once, but ever slower for workers that die at their start. */
  #replace(startedAt: number, how: { code: number | null; signal: string | null }): void {
    this.#options.log('warn', 'an SSH worker ended and is replaced', how);
    const short = Date.now() - startedAt < MAX_RESTART_DELAY_MS;
    this.#delayMs = short ? Math.min(MAX_RESTART_DELAY_MS, this.#delayMs * 2 + 50) : 0;
    this.#restart = setTimeout(
      () =>
        this.#start(
          () => {},
          () => {},
        ),
      this.#delayMs,
    );
  }
}

/** What control answers; the front door's own messages stay here. */
function requestsOnly(link: Link<ToWorker, FromWorker>): Link<ToClient, ToControl> {
  return {
    send: (message) => link.send(message),
    onMessage: (listener) =>
      link.onMessage((message) => {
        if (
          message.type === 'request' ||
          message.type === 'cancel' ||
          message.type === 'ack' ||
          message.type === 'input'
        ) {
          listener(message);
        }
      }),
    onClose: (listener) => link.onClose(listener),
    close: () => link.close(),
  };
}

function count(counts: Map<string, number>, key: string, change: 1 | -1): void {
  const now = (counts.get(key) ?? 0) + change;
  if (now > 0) counts.set(key, now);
  else counts.delete(key);
}

/** Kills a worker that does not answer: one client's packets can hang ssh2 for ever. */
class Watch {
  readonly #timer: NodeJS.Timeout;
  readonly #child: ChildProcess;
  readonly #log: Log;
  #unanswered = 0;

  constructor(child: ChildProcess, log: Log) {
    this.#child = child;
    this.#log = log;
    this.#timer = setInterval(() => this.#ping(), PING_MS);
    this.#timer.unref();
  }

  answered(residentBytes: number): void {
    this.#unanswered = 0;
    if (residentBytes > MAX_RESIDENT_BYTES) this.#kill('it takes too much memory', { residentBytes });
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  #ping(): void {
    if (this.#unanswered >= MISSES) this.#kill('it stalled', {});
    this.#unanswered++;
    if (this.#child.connected) this.#child.send({ type: 'ping' } satisfies ToWorker, () => {});
  }

  #kill(reason: string, fields: Record<string, unknown>): void {
    this.#log('error', 'an SSH worker is killed', { reason, pid: this.#child.pid, ...fields });
    this.#child.kill('SIGKILL');
  }
}
