import type { Writable } from 'node:stream';
import type { Connection, ServerChannel, Session } from 'ssh2';
import { protocolOf, sessionState } from './ssh2-internals.ts';

/** What ssh2 grants with the confirmation of a channel. */
const FIRST_WINDOW = 2 * 1024 * 1024;
const MAX_WINDOW = 16 * 1024 * 1024;
/** Round trips up to this are served best by the first window: more bytes under way only leave the caches. */
const SHORT_ROUND_TRIP_MS = 10;

/** Bytes a client may have under way towards us so that a path of this round trip can be full. */
export function windowFor(roundTripMs: number): number {
  if (roundTripMs <= SHORT_ROUND_TRIP_MS) return FIRST_WINDOW;
  return Math.min(MAX_WINDOW, Math.ceil((FIRST_WINDOW * roundTripMs) / SHORT_ROUND_TRIP_MS));
}

/**
 * SSH's receive window (RFC 4254, 5.2) of one session. ssh2 grants 2 MiB whatever the path and believes clients that
 * ignore it; so its counter is taken over: ssh2 sees a window that is always full, and never adjusts it by itself.
 */
export class ReceiveWindow {
  readonly #adjust: (bytes: number) => void;
  #size = FIRST_WINDOW;
  #credit = FIRST_WINDOW;
  #consumed = 0;

  /** @param onViolation called when the client sends more than it may */
  constructor(client: Connection, session: Session, onViolation: () => void) {
    const { incoming, outgoing } = sessionState(session);
    const protocol = protocolOf(client);
    this.#adjust = (bytes) => {
      const open = outgoing.state === 'open' || outgoing.state === 'eof';
      if (open && protocol._destruct !== undefined) protocol.channelWindowAdjust(outgoing.id, bytes);
    };
    Object.defineProperty(incoming, 'window', {
      get: () => FIRST_WINDOW,
      set: (left: number) => {
        this.#credit -= FIRST_WINDOW - left;
        if (this.#credit < 0) onViolation();
      },
    });
  }

  /** Widens the window for a path of this round trip; it never shrinks. */
  fit(roundTripMs: number): void {
    const more = windowFor(roundTripMs) - this.#size;
    if (more <= 0) return;
    this.#size += more;
    this.#credit += more;
    this.#adjust(more);
  }

  /** Bytes have been read: the client may send as many more. Told in halves of the window. */
  consume(bytes: number): void {
    this.#consumed += bytes;
    if (this.#consumed < this.#size / 2) return;
    this.#credit += this.#consumed;
    this.#adjust(this.#consumed);
    this.#consumed = 0;
  }
}

/** What a client sends on a session's channel. One reader: pipe() or the iteration or drain(). */
export class ChannelInput implements AsyncIterable<Uint8Array> {
  readonly #channel: ServerChannel;
  readonly #window: ReceiveWindow;
  readonly #gone: AbortSignal;

  constructor(channel: ServerChannel, window: ReceiveWindow, gone: AbortSignal) {
    this.#channel = channel;
    this.#window = window;
    this.#gone = gone;
  }

  /**
   * Copies everything to a program's standard input and ends it, also when the client is gone. When the program takes
   * no more, the rest is dropped.
   * @param peek sees every piece before it is written
   */
  pipe(target: Writable, peek?: (chunk: Buffer) => void): void {
    const channel = this.#channel;
    channel.on('data', (chunk: Buffer) => {
      peek?.(chunk);
      this.#window.consume(chunk.length);
      if (target.writable && !target.write(chunk)) channel.pause();
    });
    const end = () => {
      if (target.writable) target.end();
    };
    channel.on('end', end);
    if (this.#gone.aborted) end();
    else this.#gone.addEventListener('abort', end, { once: true });
    target.on('drain', () => channel.resume());
    // The program has closed its input (EPIPE): the channel must still be read, or its close never comes.
    target.on('error', () => channel.resume());
    target.on('close', () => channel.resume());
  }

  /** Reads and forgets, so that the channel can close. */
  drain(onData?: (chunk: Buffer) => void): void {
    this.#channel.on('data', (chunk: Buffer) => {
      this.#window.consume(chunk.length);
      onData?.(chunk);
    });
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
    const channel = this.#channel;
    let chunks: Buffer[] = [];
    let ended = this.#gone.aborted;
    let wake = () => {};
    const end = () => {
      ended = true;
      wake();
    };
    channel.on('data', (chunk: Buffer) => {
      chunks.push(chunk);
      channel.pause();
      wake();
    });
    channel.on('end', end);
    this.#gone.addEventListener('abort', end, { once: true });
    try {
      for (;;) {
        const ready = chunks;
        chunks = [];
        for (const chunk of ready) {
          this.#window.consume(chunk.length);
          yield chunk;
        }
        if (ready.length > 0) continue;
        if (ended) return;
        const { promise, resolve } = Promise.withResolvers<void>();
        wake = resolve;
        channel.resume();
        await promise;
      }
    } finally {
      channel.removeAllListeners('data');
      this.drain();
      channel.resume();
    }
  }
}
