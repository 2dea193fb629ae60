import type { Client, ClientChannel } from 'ssh2';
import { DinpError } from '../../domain/errors.ts';
import { openConnection, type SshLogin } from './ssh-connection.ts';

/** A program's channel; `release` gives its place to the next once it is over. */
export interface OpenSession {
  channel: ClientChannel;
  release(): void;
}

interface Connection {
  client: Client;
  sessions: number;
  isOpen: boolean;
}

/** sshd takes ten sessions a connection (MaxSessions); some may be taken by those that are about to close. */
const MAX_SESSIONS = 8;
const MAX_CONNECTIONS = 4;
/** What ssh2 says of a connection whose end it has not told yet. */
const NOT_CONNECTED = 'Not connected';
/** A host that did not answer is asked again after these pauses; until then everybody gets the same error at once. */
const FIRST_PAUSE_MS = 500;
const LAST_PAUSE_MS = 15_000;

/**
 * The connections to one host: one that is kept, and more only while it is full. One that is lost is opened again when
 * it is needed next, and at once and again and again where somebody wants it kept.
 */
export class SshSessions {
  readonly #login: SshLogin;
  readonly #open: typeof openConnection;
  #connections: Connection[] = [];
  #opening: Promise<Connection> | undefined;
  #waiting: (() => void)[] = [];
  #failure: { error: unknown; at: number; pauseMs: number } | undefined;
  #onKept: ((client: Client) => Promise<void>) | undefined;
  #retry: NodeJS.Timeout | undefined;
  #isClosed = false;

  constructor(login: SshLogin, open = openConnection) {
    this.#login = login;
    this.#open = open;
  }

  /** Starts a command line there. @throws DinpError unavailable, denied */
  async open(command: string): Promise<OpenSession> {
    const connection = await this.#room();

    let isHeld = true;
    const release = () => {
      if (!isHeld) return;
      isHeld = false;
      this.#release(connection);
    };
    try {
      return { channel: await execute(connection.client, command), release };
    } catch (cause) {
      release();
      if (connection.isOpen && (cause as Error).message === NOT_CONNECTED) {
        // It broke a moment ago, and nothing was sent.
        this.#lost(connection);
        return await this.open(command);
      }
      const { name } = this.#login;
      throw new DinpError('unavailable', `${name} started no program: ${(cause as Error).message}.`, {
        cause,
        hint: `It must take ${MAX_SESSIONS} sessions a connection: see MaxSessions in its sshd_config.`,
      });
    }
  }

  /**
   * Connects to a unix socket there (OpenSSH's PROTOCOL, 2.4); takes no session.
   * @throws DinpError unavailable, denied
   */
  async openSocket(path: string): Promise<ClientChannel> {
    const { client } = this.#connections[0] ?? (await this.#connect());
    return await new Promise((resolve, reject) => {
      client.openssh_forwardOutStreamLocal(path, (cause, channel) => {
        if (cause === undefined) return resolve(channel);
        reject(
          new DinpError('unavailable', `${path} of ${this.#login.name} cannot be reached: ${cause.message}.`, {
            cause,
            hint: 'Does its engine run, and does its sshd allow AllowStreamLocalForwarding yes or local?',
          }),
        );
      });
    });
  }

  /**
   * Keeps a connection open from now on.
   * @param onOpen called with it each time that it was opened, before anything else uses it; must not throw
   * @throws DinpError unavailable, denied: it is tried again all the same
   */
  async keep(onOpen: (client: Client) => Promise<void>): Promise<void> {
    this.#onKept = onOpen;
    const open = this.#connections[0];
    if (open === undefined) await this.#connect();
    else await onOpen(open.client);
  }

  /** Lets the next who needs it connect at once, unless that was tried within the last `ageMs` milliseconds. */
  hurry(ageMs: number): void {
    const failure = this.#failure;
    if (failure !== undefined && Date.now() - failure.at >= ageMs) failure.at = 0;
  }

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#retry);
    for (const { client } of this.#connections) client.end();
  }

  /** A connection with one more session taken. */
  async #room(): Promise<Connection> {
    for (;;) {
      const free = this.#connections.find(({ sessions }) => sessions < MAX_SESSIONS);
      if (free !== undefined) {
        free.sessions++;
        return free;
      }
      if (this.#connections.length < MAX_CONNECTIONS) await this.#connect();
      else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  #release(connection: Connection): void {
    connection.sessions--;
    // The first is kept; the others were opened because it was full.
    if (connection.sessions === 0 && this.#connections.indexOf(connection) > 0) this.#drop(connection);
    this.#waiting.shift()?.();
  }

  #drop(connection: Connection): void {
    this.#connections = this.#connections.filter((other) => other !== connection);
    connection.client.end();
  }

  async #connect(): Promise<Connection> {
    if (this.#isClosed) throw new DinpError('unavailable', `${this.#login.name} was removed.`);
    if (this.#failure !== undefined && Date.now() < this.#failure.at + this.#failure.pauseMs) throw this.#failure.error;
    this.#opening ??= this.#connectNow().finally(() => {
      this.#opening = undefined;
    });
    return await this.#opening;
  }

  async #connectNow(): Promise<Connection> {
    clearTimeout(this.#retry);
    try {
      const client = await this.#open(this.#login);
      const connection = { client, sessions: 0, isOpen: true };
      client.on('error', () => {});
      client.once('close', () => this.#lost(connection));
      if (this.#connections.length === 0) await this.#onKept?.(client);
      this.#failure = undefined;
      if (connection.isOpen) this.#connections.push(connection);
      return connection;
    } catch (error) {
      const pauseMs = Math.min(this.#failure === undefined ? FIRST_PAUSE_MS : this.#failure.pauseMs * 2, LAST_PAUSE_MS);
      this.#failure = { error, pauseMs, at: Date.now() };
      this.#later(pauseMs);
      throw error;
    }
  }

  #lost(connection: Connection): void {
    connection.isOpen = false;
    this.#connections = this.#connections.filter((other) => other !== connection);
    for (const wake of this.#waiting.splice(0)) wake();
    if (this.#connections.length === 0) this.#later(FIRST_PAUSE_MS);
  }

  #later(pauseMs: number): void {
    if (this.#onKept === undefined || this.#isClosed) return;
    clearTimeout(this.#retry);
    this.#retry = setTimeout(() => {
      this.#connect().catch(() => {});
    }, pauseMs + 1);
    this.#retry.unref();
  }
}

function execute(client: Client, command: string): Promise<ClientChannel> {
  return new Promise((resolve, reject) => {
    client.exec(command, (error, channel) => (error === undefined ? resolve(channel) : reject(error)));
  });
}
