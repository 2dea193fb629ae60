import { WebError } from './errors.ts';

/** How many uploads may come at once, in all and of one app: half of all, so that nobody shuts the others out. */
export class UploadSlots {
  readonly #max: number;
  readonly #perApp: number;
  #taken = 0;
  readonly #byApp = new Map<number, number>();

  constructor(max: number) {
    this.#max = max;
    this.#perApp = Math.ceil(max / 2);
  }

  /** Takes a slot until the result is disposed. @throws WebError 503 when there is none */
  take(appId: number): Disposable {
    const own = this.#byApp.get(appId) ?? 0;
    if (this.#taken >= this.#max || own >= this.#perApp) {
      throw new WebError(503, 'unavailable', 'too many uploads are coming in.', {
        hint: 'Try again in a moment.',
        headers: { 'retry-after': '5' },
      });
    }
    this.#taken++;
    this.#byApp.set(appId, own + 1);
    return {
      [Symbol.dispose]: () => {
        this.#taken--;
        const left = this.#byApp.get(appId)! - 1;
        if (left === 0) this.#byApp.delete(appId);
        else this.#byApp.set(appId, left);
      },
    };
  }
}
