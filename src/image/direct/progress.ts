/** How often something long says how far it is, milliseconds. */
const EVERY = 5_000;

/** Says every few seconds how far a long transfer is; of one that is over before, nothing. */
export class Progress {
  readonly #onOutput: (text: string) => void;
  readonly #parts = new Map<string, { done: number; total: number }>();
  #next = Date.now() + EVERY;

  constructor(onOutput: (text: string) => void) {
    this.#onOutput = onOutput;
  }

  /** @param done so far, @param total in all: bytes */
  set(part: string, done: number, total: number): void {
    this.#parts.set(part, { done: Math.min(done, total), total });
    if (Date.now() < this.#next) return;
    this.#next = Date.now() + EVERY;
    const open = [...this.#parts].filter(([, each]) => each.done < each.total);
    const texts = open.map(([name, each]) => `${name} ${megabytes(each.done)} of ${megabytes(each.total)}`);
    if (texts.length > 0) this.#onOutput(`${texts.join(', ')}\n`);
  }
}

/** `88.1 MB`; of less than a tenth of that `12.3 kB`, of less than a kilobyte `512 bytes`. */
export function megabytes(bytes: number): string {
  if (bytes < 1000) return `${bytes} ${bytes === 1 ? 'byte' : 'bytes'}`;
  return bytes < 100_000 ? `${(bytes / 1e3).toFixed(1)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}
