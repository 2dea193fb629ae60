import type { BuildKitStatus } from './buildkit-status.ts';
import { decodeStatus } from './buildkit-status.ts';
import type { EngineRecord } from './engine-stream.ts';
import { brokenOff } from './engine-stream.ts';
import type { BuildOutput } from './output.ts';
import { cleanLine, LineBuffer } from './output.ts';

/** Turns the records of a build into lines for people, and finds the image that came out. */
export interface BuildProgress {
  take(record: EngineRecord): void;
  /** Passes on what is left; to be called when the stream has ended, well or not. */
  finish(): void;
  /** `sha256:…` of the image, once the engine has said that the build is done. */
  readonly imageId: string | undefined;
  /** The step that failed, `[2/4] RUN make`, and its last lines; for errors that belong to no step undefined. */
  readonly failure: StepFailure | undefined;
}

export interface StepFailure {
  step: string;
  lines: string;
}

const IMAGE_ID = /^sha256:[0-9a-f]{64}$/;
/** Steps whose lines are kept for a failure. */
const FAILURE_LINES = 20;

interface Step {
  name: string;
  lines: LineBuffer;
  last: string[];
  shown: boolean;
  cachedShown: boolean;
  done: boolean;
}

/** BuildKit's steps: a heading once each, log lines below it, and the step's label before lines of steps that run side by side. */
export class BuildKitProgress implements BuildProgress {
  imageId: string | undefined;
  failure: StepFailure | undefined;
  readonly #output: BuildOutput;
  readonly #steps = new Map<string, Step>();
  #current: Step | undefined;

  constructor(output: BuildOutput) {
    this.#output = output;
  }

  take(record: EngineRecord): void {
    if (record.id === 'moby.buildkit.trace' && typeof record.aux === 'string') {
      let status: BuildKitStatus;
      try {
        status = decodeStatus(record.aux);
      } catch (cause) {
        throw brokenOff(cause);
      }
      this.takeStatus(status);
    } else if (record.id === 'moby.image.id') {
      this.imageId = idOf(record.aux);
    }
  }

  finish(): void {
    for (const step of this.#steps.values()) step.lines.flush();
  }

  /** What has changed since the last status. */
  takeStatus(status: BuildKitStatus): void {
    for (const vertex of status.vertexes) {
      const step = this.#step(vertex.digest);
      step.name = vertex.name.replace(/\s+/g, ' ');
      const isNew = vertex.started && !step.shown && isShown(vertex.name);
      if (isNew) this.#heading(step, vertex.cached ? ' (cached)' : '');
      if (!vertex.cached || !step.shown || step.cachedShown) continue;
      step.cachedShown = true;
      // Told after the heading, others' lines may stand between.
      if (!isNew) this.#output.line(`${labelOf(step)}(cached)`);
    }
    for (const log of status.logs) this.#step(log.vertex).lines.write(log.msg);
    for (const warning of status.warnings) this.#output.line(`warning: ${warning.short}`);
    for (const vertex of status.vertexes) {
      const step = this.#step(vertex.digest);
      if (!vertex.completed || step.done) continue;
      step.done = true;
      step.lines.flush();
      // Steps that were canceled because another one failed say so too; the first reason is the one that counts.
      if (vertex.error === '' || this.failure !== undefined || /context canceled/.test(vertex.error)) continue;
      this.failure = { step: step.name, lines: step.last.join('\n') };
    }
  }

  #heading(step: Step, end: string): void {
    step.shown = true;
    this.#current = step;
    this.#output.line(`${step.name}${end}`);
    this.#output.newStep();
  }

  #step(digest: string): Step {
    const known = this.#steps.get(digest);
    if (known !== undefined) return known;
    const step: Step = {
      name: '',
      lines: new LineBuffer((line) => this.#log(step, line)),
      last: [],
      shown: false,
      cachedShown: false,
      done: false,
    };
    this.#steps.set(digest, step);
    return step;
  }

  #log(step: Step, line: string): void {
    const label = step === this.#current ? '' : labelOf(step);
    this.#output.line(`${label}${line}`);
    step.last.push(cleanLine(line));
    if (step.last.length > FAILURE_LINES) step.last.shift();
  }
}

/** `[2/4] ` of `[2/4] RUN make`. */
function labelOf(step: Step): string {
  return /^\[[^\]]*\] /.exec(step.name)?.[0] ?? '';
}

/** `[2/4] RUN make` is a step of the Dockerfile; `[internal] load build context` and the exporter's are not. */
function isShown(name: string): boolean {
  return /^\[(?!internal\]|auth\])/.test(name);
}

const OWN_LINE = /^(?:Step \d+\/\d+ : | ---> |Removing intermediate container |Successfully (?:built|tagged) )/;

/** The classic builder's lines, brought into the same form. */
export class ClassicProgress implements BuildProgress {
  imageId: string | undefined;
  readonly #output: BuildOutput;
  readonly #lines: LineBuffer;
  /** Steps that the engine adds for labels given beside the Dockerfile, one each, at the end. */
  readonly #added: number;
  #lastId: string | undefined;
  #step: string | undefined;

  constructor(output: BuildOutput, added: number) {
    this.#output = output;
    this.#added = added;
    this.#lines = new LineBuffer((line) => this.#line(line));
  }

  take(record: EngineRecord): void {
    if (record.stream !== undefined) {
      // What RUN printed last may have no line end; the builder's own lines come in records of their own.
      if (OWN_LINE.test(record.stream)) this.#lines.flush();
      this.#lines.write(record.stream);
    } else if (record.aux !== undefined) this.#lastId = idOf(record.aux);
    else if (record.status !== undefined && record.progressDetail === undefined) this.#output.line(record.status);
  }

  finish(): void {
    this.#lines.flush();
  }

  get failure(): StepFailure | undefined {
    return this.#step === undefined ? undefined : { step: this.#step, lines: this.#output.tail() };
  }

  #line(line: string): void {
    const step = /^Step (\d+)\/(\d+) : (.*)$/.exec(line);
    if (step !== null) {
      const total = Number(step[2]) - this.#added;
      if (Number(step[1]) > total) return;
      this.#step = `[${step[1]}/${total}] ${step[3]}`;
      this.#output.line(this.#step);
      this.#output.newStep();
    } else if (/^ ---> Using cache\s*$/.test(line)) {
      this.#output.line('(cached)');
    } else if (this.#lastId !== undefined && line.trim() === `Successfully built ${this.#lastId.slice(7, 19)}`) {
      // An id is sent after every stage; only this line tells that the last one is done.
      this.imageId = this.#lastId;
    } else if (
      !/^ ---> (?:Running in )?[0-9a-f]{12}\s*$|^Removing intermediate container [0-9a-f]{12}\s*$|^Successfully tagged /.test(
        line,
      )
    ) {
      this.#output.line(line);
    }
  }
}

function idOf(aux: unknown): string | undefined {
  const id = (aux as { ID?: unknown } | null | undefined)?.ID;
  return typeof id === 'string' && IMAGE_ID.test(id) ? id : undefined;
}
