import { createHmac, randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Notification, Notifications } from '../../store/notifications.ts';
import type { ServerEvent } from './events.ts';

/** So many events wait at most; older ones are dropped. */
const MOST_WAITING = 1_000;
const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 5 * 60_000;
/** What could not be told for so long is old news. */
const GIVEN_UP_AFTER_MS = 24 * 3_600_000;

export interface NotifierParts {
  notifications: Notifications;
  url: string;
  /** Signs each body; undefined: it is sent unsigned. */
  secret: string | undefined;
  timeoutMs: number;
  /** As pushers reach it: tells several servers apart. */
  server: string;
  /** What the operator should read. */
  report(event: string, fields: Record<string, unknown>): void;
}

/**
 * Tells the operator's webhook what happened: one POST an event, in order, the next once the one before was taken (any
 * 2xx). Events wait in the store, so that they outlive a restart, and nobody waits for them to be told.
 */
export class Notifier {
  readonly #parts: NotifierParts;
  readonly #closing = new AbortController();
  #delivering = false;
  #failures = 0;

  constructor(parts: NotifierParts) {
    this.#parts = parts;
  }

  /** Takes up an event; what goes wrong with it is for the operator's log. */
  tell({ event, text, app, more }: ServerEvent): void {
    const createdAt = Date.now();
    const at = new Date(createdAt).toISOString();
    const body = JSON.stringify({
      id: randomUUID(),
      event,
      at,
      server: this.#parts.server,
      text,
      app: app ?? null,
      ...more,
    });
    try {
      const dropped = this.#parts.notifications.add({ event, body, createdAt }, MOST_WAITING);
      if (dropped > 0) this.#parts.report('dropped events that the webhook did not take', { dropped });
    } catch (err) {
      this.#parts.report('could not keep an event for the webhook', { event, err });
    }
    this.deliver();
  }

  /** Goes on with what waits; to be called at start. */
  deliver(): void {
    if (this.#delivering || this.#closing.signal.aborted) return;
    this.#delivering = true;
    this.#deliverAll().catch((err: unknown) => this.#parts.report('could not tell the webhook', { err }));
  }

  close(): void {
    this.#closing.abort();
  }

  async #deliverAll(): Promise<void> {
    const { signal } = this.#closing;
    try {
      for (let next = this.#oldest(); next !== undefined; next = this.#oldest()) {
        const problem = await this.#send(next);
        if (signal.aborted) return;
        if (problem === undefined) this.#taken(next);
        else await this.#wait(next, problem);
      }
    } finally {
      this.#delivering = false;
    }
  }

  #oldest(): Notification | undefined {
    return this.#closing.signal.aborted ? undefined : this.#parts.notifications.oldest();
  }

  #taken({ id }: Notification): void {
    this.#parts.notifications.remove(id);
    if (this.#failures > 0) this.#parts.report('the webhook takes events again', { failures: this.#failures });
    this.#failures = 0;
  }

  async #wait({ id, event, createdAt }: Notification, problem: string): Promise<void> {
    const { notifications, report } = this.#parts;
    if (this.#failures === 0) report('the webhook did not take an event; it is tried again', { problem });
    this.#failures++;
    if (Date.now() - createdAt > GIVEN_UP_AFTER_MS) {
      notifications.remove(id);
      report('gave up telling the webhook of an event', { event, problem });
    }
    const { signal } = this.#closing;
    await sleep(retryPause(this.#failures), undefined, { signal, ref: false }).catch(() => undefined);
  }

  /** @returns what went wrong; undefined where it was taken */
  async #send({ event, body }: Notification): Promise<string | undefined> {
    const { url, secret, timeoutMs } = this.#parts;
    const signature = secret === undefined ? {} : { 'x-dinp-signature': sign(body, secret) };
    try {
      const answer = await fetch(url, {
        method: 'POST',
        headers: { 'content-type': 'application/json', 'user-agent': 'dinp', 'x-dinp-event': event, ...signature },
        body,
        // A redirect would take the event to an address that nobody configured.
        redirect: 'manual',
        signal: AbortSignal.any([AbortSignal.timeout(timeoutMs), this.#closing.signal]),
      });
      await answer.body?.cancel();
      return answer.ok ? undefined : `it answered ${answer.status}`;
    } catch (error) {
      const { message, cause } = error as Error;
      return cause instanceof Error ? cause.message : message;
    }
  }
}

/** Milliseconds until the next try after so many failures in a row. */
export function retryPause(failures: number): number {
  return Math.min(FIRST_PAUSE_MS * 2 ** (failures - 1), LONGEST_PAUSE_MS);
}

/** `sha256=` and the HMAC-SHA256 (RFC 2104) of the body's bytes in hex, as GitHub signs its webhooks. */
export function sign(body: string, secret: string): string {
  return `sha256=${createHmac('sha256', secret).update(body).digest('hex')}`;
}
