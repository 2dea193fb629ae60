import type { Progress } from '../deploy/progress.ts';
import type { Call, CommandIo } from './context.ts';
import { cleanText, span, withProgram } from './text.ts';

const TICK_MS = 1000;
/** So long nothing must have come before the clock shows. */
const QUIET_MS = 2000;

/**
 * Shows what is done while a command runs: headings and indented lines. At a terminal a clock runs in the last line
 * while nothing comes; elsewhere there are plain lines only.
 */
export async function withProgress<T>(call: Call, work: (progress: Progress) => Promise<T>): Promise<T> {
  const printer = new ProgressPrinter(call.out, call.program);
  try {
    return await work(printer);
  } finally {
    await printer.end();
  }
}

class ProgressPrinter implements Progress {
  readonly #out: CommandIo;
  readonly #program: string;
  readonly #timer: NodeJS.Timeout | undefined;
  #written: Promise<void> = Promise.resolve();
  #lastLine = Date.now();
  #clockShown = false;

  constructor(out: CommandIo, program: string) {
    this.#out = out;
    this.#program = program;
    if (out.columns !== undefined) this.#timer = setInterval(() => this.#tick(), TICK_MS);
  }

  heading(text: string): void {
    this.#print(`-----> ${text}\n`);
  }

  line(text: string): void {
    this.#print(`       ${text.trimEnd().replaceAll('\n', '\n       ')}\n`);
  }

  async end(): Promise<void> {
    clearInterval(this.#timer);
    this.#print('');
    await this.#written;
  }

  #print(text: string): void {
    const clear = this.#clockShown ? '\r\u001b[K' : '';
    this.#clockShown = false;
    this.#lastLine = Date.now();
    this.#write(clear + withProgram(cleanText(text), this.#program));
  }

  #tick(): void {
    const quiet = Date.now() - this.#lastLine;
    if (quiet < QUIET_MS) return;
    this.#clockShown = true;
    this.#write(`\r\u001b[K       … ${span(Math.floor(quiet / 1000) * 1000).replace('.0 s', ' s')}`);
  }

  /** Progress does not wait for its reader; a reader that is gone must not end the work. */
  #write(text: string): void {
    if (text !== '') this.#written = this.#written.then(() => this.#out.stdout(text)).catch(() => {});
  }
}
