import type { EngineRecord } from './engine-stream.ts';

/** How often a long push says how far it is, milliseconds. */
const EVERY = 5_000;

/** Says that an image is being pushed, and every few seconds how far it is. */
export class PushProgress {
  readonly #onOutput: (text: string) => void;
  readonly #layers = new Map<string, { current: number; total: number }>();
  #next = Date.now() + EVERY;

  constructor(onOutput: (text: string) => void, repository: string) {
    this.#onOutput = onOutput;
    onOutput(`Pushing to ${repository}\n`);
  }

  take(record: EngineRecord): void {
    const { current, total } = record.progressDetail ?? {};
    if (record.id === undefined || current === undefined || total === undefined) return;
    this.#layers.set(record.id, { current, total });
    if (Date.now() < this.#next) return;
    this.#next = Date.now() + EVERY;
    let sent = 0;
    let whole = 0;
    for (const layer of this.#layers.values()) {
      sent += Math.min(layer.current, layer.total);
      whole += layer.total;
    }
    this.#onOutput(`${megabytes(sent)} of ${megabytes(whole)} MB pushed\n`);
  }
}

function megabytes(bytes: number): string {
  return (bytes / 1e6).toFixed(0);
}
