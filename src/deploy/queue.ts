import { type Build, isFinished } from '../domain/build.ts';
import { asDinpError, DinpError } from '../domain/errors.ts';
import { shortSource } from '../domain/source.ts';
import type { BuildLogs } from '../store/build-log.ts';
import type { NewBuild } from '../store/builds.ts';
import type { Store } from '../store/store.ts';
import { BuildOutput } from './build-output.ts';

export interface QueueParts {
  store: Store;
  logs: BuildLogs;
  /** Builds of different apps at once. */
  parallel: number;
  /** Does the work of one build; throws where it fails. */
  run(build: Build, output: BuildOutput, signal: AbortSignal): Promise<void>;
  /** Writes commands in hints (`dinp bases build`) as a pusher types them. */
  forPusher(text: string): string;
  /** Told of errors that are nobody's but ours, with the text the pusher got. */
  onInternalError(build: Build, error: unknown): void;
  onFinished(build: Build, milliseconds: number): void;
}

/** How a build ended. */
type End = { state: 'succeeded' } | { state: 'failed' | 'canceled'; reason: string };

/** Pause between tries to record an end that could not be written. */
const RECORD_AGAIN_MS = 2_000;

/**
 * The durable queue of builds. A build is a row before anyone hears of it; each app builds one commit at a time, the
 * newest waiting push takes the place of older waiting ones, and apps build side by side up to a limit.
 */
export class BuildQueue {
  readonly #parts: QueueParts;
  readonly #running = new Map<number, { appId: number; abort: AbortController; done: Promise<void> }>();
  /** Ends that could not be written yet, as on a full disk. */
  readonly #unrecorded = new Map<number, End>();
  #closed = false;

  constructor(parts: QueueParts) {
    this.#parts = parts;
  }

  /** Records a build, supersedes the app's older waiting ones, and starts it when its turn comes. */
  submit(next: NewBuild): Build {
    const { store, logs } = this.#parts;
    const { build, older } = store.transaction(() => {
      const waiting = store.builds
        .listUnfinished()
        .filter((other) => other.appId === next.appId && other.state === 'waiting');
      const created = store.builds.create(next);
      for (const other of waiting) this.#finishSuperseded(other, created);
      return { build: created, older: waiting };
    });
    logs.append(build.id, '');
    for (const other of older) this.#tellSuperseded(other, build);
    this.#startNext();
    return store.builds.get(build.id);
  }

  /** Records a build whose commit was overtaken before it could be submitted; it never runs. */
  submitSuperseded(next: NewBuild, by: Build): Build {
    const { store } = this.#parts;
    const build = store.transaction(() => {
      const created = store.builds.create(next);
      this.#finishSuperseded(created, by);
      return created;
    });
    this.#tellSuperseded(build, by);
    return store.builds.get(build.id);
  }

  #finishSuperseded(build: Build, by: Build): void {
    this.#parts.store.builds.finish(build.id, {
      state: 'superseded',
      supersededBy: by.id,
      reason: `superseded by build #${by.number} (${shortSource(by.source)})`,
    });
  }

  #tellSuperseded(build: Build, by: Build): void {
    const { logs } = this.#parts;
    const name = (each: Build) => `#${each.number} of ${shortSource(each.source)}`;
    const how = by.source.kind === 'commit' ? 'pushed' : 'deployed';
    logs.append(build.id, `Build ${name(build)} was superseded by build ${name(by)}, ${how} by ${by.by}.\n`);
    logs.end(build.id);
  }

  /** Takes up what an earlier process left: its waiting builds wait again, its running ones start over. */
  resume(): void {
    let last: Build | undefined;
    for (const build of this.#parts.store.builds.listUnfinished()) {
      try {
        this.#resumeOne(build);
      } catch (error) {
        this.#parts.onInternalError(build, error);
      }
      last = build;
    }
    if (last) this.#startNextSafely(last);
  }

  #resumeOne(build: Build): void {
    const { store, logs } = this.#parts;
    if (build.state === 'running') store.builds.requeue(build.id);
    logs.append(
      build.id,
      build.state === 'running' ? '\nThe server was restarted in the middle of this build; it starts over.\n' : '',
    );
  }

  /** A build with its end, also where that could not be recorded yet. */
  get(buildId: number): Build {
    return { ...this.#parts.store.builds.get(buildId), ...this.#unrecorded.get(buildId) };
  }

  /** Whether a build has ended and its row does not say so yet. */
  isUnrecorded(buildId: number): boolean {
    return this.#unrecorded.has(buildId);
  }

  /** 1 for the next to start; undefined for builds that do not wait. */
  position(buildId: number): number | undefined {
    const index = this.#waiting().findIndex((build) => build.id === buildId);
    return index < 0 ? undefined : index + 1;
  }

  /** Ends a build that waits or runs; returns when it is over. @throws DinpError refused where it is over already */
  async cancel(buildId: number, by: string): Promise<void> {
    const { store, logs } = this.#parts;
    const build = store.builds.get(buildId);
    if (isFinished(build.state)) {
      throw new DinpError(
        'refused',
        `build #${build.number} of ${build.app} is not running: it ${describeEnd(build)}.`,
      );
    }
    const running = this.#running.get(buildId);
    if (running) {
      running.abort.abort(new DinpError('canceled', `canceled by ${by}.`));
      await running.done;
      // The traffic may have been on its way already, from where there is no way back.
      const end = store.builds.get(buildId);
      if (end.state === 'canceled') return;
      throw new DinpError('refused', `build #${end.number} of ${end.app} was over first: it ${describeEnd(end)}.`);
    }
    store.builds.finish(buildId, { state: 'canceled', reason: `canceled by ${by}` });
    logs.append(buildId, `Canceled by ${by} before it began.\n`);
    logs.end(buildId);
  }

  /** Ends and forgets every build of an app that is about to be removed. */
  async cancelAll(appId: number, by: string): Promise<void> {
    for (const build of this.#parts.store.builds.listUnfinished()) {
      if (build.appId === appId) await this.cancel(build.id, by).catch(() => undefined);
    }
  }

  /** Resolves when nothing of the app builds or waits any more. */
  async settled(buildId: number): Promise<void> {
    await this.#running.get(buildId)?.done;
  }

  /** Starts nothing more. Running builds are left as rows that `resume` of the next process takes up. */
  close(): void {
    this.#closed = true;
  }

  #waiting(): Build[] {
    return this.#parts.store.builds.listUnfinished().filter((build) => build.state === 'waiting');
  }

  #startNext(): void {
    if (this.#closed) return;
    for (const build of this.#waiting()) {
      if (this.#running.size >= this.#parts.parallel) return;
      const busy = [...this.#running.values()].some((running) => running.appId === build.appId);
      if (!busy) this.#start(build);
    }
  }

  #startNextSafely(after: Build): void {
    try {
      this.#startNext();
    } catch (error) {
      this.#parts.onInternalError(after, error);
    }
  }

  #start(build: Build): void {
    const abort = new AbortController();
    this.#parts.store.builds.start(build.id);
    // Whatever goes wrong with the record of one build (a full disk, an app that is gone) must not end the server.
    const done = this.#run(this.#parts.store.builds.get(build.id), abort.signal)
      .catch((error: unknown) => this.#parts.onInternalError(build, error))
      .finally(() => {
        this.#running.delete(build.id);
        this.#startNextSafely(build);
      });
    this.#running.set(build.id, { appId: build.appId, abort, done });
  }

  async #run(build: Build, signal: AbortSignal): Promise<void> {
    const { store, logs } = this.#parts;
    const output = new BuildOutput(logs, build.id, build.createdAt);
    try {
      const failure = await this.#parts.run(build, output, signal).then(
        () => undefined,
        (error: unknown) => ({ error: signal.aborted ? signal.reason : error }),
      );
      // A server that is going down leaves its builds running, for the next one to take up.
      if (this.#closed) return;
      if (failure) this.#fail(build, output, failure.error);
      else this.#record(build, { state: 'succeeded' });
    } finally {
      logs.end(build.id);
    }
    this.#parts.onFinished(store.builds.get(build.id), Date.now() - build.createdAt);
  }

  #fail(build: Build, output: BuildOutput, error: unknown): void {
    const known = asDinpError(error);
    if (!known) this.#parts.onInternalError(build, error);
    const reason = known?.message ?? `internal error (build ${build.id}); the operator's log has more`;
    this.#record(build, {
      state: known?.code === 'canceled' ? 'canceled' : 'failed',
      reason: reason.split('\n')[0]!.replace(/\.$/, ''),
    });
    const stage = this.#parts.store.builds.get(build.id).stage;
    output.plain('');
    output.plain(` !     Build #${build.number} of ${build.app} failed${stage ? ` in stage ${stage}` : ''}: ${reason}`);
    if (known?.detail) output.plain(`\n${known.detail.replace(/^/gm, '         ')}\n\n`);
    // Indented lines are there to be copied: they get no mark.
    if (known?.hint) output.plain(this.#parts.forPusher(known.hint).replace(/^(?=\S)/gm, ' !     '));
  }

  /** Writes down how a build ended; where that cannot be done, again and again until it can. */
  #record(build: Build, end: End): void {
    try {
      this.#parts.store.builds.finish(build.id, end);
      this.#unrecorded.delete(build.id);
    } catch (error) {
      if (!this.#unrecorded.has(build.id)) this.#parts.onInternalError(build, error);
      this.#unrecorded.set(build.id, end);
      setTimeout(() => !this.#closed && this.#record(build, end), RECORD_AGAIN_MS).unref();
    }
  }
}

/** `failed: no such base`, `was canceled`, `released v3`: how a finished build ended, for people. */
export function describeEnd(build: Build): string {
  switch (build.state) {
    case 'succeeded':
      return build.release === undefined ? 'succeeded' : `released v${build.release}`;
    case 'failed':
      return `failed: ${build.reason}`;
    case 'canceled':
      return `was ${build.reason ?? 'canceled'}`;
    case 'superseded':
      return `was ${build.reason}`;
    case 'waiting':
      return 'waits';
    case 'running':
      return 'is running';
  }
}
