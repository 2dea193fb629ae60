import type { Socket } from 'node:net';
import type { Connection, ServerChannel } from 'ssh2';
import type { OutputSink } from './requests.ts';
import { type ChannelState, channelState, type Protocol, protocolOf } from './ssh2-internals.ts';

const STDERR = 1;
const MAX_PACKET = 32 * 1024;
const NEWLINES = /\r?\n/g;

/**
 * What a session prints: both streams of a channel in the order they are written. ssh2's own streams buffer whatever a
 * client's window allows even if the connection is stalled, and repeat data when both stall; so packets are made
 * here, one at a time: only when the client's window is open, the socket is drained, and no key exchange is under way.
 */
export class ChannelOutput implements OutputSink {
  readonly #channel: ServerChannel;
  readonly #state: ChannelState;
  readonly #protocol: Protocol;
  readonly #client: Connection;
  readonly #socket: Socket;
  readonly #gone: AbortSignal;
  readonly #carriageReturns: boolean;
  #order: Promise<void> | undefined;

  /**
   * @param gone aborted when the client closed the channel or the connection is lost; writing then does nothing
   * @param carriageReturns whether a terminal in raw mode reads, which needs CR before LF
   */
  constructor(client: Connection, socket: Socket, channel: ServerChannel, gone: AbortSignal, carriageReturns: boolean) {
    this.#client = client;
    this.#socket = socket;
    this.#channel = channel;
    this.#gone = gone;
    this.#carriageReturns = carriageReturns;
    this.#state = channelState(channel);
    this.#protocol = protocolOf(client);
  }

  /** Settles when the data is handed to the operating system but for some 100 KiB, or when nobody reads any more. */
  write(fd: 1 | 2, data: Uint8Array | string): Promise<void> {
    const bytes = this.#encode(data);
    const before = this.#order;
    const sent = before === undefined ? this.#send(fd, bytes) : before.then(() => this.#send(fd, bytes));
    const order = sent.finally(() => {
      if (this.#order === order) this.#order = undefined;
    });
    this.#order = order;
    return order;
  }

  /** Lines for the pusher's eyes on stderr, ended by a line break; nothing for empty text. */
  async say(text: string): Promise<void> {
    if (text !== '') await this.write(2, text.endsWith('\n') ? text : `${text}\n`);
  }

  /** Ends the session when all that was written is sent: exit status, EOF and close leave together. */
  async finish(code: number): Promise<void> {
    while (this.#order !== undefined) await this.#order;
    if (!this.#gone.aborted) await this.#afterKeyExchange();
    if (this.#isOver()) return;
    this.#socket.cork();
    this.#channel.exit(code);
    this.#channel.eof();
    this.#channel.close();
    this.#socket.uncork();
  }

  async #send(fd: 1 | 2, data: Buffer): Promise<void> {
    for (let start = 0; start < data.length; ) {
      await this.#ready();
      if (this.#isOver()) return;
      const { outgoing } = this.#state;
      const size = Math.min(data.length - start, outgoing.window, outgoing.packetSize, MAX_PACKET);
      const piece = data.subarray(start, start + size);
      outgoing.window -= size;
      start += size;
      if (fd === 1) this.#protocol.channelData(outgoing.id, piece);
      else this.#protocol.channelExtData(outgoing.id, piece, STDERR);
    }
  }

  /** Waits until a packet may be sent, or nobody reads any more. */
  async #ready(): Promise<void> {
    while (!this.#isOver()) {
      if (this.#protocol._kexinit !== undefined) await this.#afterKeyExchange();
      else if (this.#socket.writableNeedDrain) await this.#until((done) => this.#socket.once('drain', done));
      else if (this.#state.outgoing.window === 0) await this.#until((done) => this.#whenWindowOpens(done));
      else return;
    }
  }

  async #afterKeyExchange(): Promise<void> {
    while (this.#protocol._kexinit !== undefined && !this.#isOver()) {
      await this.#until((done) => this.#client.once('handshake', done));
    }
  }

  #whenWindowOpens(done: () => void): void {
    this.#state._chunkcb = done;
    this.#state._waitWindow = true;
  }

  /** Waits for something, or for the client to be gone. */
  async #until(start: (done: () => void) => void): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const done = () => resolve();
    this.#gone.addEventListener('abort', done);
    start(done);
    await promise;
    this.#gone.removeEventListener('abort', done);
  }

  #isOver(): boolean {
    return this.#gone.aborted || this.#protocol._destruct === undefined || this.#state.outgoing.state !== 'open';
  }

  #encode(data: Uint8Array | string): Buffer {
    if (this.#carriageReturns) {
      const text = typeof data === 'string' ? data : Buffer.from(data).toString('latin1');
      return Buffer.from(text.replace(NEWLINES, '\r\n'), typeof data === 'string' ? 'utf8' : 'latin1');
    }
    return typeof data === 'string' ? Buffer.from(data) : Buffer.from(data.buffer, data.byteOffset, data.length);
  }
}
