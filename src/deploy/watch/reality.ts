import type { RunningInstance } from '../../domain/instance.ts';
import type { Target } from '../../run/target.ts';
import type { Reach } from './reach.ts';

/** What really runs, asked of each target as a whole; whoever asks while it is being asked gets the same answer. */
export class Reality {
  readonly #reach: Reach;
  readonly #asking = new Map<Target, Promise<RunningInstance[]>>();

  /** @param reach told who answers and who does not */
  constructor(reach: Reach) {
    this.#reach = reach;
  }

  /** All of this server's instances on a target. @throws DinpError unavailable */
  list(target: Target): Promise<RunningInstance[]> {
    const asking = this.#asking.get(target) ?? this.#ask(target).finally(() => this.#asking.delete(target));
    this.#asking.set(target, asking);
    return asking;
  }

  async #ask(target: Target): Promise<RunningInstance[]> {
    let found: RunningInstance[];
    try {
      found = await target.list();
    } catch (error) {
      this.#reach.away('target', target.name, (error as Error).message, Date.now());
      throw error;
    }
    this.#reach.answered('target', target.name);
    const hosts = new Map(found.filter(({ host }) => host !== undefined).map(({ host, state }) => [host!, state]));
    for (const [host, state] of hosts) {
      if (state === 'unreachable') this.#reach.away('host', host, 'it does not answer over SSH', Date.now());
      else this.#reach.answered('host', host);
    }
    return found;
  }
}
