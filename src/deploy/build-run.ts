import type { Build, Stage } from '../domain/build.ts';
import { DinpError } from '../domain/errors.ts';
import type { Store } from '../store/store.ts';
import type { BuildOutput } from './build-output.ts';

/** A watcher sees a sign of life at least this often; it also keeps NAT and proxies from dropping a silent session. */
const HEARTBEAT_MS = 15_000;

/** Runs stages under one time limit, and says which stage ran out of it. */
export class BuildRun {
  readonly #builds: Store['builds'];
  readonly #build: Build;
  readonly #output: BuildOutput;
  readonly #timeout = new AbortController();
  readonly #signal: AbortSignal;
  readonly #startedAt = performance.now();
  #timer: NodeJS.Timeout | undefined;
  #stage: Stage = 'checkout';
  readonly #heartbeat: NodeJS.Timeout;

  /** @param timeoutMs from now; setTimeout takes another once dinp.yml is read */
  constructor(
    builds: Store['builds'],
    build: Build,
    output: BuildOutput,
    options: { cancel: AbortSignal; timeoutMs: number },
  ) {
    this.#builds = builds;
    this.#build = build;
    this.#output = output;
    this.#signal = AbortSignal.any([options.cancel, this.#timeout.signal]);
    this.setTimeout(options.timeoutMs);
    this.#heartbeat = setInterval(() => {
      if (output.silence >= HEARTBEAT_MS) output.line(`… still in stage ${this.#stage} (${output.elapsed()})`);
    }, HEARTBEAT_MS / 5);
  }

  async stage<T>(stage: Stage, heading: string, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    this.#signal.throwIfAborted();
    this.enter(stage, heading);
    try {
      return await work(this.#signal);
    } catch (error) {
      // What was interrupted reports it in its own words; the reason is what people need.
      throw this.#signal.aborted ? this.#signal.reason : error;
    }
  }

  enter(stage: Stage, heading: string): void {
    this.#stage = stage;
    this.#builds.setStage(this.#build.id, stage);
    this.#output.heading(heading);
  }

  /** @param milliseconds counted from the build's start */
  setTimeout(milliseconds: number): void {
    clearTimeout(this.#timer);
    const left = Math.max(0, this.#startedAt + milliseconds - performance.now());
    this.#timer = setTimeout(() => {
      this.#timeout.abort(
        new DinpError(
          'timeout',
          `stage ${this.#stage} was still going when the build's ${Math.round(milliseconds / 1000)} s were over.`,
          {
            hint: 'Set a longer "timeout:" in dinp.yml (such as 30m), or builds.timeout in the server\'s config.',
          },
        ),
      );
    }, left);
  }

  end(): void {
    clearInterval(this.#heartbeat);
    clearTimeout(this.#timer);
  }
}
