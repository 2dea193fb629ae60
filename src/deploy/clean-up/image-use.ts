/**
 * Keeps clean-up and builds out of each other's way: while a build of an app works, from its first look for an image to
 * reuse until its release has an end, no image of that app is removed; and a build waits for a removal under way.
 */
export class ImageUse {
  readonly #users = new Map<string, number>();
  readonly #removals = new Map<string, Promise<unknown>>();

  /** @returns to be disposed when the build is over */
  async use(app: string): Promise<Disposable> {
    while (this.#removals.has(app)) await this.#removals.get(app);
    this.#users.set(app, (this.#users.get(app) ?? 0) + 1);
    return { [Symbol.dispose]: () => this.#leave(app) };
  }

  /** Runs `work` while no build uses images of the app. @returns false, and does nothing, where one does */
  async whileUnused(app: string, work: () => Promise<void>): Promise<boolean> {
    if (this.#users.has(app) || this.#removals.has(app)) return false;
    const removal = work();
    const settled = removal.catch(() => undefined).finally(() => this.#removals.delete(app));
    this.#removals.set(app, settled);
    await removal;
    return true;
  }

  #leave(app: string): void {
    const left = this.#users.get(app)! - 1;
    if (left > 0) this.#users.set(app, left);
    else this.#users.delete(app);
  }
}
