import type { LogLine } from '../target.ts';
import type { Frame } from './docker-streams.ts';

/** A line and where it stands in the engine's log, so that reading can go on after it. */
export interface StampedLine extends LogLine {
  /** The engine's own time stamp, RFC 3339 with nine digits of a second, UTC: in order of text where in order of time. */
  stamp: string;
  stream: Frame['stream'];
  /** A further piece of a line that was cut for its length. */
  isContinued: boolean;
}

/** Longer lines are cut into pieces of this many bytes. */
const MAX_LINE = 8 * 1024;
const NEWLINE = 0x0a;
/** How far lines may stand out of order. */
const OVERLAP_MS = 50;

interface Pending {
  stamp: string;
  bytes: Buffer;
  isContinued: boolean;
}

/**
 * Puts the frames of a log with time stamps together to lines. The engine writes a long line as several frames,
 * each with a stamp of its own before it and only the last with a newline.
 */
export async function* logLines(instance: string, source: AsyncIterable<Frame>): AsyncGenerator<StampedLine> {
  const pending: Partial<Record<Frame['stream'], Pending>> = {};
  const lineOf = (stream: Frame['stream'], { stamp, bytes, isContinued }: Pending): StampedLine => ({
    instance,
    time: timeOf(stamp),
    text: withoutReturn(bytes).toString('utf8'),
    stamp,
    stream,
    isContinued,
  });
  for await (const { stream, data } of source) {
    const { stamp, bytes } = splitStamp(data);
    const before = pending[stream];
    let isContinued = before?.isContinued ?? false;
    let rest = before === undefined ? bytes : Buffer.concat([before.bytes, bytes]);
    for (let end = rest.indexOf(NEWLINE); end >= 0 || rest.length > MAX_LINE; end = rest.indexOf(NEWLINE)) {
      const isWhole = end >= 0 && end <= MAX_LINE;
      const cut = isWhole ? end : characterStart(rest, MAX_LINE);
      yield lineOf(stream, { stamp, bytes: rest.subarray(0, cut), isContinued });
      rest = rest.subarray(isWhole ? cut + 1 : cut);
      isContinued = !isWhole;
    }
    pending[stream] = rest.length === 0 ? undefined : { stamp, bytes: Buffer.from(rest), isContinued };
  }
  for (const stream of ['stdout', 'stderr'] as const) {
    const rest = pending[stream];
    if (rest !== undefined) yield lineOf(stream, rest);
  }
}

function splitStamp(data: Buffer): { stamp: string; bytes: Buffer } {
  const space = data.indexOf(0x20);
  if (space < 20 || space > 40) return { stamp: '', bytes: data };
  return { stamp: data.toString('latin1', 0, space), bytes: data.subarray(space + 1) };
}

function timeOf(stamp: string): number | undefined {
  const time = Date.parse(stamp);
  return Number.isNaN(time) ? undefined : time;
}

function withoutReturn(bytes: Buffer): Buffer {
  return bytes.at(-1) === 0x0d ? bytes.subarray(0, -1) : bytes;
}

/** The largest position up to `at` that does not cut a UTF-8 character. */
function characterStart(bytes: Buffer, at: number): number {
  let start = at;
  while (start > at - 4 && (bytes[start]! & 0xc0) === 0x80) start--;
  return (bytes[start]! & 0xc0) === 0x80 ? at : start;
}

/**
 * How far a log has been read. Reading goes on a little before that place and leaves out what is known: the engine
 * stamps the two streams separately, so their lines may stand in the log slightly out of order, and while following
 * it may send lines twice (seen with 20.10). Within a stream stamps only grow.
 */
export class LogPosition {
  /** Nothing before the first line that was read is new. */
  #first = '';
  readonly #last = { stdout: '', stderr: '' };
  #isNew = { stdout: true, stderr: true };

  /** Notes a line as read; false where it had been read before. */
  take({ stamp, stream, isContinued }: StampedLine): boolean {
    if (this.#first === '') this.#first = stamp;
    if (!isContinued) this.#isNew[stream] = stamp > this.#last[stream] && stamp >= this.#first;
    if (this.#isNew[stream] && stamp > this.#last[stream]) this.#last[stream] = stamp;
    return this.#isNew[stream];
  }

  /** The engine's `since` to go on with: seconds of the epoch with a fraction; undefined where nothing was read. */
  since(): string | undefined {
    const latest = [this.#last.stdout, this.#last.stderr].sort().at(-1)!;
    const time = Date.parse(latest);
    return Number.isNaN(time) ? undefined : ((time - OVERLAP_MS) / 1000).toFixed(3);
  }
}

/** Merges logs that are each in order of time into one that is; holds one line of each. */
export async function* mergeByTime(sources: AsyncGenerator<StampedLine>[]): AsyncGenerator<StampedLine> {
  const heads = await Promise.all(
    sources.map(async (source) => (await source.next()).value as StampedLine | undefined),
  );
  for (;;) {
    let first = -1;
    heads.forEach((head, i) => {
      if (head !== undefined && (first < 0 || head.stamp < heads[first]!.stamp)) first = i;
    });
    if (first < 0) return;
    yield heads[first]!;
    heads[first] = (await sources[first]!.next()).value as StampedLine | undefined;
  }
}

/**
 * Merges endless logs in the order in which lines come. Each source waits until its line is taken, so memory stays
 * bounded however slow the reader is. The caller stops the sources.
 */
export async function* mergeAsTheyCome(sources: AsyncIterable<StampedLine>[]): AsyncGenerator<StampedLine> {
  const waiting: { line: StampedLine; taken: () => void }[] = [];
  const failures: unknown[] = [];
  let running = sources.length;
  let wake = () => {};
  for (const source of sources) {
    void (async () => {
      try {
        for await (const line of source) {
          await new Promise<void>((taken) => {
            waiting.push({ line, taken });
            wake();
          });
        }
      } catch (error) {
        failures.push(error);
      }
      running--;
      wake();
    })();
  }
  for (;;) {
    const next = waiting.shift();
    if (next !== undefined) {
      yield next.line;
      next.taken();
    } else if (failures.length > 0) {
      throw failures[0];
    } else if (running === 0) {
      return;
    } else {
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
  }
}
