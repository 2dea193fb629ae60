import { Agent, get } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';

/** An address that is asked again and again. */
export interface LoadTarget {
  host: string;
  port: number;
  headers?: Record<string, string>;
}

/**
 * Clients that ask again and again, half of them on connections that they keep, half on a new one each time. Stop it before
 * its figures are read.
 */
export class Load implements AsyncDisposable {
  /** Requests that were answered or failed. */
  requests = 0;
  /** Requests that a kept connection, closed just as it was used again, had to be repeated for (RFC 9112, 9.3.1). */
  repeated = 0;
  /** What was no good answer. */
  readonly failures: string[] = [];
  /** How often each good answer came. */
  readonly answers = new Map<string, number>();
  /** Longest wait for an answer, milliseconds. */
  longest = 0;
  readonly #isGood: (body: string) => boolean;
  readonly #pauseMs: number;
  readonly #clients: Promise<void>[];
  #isOver = false;

  /**
   * @param options.clients of each target
   * @param options.pauseMs between two requests of a client
   * @param options.isGood whether the body of an answer with status 200 is as it should be
   */
  constructor(targets: LoadTarget[], options: { clients: number; pauseMs: number; isGood(body: string): boolean }) {
    const { clients, pauseMs, isGood } = options;
    this.#isGood = isGood;
    this.#pauseMs = pauseMs;
    this.#clients = targets.flatMap((target) =>
      Array.from({ length: clients }, (_, n) => this.#run(target, n % 2 === 0)),
    );
  }

  async #run(target: LoadTarget, keepAlive: boolean): Promise<void> {
    const agent = new Agent({ keepAlive, maxSockets: 1 });
    while (!this.#isOver) {
      const begun = performance.now();
      const answer = await askOnce({ ...target, agent }, () => this.repeated++);
      this.longest = Math.max(this.longest, performance.now() - begun);
      this.requests++;
      if (this.#isGood(answer)) this.answers.set(answer, (this.answers.get(answer) ?? 0) + 1);
      else this.failures.push(`${keepAlive ? 'kept' : 'new'} connection to port ${target.port}: ${answer}`);
      await sleep(this.#pauseMs);
    }
    agent.destroy();
  }

  async stop(): Promise<void> {
    this.#isOver = true;
    await Promise.all(this.#clients);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}

/** The body of the answer, or what went wrong. */
export function askOnce(
  target: LoadTarget & { agent: Agent },
  onRepeat: () => void = () => undefined,
): Promise<string> {
  return new Promise((resolve) => {
    const request = get(target, (response) => {
      let body = '';
      response.on('data', (chunk) => {
        body += chunk;
      });
      response.once('error', (error) => resolve(error.message));
      response.once('end', () => resolve(response.statusCode === 200 ? body : `status ${response.statusCode} ${body}`));
    });
    request.once('error', (error: NodeJS.ErrnoException) => {
      // A kept connection that the server closes just as it is used again is the client's to repeat (RFC 9112, 9.3.1).
      if (!request.reusedSocket || error.code !== 'ECONNRESET') return resolve(error.message);
      onRepeat();
      resolve(askOnce(target, onRepeat));
    });
  });
}
