/** Longest line that is passed on, in characters; the rest is cut. */
const MAX_LINE = 8 * 1024;
/** Most output of one build; what comes later is only counted. */
const MAX_TOTAL = 16 * 1024 * 1024;
/** Lines kept for the error message. */
const TAIL = 20;

/**
 * Text of a build on its way to people: whole lines without escape sequences and control characters, long lines cut, the amount
 * bounded. A progress bar that rewrites its line with carriage returns is passed on as it last was.
 */
export class BuildOutput {
  readonly #sink: (text: string) => void;
  #total = 0;
  #cut = false;
  #tail: string[] = [];

  constructor(sink: (text: string) => void) {
    this.#sink = sink;
  }

  /** Passes one line on. */
  line(text: string): void {
    const line = cleanLine(text);
    this.#tail.push(line);
    if (this.#tail.length > TAIL) this.#tail.shift();
    if (this.#cut) return;
    this.#total += line.length + 1;
    this.#cut = this.#total > MAX_TOTAL;
    this.#sink(this.#cut ? `… more than ${MAX_TOTAL >> 20} MiB of output; the rest is not shown\n` : `${line}\n`);
  }

  /** The last lines, at most 20. */
  tail(): string {
    return this.#tail.join('\n');
  }

  /** Forgets the last lines: a new step begins, and an error will be about that. */
  newStep(): void {
    this.#tail = [];
  }
}

/** Gathers pieces of text into lines. A line longer than twice what is shown is not gathered on. */
export class LineBuffer {
  readonly #emit: (line: string) => void;
  readonly #decoder = new TextDecoder();
  #rest = '';

  constructor(emit: (line: string) => void) {
    this.#emit = emit;
  }

  write(piece: string | Uint8Array): void {
    const text = typeof piece === 'string' ? piece : this.#decoder.decode(piece, { stream: true });
    const lines = (this.#rest + text).split('\n');
    this.#rest = lines.pop()!;
    // Of a line without end, what a progress bar has overwritten goes first, then whatever would be cut anyway.
    if (this.#rest.length > 2 * MAX_LINE) {
      const start = this.#rest.lastIndexOf('\r', this.#rest.length - 2) + 1;
      this.#rest = this.#rest.slice(start, start + 2 * MAX_LINE);
    }
    for (const line of lines) this.#emit(line);
  }

  /** Passes on what has no line end yet. */
  flush(): void {
    const rest = this.#rest + this.#decoder.decode();
    this.#rest = '';
    if (rest !== '') this.#emit(rest);
  }
}

/* CSI sequences, OSC and other strings (ended by BEL or ST), and two-character escapes: ECMA-48, 5.3 to 5.6. */
const ESCAPES =
  /(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?|\x1b[ -/]*[0-~]/g;
/* Control characters but tab, and those that change the direction of text. */
const CONTROLS = /[\x00-\x08\x0a-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]/g;

/** One line made safe for a terminal, cut at 8 KiB. */
export function cleanLine(text: string): string {
  const whole = text.replace(/\r+$/, '');
  const shown = whole.slice(whole.lastIndexOf('\r') + 1);
  const clean = shown
    .slice(0, 4 * MAX_LINE)
    .replace(ESCAPES, '')
    .replace(CONTROLS, '')
    .trimEnd();
  return clean.length > MAX_LINE ? `${clean.slice(0, MAX_LINE)} … (cut)` : clean;
}
