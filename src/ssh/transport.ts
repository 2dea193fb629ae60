import type { Socket } from 'node:net';
import { performance } from 'node:perf_hooks';
import type { Protocol } from './ssh2-internals.ts';

const MAX_IDENT = 255;
const OPENSSH = 'SSH-2.0-OpenSSH';
/** How long our KEXINIT waits for the client's. OpenSSH sends both lines at once, so this is for broken paths. */
const HOLD_MS = 50;
/** Replies of ssh2 that a client asks for and never reads; our own output waits far below (ChannelOutput). */
const MAX_UNSENT = 1024 * 1024;
const MAX_QUEUED_PACKETS = 256;

/**
 * One accepted socket below ssh2: how its bytes are grouped into packets on the wire, the round trip of its path, and
 * what a client may pile up here. Made before ssh2 sees the socket.
 */
export class Transport {
  /** Shortest time between something we sent and the client's answer, while it logs in. */
  roundTripMs = Number.POSITIVE_INFINITY;
  readonly socket: Socket;
  /** Set once ssh2 has made one for this socket. */
  protocol: Protocol | undefined;
  #ident: string | undefined = '';
  #hold: NodeJS.Timeout | undefined;
  #corked = false;
  #sentAt = 0;
  #measuring = true;

  constructor(socket: Socket) {
    this.socket = socket;
    // Without it every small answer waits for the client's delayed acknowledgement: steps of 40 ms.
    socket.setNoDelay(true);
    // Before ssh2's own listener, so that this one sees the bytes first.
    socket.on('data', (chunk: Buffer) => this.#received(chunk));
    socket.on('close', () => clearTimeout(this.#hold));
  }

  /** The client is logged in: from now on answers take as long as people and programs take. */
  stopMeasuring(): void {
    this.#measuring = false;
  }

  #received(chunk: Buffer): void {
    if (this.#measuring && this.#sentAt > 0) {
      this.roundTripMs = Math.min(this.roundTripMs, performance.now() - this.#sentAt);
    }
    const queued = this.protocol?._queue?.length ?? 0;
    if (this.socket.writableLength > MAX_UNSENT || queued > MAX_QUEUED_PACKETS) {
      this.socket.destroy();
      return;
    }
    const hold = this.#ident !== undefined && this.#endsIdent(chunk);
    this.#cork();
    if (hold) {
      this.#hold = setTimeout(() => this.#release(), HOLD_MS);
    } else {
      clearTimeout(this.#hold);
      process.nextTick(() => this.#release());
    }
  }

  /**
   * Whether this chunk ends OpenSSH's identification and nothing follows. Its KEXINIT then comes at once, and ours
   * waits for it: sent earlier, it would be a packet of its own that the client acknowledges late.
   */
  #endsIdent(chunk: Buffer): boolean {
    const newline = chunk.indexOf(10);
    const ident =
      this.#ident + chunk.toString('latin1', 0, Math.min(newline === -1 ? chunk.length : newline, MAX_IDENT));
    this.#ident = newline === -1 && ident.length < MAX_IDENT ? ident : undefined;
    return newline === chunk.length - 1 && ident.startsWith(OPENSSH);
  }

  /** What is written in answer to one chunk leaves in one piece. */
  #cork(): void {
    if (this.#corked) return;
    this.#corked = true;
    this.socket.cork();
  }

  #release(): void {
    if (!this.#corked) return;
    this.#corked = false;
    this.socket.uncork();
    this.#sentAt = performance.now();
  }
}
