import type { Frame } from './docker-streams.ts';
import type { LogLine } from './target.ts';

/** A line and where it stands in the engine's log, so that reading can go on after it. */
export interface StampedLine extends LogLine {
  /** The engine's own time stamp, RFC 3339 with nanoseconds. */
  stamp: string;
}

/** Longer lines are cut into pieces of this many bytes. */
const MAX_LINE = 8 * 1024;
const NEWLINE = 0x0a;

interface Pending {
  stamp: string;
  bytes: Buffer;
}

/**
 * Puts the frames of a log with time stamps together to lines. The engine writes a long line as several frames,
 * each with a stamp of its own before it and only the last with a newline.
 */
export async function* logLines(instance: string, source: AsyncIterable<Frame>): AsyncGenerator<StampedLine> {
  const pending: Partial<Record<Frame['stream'], Pending>> = {};
  const lineOf = (stamp: string, bytes: Buffer): StampedLine => ({
    instance,
    time: timeOf(stamp),
    text: withoutReturn(bytes).toString('utf8'),
    stamp,
  });
  for await (const frame of source) {
    const { stamp, bytes } = splitStamp(frame.data);
    const before = pending[frame.stream];
    let rest = before === undefined ? bytes : Buffer.concat([before.bytes, bytes]);
    for (let end = rest.indexOf(NEWLINE); end >= 0 || rest.length > MAX_LINE; end = rest.indexOf(NEWLINE)) {
      const isWhole = end >= 0 && end <= MAX_LINE;
      const cut = isWhole ? end : characterStart(rest, MAX_LINE);
      yield lineOf(stamp, rest.subarray(0, cut));
      rest = rest.subarray(isWhole ? cut + 1 : cut);
    }
    pending[frame.stream] = rest.length === 0 ? undefined : { stamp, bytes: Buffer.from(rest) };
  }
  for (const rest of Object.values(pending)) if (rest !== undefined) yield lineOf(rest.stamp, rest.bytes);
}

function splitStamp(data: Buffer): Pending {
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

/** The engine's `since` for everything after a stamp: seconds and nanoseconds, one nanosecond later. */
export function sinceAfter(stamp: string): string | undefined {
  const match = /^(.+T\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)$/.exec(stamp);
  if (match === null) return undefined;
  const seconds = BigInt(Date.parse(`${match[1]}${match[3]}`)) / 1000n;
  const nanoseconds = seconds * 1_000_000_000n + BigInt((match[2] ?? '').padEnd(9, '0')) + 1n;
  return `${nanoseconds / 1_000_000_000n}.${String(nanoseconds % 1_000_000_000n).padStart(9, '0')}`;
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
