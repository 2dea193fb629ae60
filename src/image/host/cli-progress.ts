import type { BuildProgress, StepFailure } from '../engine/build-progress.ts';
import { BuildKitProgress, ClassicProgress } from '../engine/build-progress.ts';
import type { BuildKitStatus, Vertex } from '../engine/buildkit-status.ts';
import type { BuilderKind } from '../engine/engine.ts';
import type { BuildOutput } from '../engine/output.ts';

/** Reads the lines that `docker build` prints on another machine. */
export interface CliProgress {
  line(text: string): void;
  /** To be called after the last line. */
  finish(): void;
  readonly failure: StepFailure | undefined;
  /** The builder's own words where it failed: what comes last. */
  readonly said: string;
}

/** @param labels how many labels the image is given beside the Dockerfile */
export function cliProgress(builder: BuilderKind, output: BuildOutput, labels: number): CliProgress {
  return builder === 'buildkit' ? new PlainProgress(output) : new ClassicLines(output, labels);
}

const DIGEST = /^sha256:[0-9a-f]{64}$/;
const LOG = /^\d+\.\d+(?: (.*))?$/;

/**
 * BuildKit's `--progress=plain`: `#7 [2/3] RUN make` names a step, `#7 0.31 cc main.c` is a line of its output, then comes how it ended.
 * They become what the engine itself reports of a build, so that people see the same wherever it runs.
 */
class PlainProgress implements CliProgress {
  readonly #progress: BuildKitProgress;
  readonly #steps = new Map<string, Vertex>();
  /** What went wrong, as the CLI, the step and the last line have it. */
  readonly #words: { cli?: string; step?: string; last?: string } = {};

  constructor(output: BuildOutput) {
    this.#progress = new BuildKitProgress(output);
  }

  line(text: string): void {
    const [, number, rest] = /^#(\d+) (.*)$/.exec(text) ?? [];
    if (number !== undefined) this.#progress.takeStatus(this.#statusOf(number, rest!));
    else if (/^(?:ERROR: |failed to )/.test(text)) this.#words.cli = text.replace(/^ERROR: /, '');
    else if (!/^(?:-+|\s.*|)$/.test(text)) this.#words.last = text;
  }

  finish(): void {
    this.#progress.finish();
  }

  get failure(): StepFailure | undefined {
    return this.#progress.failure;
  }

  get said(): string {
    return this.#words.cli ?? this.#words.step ?? this.#words.last ?? '';
  }

  #statusOf(number: string, rest: string): BuildKitStatus {
    const status: BuildKitStatus = { vertexes: [], logs: [], warnings: [] };
    const step = this.#steps.get(number);
    const log = LOG.exec(rest);
    if (step === undefined) {
      const named = { digest: number, name: rest, cached: false, started: true, completed: false, error: '' };
      this.#steps.set(number, named);
      status.vertexes.push(named);
    } else if (log !== null) {
      status.logs.push({ vertex: number, msg: Buffer.from(`${log[1] ?? ''}\n`) });
    } else if (!DIGEST.test(rest) && /^(?:DONE|CACHED|CANCELED|ERROR)\b/.test(rest)) {
      const failed = /^ERROR: (.*)$/.exec(rest)?.[1];
      if (failed !== undefined && !/context canceled/.test(failed)) this.#words.step ??= failed;
      const error = failed ?? (rest === 'CANCELED' ? 'context canceled' : '');
      status.vertexes.push({ ...step, cached: rest === 'CACHED', completed: true, error });
    }
    return status;
  }
}

/** Lines of the CLI around those of the builder. */
const AROUND =
  /^(?:Sending build context to Docker daemon|Successfully (?:built|tagged) |DEPRECATED: |\s+(?:Install the buildx|https:\/\/docs\.docker\.com))/;
const FAILED =
  /^(?:The command '.*' returned a non-zero code: \d+|Error response from daemon: .*|(?:COPY|ADD) failed: .*)$/;

/** The classic builder's lines, which are the same as in its stream. */
class ClassicLines implements CliProgress {
  readonly #progress: BuildProgress;
  #said = '';

  constructor(output: BuildOutput, labels: number) {
    this.#progress = new ClassicProgress(output, labels);
  }

  line(text: string): void {
    if (text.trim() !== '') this.#said = text.replace(/^Error response from daemon: /, '');
    if (!AROUND.test(text) && !FAILED.test(text)) this.#progress.take({ stream: `${text}\n` });
  }

  finish(): void {
    this.#progress.finish();
  }

  get failure(): StepFailure | undefined {
    return this.#progress.failure;
  }

  get said(): string {
    return this.#said;
  }
}
