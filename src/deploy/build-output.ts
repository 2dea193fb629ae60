import type { BuildLogs } from '../store/build-log.ts';
import type { Progress } from './progress.ts';

const INDENT = '       ';
/** Detail beyond this many characters is cut: one runaway build must not fill the disk. Headings and the end are kept. */
const MAX_DETAIL = 16 * 1024 * 1024;

/**
 * What the pusher reads of a build, written to its log as it happens: `-----> ` headings with the time since the push,
 * everything else indented below. Tool output may come in pieces of lines.
 */
export class BuildOutput implements Progress {
  readonly #logs: BuildLogs;
  readonly #buildId: number;
  readonly #startedAt: number;
  #partial = '';
  #writtenAt = Date.now();
  #detail = 0;

  /** @param startedAt milliseconds since the epoch that elapsed times count from */
  constructor(logs: BuildLogs, buildId: number, startedAt: number) {
    this.#logs = logs;
    this.#buildId = buildId;
    this.#startedAt = startedAt;
  }

  heading(text: string): void {
    this.#flush();
    this.#write(`-----> ${text}  [+${this.elapsed()}]\n`);
  }

  line(text: string): void {
    this.#flush();
    this.#append(text);
  }

  /** Output of a tool, any piece of it; carriage returns end lines, as progress bars use them. */
  raw(text: string): void {
    const lines = (this.#partial + text.replace(/\r\n?/g, '\n')).split('\n');
    this.#partial = lines.pop()!;
    if (lines.length > 0) this.#append(lines.join('\n'));
  }

  /** The last line of a build that went well: `Released v3  http://…  (12.4 s)`. */
  released(text: string): void {
    this.#flush();
    this.#write(`-----> ${text}  (${this.elapsed()})\n`);
  }

  /** Text at the left margin, such as the error that ended the build. */
  plain(text: string): void {
    this.#flush();
    this.#write(text.endsWith('\n') ? text : `${text}\n`);
  }

  /** Milliseconds since anything was written. */
  get silence(): number {
    return Date.now() - this.#writtenAt;
  }

  elapsed(): string {
    return formatSeconds(Date.now() - this.#startedAt);
  }

  #write(text: string): void {
    this.#writtenAt = Date.now();
    this.#logs.append(this.#buildId, text);
  }

  #append(text: string): void {
    if (this.#detail > MAX_DETAIL) return;
    this.#detail += text.length;
    const cut = this.#detail > MAX_DETAIL ? `\n[output cut: more than ${MAX_DETAIL / 1024 / 1024} MiB]` : '';
    this.#write(indent(text + cut));
  }

  #flush(): void {
    if (this.#partial === '') return;
    const rest = this.#partial;
    this.#partial = '';
    this.#append(rest);
  }
}

/** `0.4 s`, `12.4 s`, `3 min 20 s`. */
export function formatSeconds(milliseconds: number): string {
  if (milliseconds < 99_950) return `${(milliseconds / 1000).toFixed(1)} s`;
  const seconds = Math.round(milliseconds / 1000);
  return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
}

function indent(text: string): string {
  return text
    .split('\n')
    .map((line) => (line === '' ? '\n' : `${INDENT}${line}\n`))
    .join('');
}
