import type { Connection as Client, ServerChannel, Session as SshSession } from 'ssh2';
import type { Identity } from '../domain/identity.ts';
import type { GitServiceSettings } from '../git/receive-pack.ts';
import { ChannelInput, ReceiveWindow } from './channel-input.ts';
import { ChannelOutput } from './channel-output.ts';
import type { Log } from './log.ts';
import { handleLogin } from './login.ts';
import { enableMlkem } from './mlkem.ts';
import type { Requests } from './requests.ts';
import { runSession } from './session.ts';
import { dropSession, protocolOf, sendServerSignatures, sessionState } from './ssh2-internals.ts';
import type { Transport } from './transport.ts';
import type { FrontDoorLimits } from './worker-messages.ts';

/** What all connections of a worker share. */
export interface ConnectionContext {
  requests: Requests;
  git: GitServiceSettings;
  user: string;
  /** How clients call us from their shell, for hints: `ssh dinp@host`. */
  program: string;
  /** Key exchanges in the order of our KEXINIT. */
  keyExchanges: readonly string[];
  limits: Pick<FrontDoorLimits, 'sessions' | 'rekeyBytes' | 'rekeyMs'>;
  onReceiving(app: string, active: boolean): void;
  log: Log;
}

/** Packets smaller than this serve nobody, and 0 makes an endless loop of ssh2's writing. */
const MIN_PACKET = 256;
const MAX_SESSIONS_EVER = 10_000;
/** Key exchanges after so few bytes are meant to keep us busy: OpenSSH's RekeyLimit, which users may set low, counts bytes. */
const MIN_REKEY_BYTES = 64 * 1024;
const MAX_EARLY_REKEYS_A_MINUTE = 10;
const REKEY_CHECK_MS = 1000;
const PROTOCOL = /^version=[012]$/;

/** One client from its identification line on: login, and the sessions it opens. */
export class Connection {
  readonly #client: Client;
  readonly #transport: Transport;
  readonly #context: ConnectionContext;
  readonly #lost = new AbortController();
  readonly #outputs = new Set<ChannelOutput>();
  #identity: Identity | undefined;
  #sessions = 0;
  #sessionsEver = 0;
  #earlyRekeys: number[] = [];
  #bytesAtRekey = 0;
  #rekeyedAt = Date.now();

  constructor(client: Client, transport: Transport, context: ConnectionContext) {
    this.#client = client;
    this.#transport = transport;
    this.#context = context;
    const protocol = protocolOf(client);
    transport.protocol = protocol;
    enableMlkem(protocol, context.keyExchanges);
    sendServerSignatures(protocol);
    // Without a listener, garbage from a client would end the process.
    client.on('error', (error) => context.log('info', 'a connection failed', this.#fields({ reason: error.message })));
    const renewal = setInterval(() => this.#renewKeys(), REKEY_CHECK_MS);
    client.once('close', () => {
      clearInterval(renewal);
      this.#lost.abort();
    });
    client.on('rekey', () => this.#countRekey());
    client.on('request', (_accept, reject) => reject?.());
    client.once('authentication', () => transport.measure(true));
    client.on('session', (accept, reject) => this.#openSession(accept, reject));
    handleLogin(
      client,
      context.user,
      context.requests,
      (identity) => this.#loggedIn(identity),
      (reason, fingerprint) => context.log('info', 'a login was refused', this.#fields({ reason, fingerprint })),
    );
  }

  /** Whether somebody has logged in. */
  get isLoggedIn(): boolean {
    return this.#identity !== undefined;
  }

  /**
   * Tells all sessions one line and ends them with status 1. The client then hangs up: a disconnect of ours could
   * overtake the exit status in its eyes.
   */
  async farewell(text: string): Promise<void> {
    const outputs = [...this.#outputs];
    if (outputs.length === 0) this.#client.end();
    await Promise.all(outputs.map((output) => output.say(text).then(() => output.finish(1))));
  }

  #loggedIn(identity: Identity): void {
    this.#identity = identity;
  }

  #bytesSinceRekey(): number {
    const { bytesRead, bytesWritten } = this.#transport.socket;
    return bytesRead + bytesWritten - this.#bytesAtRekey;
  }

  /** Looks from time to time whether the keys are old; the client renews them on its own terms, too. */
  #renewKeys(): void {
    const { rekeyBytes, rekeyMs } = this.#context.limits;
    const old = Date.now() - this.#rekeyedAt >= rekeyMs || this.#bytesSinceRekey() >= rekeyBytes;
    const protocol = protocolOf(this.#client);
    if (old && this.isLoggedIn && protocol._destruct !== undefined && protocol._kexinit === undefined) protocol.rekey();
  }

  #countRekey(): void {
    const moved = this.#bytesSinceRekey();
    this.#bytesAtRekey += moved;
    this.#rekeyedAt = Date.now();
    if (moved >= MIN_REKEY_BYTES) return;
    const now = Date.now();
    this.#earlyRekeys = [...this.#earlyRekeys.filter((time) => now - time < 60_000), now];
    if (this.#earlyRekeys.length > MAX_EARLY_REKEYS_A_MINUTE) this.#cut('too many key exchanges');
  }

  #cut(reason: string): void {
    this.#context.log('warn', 'a connection was cut', this.#fields({ reason }));
    this.#transport.socket.destroy();
  }

  #fields(more: Record<string, unknown>): Record<string, unknown> {
    return { address: this.#transport.socket.remoteAddress, name: this.#identity?.name, ...more };
  }

  #openSession(accept: () => SshSession, reject: () => void): void {
    if (this.#identity === undefined || this.#sessions >= this.#context.limits.sessions) {
      reject();
      return;
    }
    if (++this.#sessionsEver > MAX_SESSIONS_EVER) {
      this.#cut('too many sessions');
      return;
    }
    const session = accept();
    if (sessionState(session).outgoing.packetSize < MIN_PACKET) {
      this.#cut('impossible packet size');
      return;
    }
    this.#sessions++;
    this.#serve(session, this.#identity);
  }

  /** Waits for the one command of a session. Requests that want no reply come without accept and reject. */
  #serve(session: SshSession, identity: Identity): void {
    const closed = new AbortController();
    const gone = AbortSignal.any([closed.signal, this.#lost.signal]);
    const window = new ReceiveWindow(this.#client, session, () => this.#cut('window ignored'));
    let protocol: string | undefined;
    let terminal: { columns: number } | undefined;
    let started = false;
    gone.addEventListener('abort', () => {
      this.#sessions--;
      if (!started && !this.#lost.signal.aborted) dropSession(this.#client, session);
    });
    session.on('close', () => closed.abort());
    session.on('env', (accept, reject, info) => {
      const { key, val } = info as unknown as { key: string; val: string };
      if (key !== 'GIT_PROTOCOL' || !PROTOCOL.test(val)) return reject?.();
      protocol = val;
      accept?.();
    });
    // Refusing it would print an error at `ssh dinp@host`; nothing here is a terminal, though.
    session.on('pty', (accept, _reject, info) => {
      terminal = { columns: info.cols };
      accept?.();
    });
    session.on('window-change', (accept) => accept?.());
    const start = (accept: () => ServerChannel | undefined, command: string | undefined) => {
      const channel = accept();
      // The client closed its side before, or has started something in this session already.
      if (channel === undefined || started) return;
      started = true;
      this.#run(channel, { command, protocol, terminal, gone, window, identity });
    };
    session.on('exec', (accept, _reject, info) => start(accept, info.command));
    session.on('shell', (accept) => start(accept, undefined));
  }

  #run(
    channel: ServerChannel,
    session: {
      command: string | undefined;
      protocol: string | undefined;
      terminal: { columns: number } | undefined;
      gone: AbortSignal;
      window: ReceiveWindow;
      identity: Identity;
    },
  ): void {
    const { gone, window, terminal } = session;
    const { requests, git, program, onReceiving, log } = this.#context;
    channel.on('error', () => {});
    this.#transport.measure(false);
    const output = new ChannelOutput(this.#client, this.#transport.socket, channel, gone, terminal !== undefined);
    this.#outputs.add(output);
    runSession({
      ...session,
      requests,
      git,
      onReceiving,
      log,
      output,
      input: new ChannelInput(channel, window, gone),
      roundTripMs: this.#transport.roundTripMs,
      program,
    }).then(
      () => this.#outputs.delete(output),
      (error) => log('error', 'a session failed', { error: String(error) }),
    );
  }
}
