import {
  type CommandRequest,
  type JudgeReply,
  type JudgeRequest,
  type KeyReply,
  type KeyRequest,
  type Link,
  type OpenReply,
  type OpenRequest,
  OUTPUT_WINDOW,
  type Request,
  type SettleRequest,
  type ToClient,
  type ToControl,
} from './protocol.ts';

/** What a handler of a streamed request answers with. */
export interface Answer {
  /**
   * Sends output. Settles when fewer than OUTPUT_WINDOW bytes are unacknowledged, or at once when nobody reads any
   * more: a handler that waits for it never holds more than a window, and is never stuck. Text is sent as UTF-8.
   */
  write(fd: 1 | 2, data: Uint8Array | string): Promise<void>;
  /** Standard input of a command; ends at once for the rest. */
  readonly stdin: AsyncIterable<Uint8Array>;
  /**
   * Aborted when the client is gone or pressed Ctrl-C, or the link is lost; it may be aborted from the start. A
   * `settle` must queue its build before it looks here: the refs have moved, whoever watches.
   */
  readonly signal: AbortSignal;
  /** Ends the answer; the first call counts. A handler that returns without it has ended with 0. */
  exit(code: number): void;
}

/** What the control process does for its clients. */
export interface RequestHandler {
  key(request: KeyRequest): Promise<KeyReply>;
  open(request: OpenRequest): Promise<OpenReply>;
  judge(request: JudgeRequest): Promise<JudgeReply>;
  settle(request: SettleRequest, answer: Answer): Promise<void>;
  command(request: CommandRequest, answer: Answer): Promise<void>;
}

const MAX_PIECE = 64 * 1024;
const INTERNAL_ERROR = 'internal error: the log of the server says more.';

/**
 * The control side of protocol.ts: answers what arrives on one link. An error of a handler never passes as success:
 * the client reads "internal error", and `onError` gets it.
 */
export function respond(
  link: Link<ToClient, ToControl>,
  handler: RequestHandler,
  onError: (error: unknown) => void,
): void {
  const streams = new Map<number, StreamAnswer>();
  link.onMessage((message) => {
    if (message.type === 'request') {
      const { id, request } = message;
      if (request.kind === 'settle' || request.kind === 'command') {
        const answer = new StreamAnswer(id, link, () => streams.delete(id));
        streams.set(id, answer);
        runStream(request, handler, answer, onError);
      } else {
        reply(request, handler, onError).then((value) => link.send({ type: 'reply', id, value }), onError);
      }
    } else if ('id' in message) {
      streams.get(message.id)?.message(message);
    }
  });
  link.onClose(() => {
    for (const answer of streams.values()) answer.lost();
    streams.clear();
  });
}

async function reply(
  request: KeyRequest | OpenRequest | JudgeRequest,
  handler: RequestHandler,
  onError: (error: unknown) => void,
): Promise<KeyReply | OpenReply | JudgeReply> {
  try {
    if (request.kind === 'key') return await handler.key(request);
    if (request.kind === 'open') return await handler.open(request);
    return await handler.judge(request);
  } catch (error) {
    onError(error);
    return refusal(request);
  }
}

function refusal(request: Request): KeyReply | OpenReply | JudgeReply {
  if (request.kind === 'key') return { identity: undefined };
  return { ok: false, text: INTERNAL_ERROR, reason: 'internal error' };
}

function runStream(
  request: SettleRequest | CommandRequest,
  handler: RequestHandler,
  answer: StreamAnswer,
  onError: (error: unknown) => void,
): void {
  const run = async () =>
    request.kind === 'settle' ? await handler.settle(request, answer) : await handler.command(request, answer);
  run().then(
    () => answer.exit(0),
    (error) => {
      onError(error);
      answer.write(2, `${INTERNAL_ERROR}\n`).catch(onError);
      answer.exit(1);
    },
  );
}

class StreamAnswer implements Answer {
  readonly stdin: AsyncIterable<Uint8Array>;
  readonly signal: AbortSignal;
  readonly #id: number;
  readonly #link: Link<ToClient, ToControl>;
  readonly #ended: () => void;
  readonly #abort = new AbortController();
  readonly #input: InputQueue;
  #unacknowledged = 0;
  #waiting: (() => void)[] = [];
  #closed = false;

  constructor(id: number, link: Link<ToClient, ToControl>, ended: () => void) {
    this.#id = id;
    this.#link = link;
    this.#ended = ended;
    this.signal = this.#abort.signal;
    this.#input = new InputQueue((bytes) => link.send({ type: 'input-ack', id, bytes }));
    this.stdin = this.#input;
  }

  async write(fd: 1 | 2, data: Uint8Array | string): Promise<void> {
    const bytes = typeof data === 'string' ? Buffer.from(data) : data;
    for (let start = 0; start < bytes.length; start += MAX_PIECE) {
      if (this.#closed || this.signal.aborted) return;
      const piece = bytes.subarray(start, start + MAX_PIECE);
      this.#unacknowledged += piece.length;
      this.#link.send({ type: 'output', id: this.#id, fd, data: piece });
      if (this.#unacknowledged >= OUTPUT_WINDOW) await this.#room();
    }
  }

  exit(code: number): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#link.send({ type: 'exit', id: this.#id, code });
    this.#release();
    this.#input.end();
    this.#ended();
  }

  message(message: ToControl): void {
    if (message.type === 'ack') {
      this.#unacknowledged -= message.bytes;
      if (this.#unacknowledged < OUTPUT_WINDOW) this.#release();
    } else if (message.type === 'cancel') {
      this.#stopReading();
    } else if (message.type === 'input') {
      if (message.data === undefined) this.#input.end();
      else this.#input.push(message.data);
    }
  }

  /** The link is gone: nobody reads, nobody writes. */
  lost(): void {
    this.#closed = true;
    this.#stopReading();
  }

  #stopReading(): void {
    this.#abort.abort();
    this.#release();
    this.#input.end();
  }

  #room(): Promise<void> {
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  #release(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resolve of waiting) resolve();
  }
}

/** Input that arrived and was not yet read; bounded by the sender's INPUT_WINDOW. One reader. */
class InputQueue implements AsyncIterable<Uint8Array> {
  readonly #taken: (bytes: number) => void;
  #chunks: Uint8Array[] = [];
  #ended = false;
  #wake: (() => void) | undefined;

  constructor(taken: (bytes: number) => void) {
    this.#taken = taken;
  }

  push(chunk: Uint8Array): void {
    if (this.#ended) return;
    this.#chunks.push(chunk);
    this.#wake?.();
  }

  end(): void {
    this.#ended = true;
    this.#wake?.();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
    for (;;) {
      const chunk = this.#chunks.shift();
      if (chunk !== undefined) {
        this.#taken(chunk.length);
        yield chunk;
      } else if (this.#ended) {
        return;
      } else {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    }
  }
}
