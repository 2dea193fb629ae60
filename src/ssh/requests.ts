import { DinpError } from '../domain/errors.ts';
import {
  type CommandRequest,
  INPUT_WINDOW,
  type JudgeReply,
  type JudgeRequest,
  type KeyReply,
  type KeyRequest,
  type Link,
  type OpenReply,
  type OpenRequest,
  type Request,
  type SettleRequest,
  type ToClient,
  type ToControl,
} from './protocol.ts';

/** Where the output of a streamed request goes. The next piece comes when the promise is settled. */
export interface OutputSink {
  write(fd: 1 | 2, data: Uint8Array): Promise<void> | void;
}

export interface StreamOptions {
  /** Aborted when the output is no longer wanted; the request is told, and goes on or ends as it sees fit. */
  signal?: AbortSignal;
  /** What a command reads from its standard input. */
  stdin?: AsyncIterable<Uint8Array>;
}

const MAX_PIECE = 64 * 1024;

/** A request under way. */
interface Pending {
  message(message: ToClient): void;
  lost(error: DinpError): void;
}

/** The client's side of protocol.ts: SSH workers and the local `dinp` command ask the control process through it. */
export class Requests {
  readonly #link: Link<ToControl, ToClient>;
  readonly #pending = new Map<number, Pending>();
  #lost: DinpError | undefined;
  #lastId = 0;

  constructor(link: Link<ToControl, ToClient>) {
    this.#link = link;
    link.onMessage((message) => {
      if ('id' in message) this.#pending.get(message.id)?.message(message);
    });
    link.onClose(() => {
      this.#lost = new DinpError('unavailable', 'the server stopped while it was answering.');
      for (const pending of this.#pending.values()) pending.lost(this.#lost);
      this.#pending.clear();
    });
  }

  /** Asks and gives the answer. @throws DinpError unavailable when the link is lost before it came */
  request(request: KeyRequest): Promise<KeyReply>;
  request(request: OpenRequest): Promise<OpenReply>;
  request(request: JudgeRequest): Promise<JudgeReply>;
  request(request: KeyRequest | OpenRequest | JudgeRequest): Promise<KeyReply | OpenReply | JudgeReply> {
    return new Promise((resolve, reject) => {
      const id = this.#send(request, {
        message: (message) => {
          if (message.type !== 'reply') return;
          this.#pending.delete(id);
          resolve(message.value);
        },
        lost: reject,
      });
    });
  }

  /**
   * Asks for something that prints: every piece goes to the sink, in order, and is acknowledged once the sink took it.
   * @returns the exit code, when all output is with the sink
   * @throws DinpError unavailable when the link is lost first
   */
  stream(request: SettleRequest | CommandRequest, sink: OutputSink, options: StreamOptions = {}): Promise<number> {
    const { signal, stdin } = options;
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    let order: Promise<void> = Promise.resolve();
    let input: InputPump | undefined;
    const id = this.#send(request, {
      message: (message) => {
        if (message.type === 'input-ack') input?.acknowledge(message.bytes);
        if (message.type === 'output') order = order.then(() => this.#deliver(message, sink));
        if (message.type === 'exit') {
          this.#pending.delete(id);
          order.then(() => resolve(message.code), reject);
        }
      },
      lost: reject,
    });
    const cancel = () => this.#link.send({ type: 'cancel', id });
    if (signal?.aborted) cancel();
    else signal?.addEventListener('abort', cancel, { once: true });
    if (stdin !== undefined) input = new InputPump((data) => this.#link.send({ type: 'input', id, data }));
    // An input that cannot be read to its end must not pass for one that ended.
    input?.run(stdin!, (cause) => {
      cancel();
      this.#pending.delete(id);
      const why = cause instanceof Error ? cause.message : String(cause);
      reject(new DinpError('unavailable', `the input could not be read to its end: ${why}.`, { cause }));
    });
    return promise.finally(() => {
      input?.stop();
      signal?.removeEventListener('abort', cancel);
    });
  }

  async #deliver(message: ToClient & { type: 'output' }, sink: OutputSink): Promise<void> {
    await sink.write(message.fd, message.data);
    this.#link.send({ type: 'ack', id: message.id, bytes: message.data.length });
  }

  #send(request: Request, pending: Pending): number {
    const id = ++this.#lastId;
    if (this.#lost !== undefined) {
      pending.lost(this.#lost);
      return id;
    }
    this.#pending.set(id, pending);
    this.#link.send({ type: 'request', id, request });
    return id;
  }
}

/** Sends standard input, never more than INPUT_WINDOW bytes ahead of what was taken. */
class InputPump {
  readonly #send: (data: Uint8Array | undefined) => void;
  #unacknowledged = 0;
  #stopped = false;
  #wake: (() => void) | undefined;

  constructor(send: (data: Uint8Array | undefined) => void) {
    this.#send = send;
  }

  /** Reads to the end, or until stop(). */
  run(stdin: AsyncIterable<Uint8Array>, onError: (error: unknown) => void): void {
    this.#pump(stdin).catch((error: unknown) => {
      if (!this.#stopped) onError(error);
    });
  }

  acknowledge(bytes: number): void {
    this.#unacknowledged -= bytes;
    this.#wake?.();
  }

  stop(): void {
    this.#stopped = true;
    this.#wake?.();
  }

  async #pump(stdin: AsyncIterable<Uint8Array>): Promise<void> {
    for await (const chunk of stdin) {
      for (let start = 0; start < chunk.length && !this.#stopped; start += MAX_PIECE) {
        const piece = chunk.subarray(start, start + MAX_PIECE);
        while (this.#unacknowledged + piece.length > INPUT_WINDOW && !this.#stopped) await this.#acknowledged();
        if (this.#stopped) return;
        this.#unacknowledged += piece.length;
        this.#send(piece);
      }
      if (this.#stopped) return;
    }
    if (!this.#stopped) this.#send(undefined);
  }

  #acknowledged(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }
}
