import { setTimeout as sleep } from 'node:timers/promises';
import type { Host } from '../host.ts';
import type { LogLine, LogOptions } from '../target.ts';

/** A line of the journal and its place there. */
interface JournalLine extends LogLine {
  cursor: string;
}

const TIMEOUT_MS = 30_000;
const GONE_POLL_MS = 2_000;
/** Fields of a line that we need; all others stay on the machine. */
const FORMAT = [
  '--output=json',
  '--output-fields=MESSAGE,_SYSTEMD_UNIT,PODMAN_EVENT',
  '--all',
  '--quiet',
  '--no-pager',
];

/** The output of instances as journald on a host has it. */
export class InstanceJournal {
  readonly #host: Host;

  constructor(host: Host) {
    this.#host = host;
  }

  /**
   * The last lines of an instance, oldest first: what it and the docker CLI printed, not what systemd says of it.
   * @param since as end() gives it: nothing older
   */
  async tail(instance: string, count: number, since?: string): Promise<JournalLine[]> {
    if (count === 0) return [];
    const from = since === undefined ? [] : [`--since=${since}`];
    const argv = ['journalctl', ...FORMAT, `--lines=${count}`, ...from, match(instance)];
    const { stdout } = await this.#host.run(argv, { timeoutMs: TIMEOUT_MS });
    return stdout.split('\n').flatMap(parseJournalLine);
  }

  /** Makes sure that what has been printed so far can be read. */
  async sync(): Promise<void> {
    await this.#host.run(['journalctl', '--sync'], { timeoutMs: TIMEOUT_MS });
  }

  /**
   * The last lines of each instance in order of time, then what comes. Ends when the signal is aborted, or when
   * `remain` says that none of the instances is left.
   */
  async *read(instances: string[], options: LogOptions, remain: () => Promise<boolean>): AsyncGenerator<LogLine> {
    if (instances.length === 0 || options.signal.aborted) return;
    await this.sync();
    const end = await this.end();
    const tails = await Promise.all(instances.map((instance) => this.tail(instance, options.tail)));
    const past = tails.flat().sort((a, b) => (a.time ?? 0) - (b.time ?? 0));
    for (const line of past) yield plain(line);
    if (options.follow)
      yield* this.#follow(instances, options.signal, end, new Set(past.map(({ cursor }) => cursor)), remain);
  }

  /**
   * The time of the journal's last line, for `--since`; undefined for an empty one. Not its cursor: with a match,
   * `--after-cursor` leaves out the first line that it should give, if the cursor's own line does not match.
   */
  async end(): Promise<string | undefined> {
    const argv = ['journalctl', '--output=json', '--output-fields=_PID', '--lines=1', '--quiet', '--no-pager'];
    const { stdout } = await this.#host.run(argv, { timeoutMs: TIMEOUT_MS });
    const microseconds = /"__REALTIME_TIMESTAMP":"(\d+)"/.exec(stdout)?.[1];
    return microseconds?.replace(/^(\d+)(\d{6})$/, '@$1.$2');
  }

  async *#follow(
    instances: string[],
    signal: AbortSignal,
    since: string | undefined,
    seen: Set<string>,
    remain: () => Promise<boolean>,
  ): AsyncGenerator<LogLine> {
    const from = since === undefined ? ['--no-tail'] : [`--since=${since}`, '--no-tail'];
    const stop = new AbortController();
    const argv = [
      'journalctl',
      ...FORMAT,
      '--follow',
      ...from,
      ...instances.flatMap((name) => ['+', match(name)]).slice(1),
    ];
    void stopWhenGone(remain, stop, signal);
    try {
      for await (const text of this.#host.follow(argv, { signal: AbortSignal.any([signal, stop.signal]) })) {
        // Lines that came between finding the end and reading the tails are in both.
        for (const line of parseJournalLine(text)) if (!seen.delete(line.cursor)) yield plain(line);
      }
    } finally {
      stop.abort();
    }
  }
}

async function stopWhenGone(remain: () => Promise<boolean>, stop: AbortController, signal: AbortSignal): Promise<void> {
  const either = AbortSignal.any([signal, stop.signal]);
  try {
    do await sleep(GONE_POLL_MS, undefined, { signal: either, ref: false });
    while (await remain());
    stop.abort();
  } catch {
    // Aborted, or the host does not answer: then following ends by itself.
  }
}

function match(instance: string): string {
  return `_SYSTEMD_UNIT=${instance}.service`;
}

function plain({ instance, time, text }: JournalLine): LogLine {
  return { instance, time, text };
}

/**
 * Reads a line of `journalctl -o json` (systemd.io, "Journal JSON Format"): a message that is no valid UTF-8 or has
 * control characters comes as an array of bytes. Nothing for a line that is no entry, or an event of podman's own.
 */
export function parseJournalLine(line: string): JournalLine[] {
  if (!line.startsWith('{')) return [];
  let fields: Record<string, unknown>;
  try {
    fields = JSON.parse(line) as Record<string, unknown>;
  } catch {
    return [];
  }
  const { MESSAGE: message, _SYSTEMD_UNIT: unit, __CURSOR: cursor, __REALTIME_TIMESTAMP: time } = fields;
  if (fields.PODMAN_EVENT !== undefined) return [];
  if (typeof unit !== 'string' || typeof cursor !== 'string') return [];
  const text = Array.isArray(message) ? Buffer.from(message as number[]).toString() : String(message ?? '');
  const instance = unit.replace(/\.service$/, '');
  return [{ instance, cursor, text, time: typeof time === 'string' ? Math.floor(Number(time) / 1000) : undefined }];
}
