/** Mutual exclusion by name, first come first served: what changes the instances of one app happens one at a time. */
export class Locks {
  readonly #tails = new Map<string, Promise<void>>();

  /** Whether somebody runs or waits under this name. */
  isHeld(name: string): boolean {
    return this.#tails.has(name);
  }

  /** Runs `work` once everyone before it under this name is done. `onWait` is called where it must wait. */
  async hold<T>(name: string, work: () => Promise<T>, onWait?: () => void): Promise<T> {
    const before = this.#tails.get(name);
    if (before) onWait?.();
    const result = (before ?? Promise.resolve()).then(work);
    const tail = result.then(
      () => undefined,
      () => undefined,
    );
    this.#tails.set(name, tail);
    try {
      return await result;
    } finally {
      if (this.#tails.get(name) === tail) this.#tails.delete(name);
    }
  }
}
