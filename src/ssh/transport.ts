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
  readonly socket: Socket;
  /** Set once ssh2 has made one for this socket. */
  protocol: Protocol | undefined;
  #ident: string | undefined = '';
  #hold: NodeJS.Timeout | undefined;
  #corked = false;
  #measuring = false;
  #shortestMs: number | undefined;
  #answeredAt = 0;
  #sentBefore = 0;

  constructor(socket: Socket) {
    this.socket = socket;
    // Without it every small answer waits for the client's delayed acknowledgement: steps of 40 ms.
    socket.setNoDelay(true);
    // Before ssh2's own listener, so that this one sees the bytes first.
    socket.on('data', (chunk: Buffer) => this.#received(chunk));
    socket.on('close', () => clearTimeout(this.#hold));
  }

  /** Shortest time between something we sent and the client's answer to it; 0 where there was none. */
  get roundTripMs(): number {
    return this.#shortestMs ?? 0;
  }

  /**
   * From the first request for authentication to the start of a command a client says nothing but in answer to us.
   * Before, it sends what it has to say unasked, and after, answers take as long as people and programs take.
   */
  measure(measuring: boolean): void {
    this.#measuring = measuring;
  }

  #received(chunk: Buffer): void {
    this.#takeTime();
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

  /** This chunk answers us if we have sent something since the one before, and so took a round trip. */
  #takeTime(): void {
    const { bytesWritten } = this.socket;
    if (this.#measuring && this.#answeredAt > 0 && bytesWritten > this.#sentBefore) {
      this.#shortestMs = Math.min(this.#shortestMs ?? Number.POSITIVE_INFINITY, performance.now() - this.#answeredAt);
    }
    this.#sentBefore = bytesWritten;
    this.#answeredAt = 0;
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
    if (this.#measuring) this.#answeredAt = performance.now();
  }
}
