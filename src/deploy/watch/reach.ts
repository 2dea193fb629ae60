/** What apps need and a network lies between. */
export type Reached = 'target' | 'host' | 'router';

/** For so long it must not have answered before anybody is told: a short cut is nobody's business. */
const TOLD_AFTER_MS = 10_000;

interface Away {
  since: number;
  told: boolean;
}

/** Which targets, hosts and routers do not answer, and since when; tells it once, and once when they are back. */
export class Reach {
  readonly #tell: (kind: Reached, name: string, problem: string | undefined) => void;
  readonly #away = new Map<string, Away>();

  /** @param tell gets what is wrong, or undefined for one that is back */
  constructor(tell: (kind: Reached, name: string, problem: string | undefined) => void) {
    this.#tell = tell;
  }

  answered(kind: Reached, name: string): void {
    const before = this.#away.get(`${kind} ${name}`);
    this.#away.delete(`${kind} ${name}`);
    if (before?.told) this.#tell(kind, name, undefined);
  }

  /** @param now milliseconds since the epoch */
  away(kind: Reached, name: string, problem: string, now: number): void {
    const key = `${kind} ${name}`;
    const away = this.#away.get(key) ?? { since: now, told: false };
    this.#away.set(key, away);
    if (away.told || now - away.since < TOLD_AFTER_MS) return;
    away.told = true;
    this.#tell(kind, name, problem);
  }

  /** Since when it does not answer, milliseconds since the epoch; undefined where it does. */
  awaySince(kind: Reached, name: string): number | undefined {
    return this.#away.get(`${kind} ${name}`)?.since;
  }
}
