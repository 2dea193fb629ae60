import { DinpError } from '../domain/errors.ts';
import type { Section, Unit } from './unit-file.ts';

/** A line that systemd would warn about and leave out. `line` counts from 1. */
export interface ParseProblem {
  line: number;
  message: string;
}

/** systemd's LONG_LINE_MAX: longer lines make it refuse the whole file. */
export const MAX_LINE_BYTES = 1024 * 1024;

// One line ending, as systemd's read_line() takes them: any of LF, CR and NUL, each at most once, NUL last.
const LINE_END = /\n\r?\0?|\r\n?\0?|\0/;
const BOM = '\ufeff';
// A section header with one of these makes systemd refuse the file (string_is_safe).
const UNSAFE_IN_HEADER = /[\u0001-\u001f"'\\\u007f]/;

/**
 * Reads unit file text the way systemd's config_parse() does (systemd.syntax(7)): comments, also inside
 * continuation lines; a trailing backslash joins lines with one space; white space around keys and values goes;
 * quotes and escapes inside values stay as they are (see words.ts). Comments are not kept.
 *
 * @returns the sections, and the lines that systemd would ignore with a warning
 * @throws DinpError refused where systemd refuses the whole file (bad section header, line over 1 MiB)
 */
export function parseUnit(text: string): Unit & { problems: ParseProblem[] } {
  const reader = new UnitReader();
  for (const { line, content } of logicalLines(text)) reader.take(line, content);
  return { sections: reader.sections, problems: reader.problems };
}

/** Joins continuation lines and leaves out comment lines. */
function* logicalLines(text: string): Generator<{ line: number; content: string }> {
  let joined = '';
  let start = 0;
  let bomSeen = false;
  let number = 0;
  for (const physical of text.split(LINE_END)) {
    number++;
    checkLength(physical, number);
    if (/^[ \t]*[#;]/.test(physical)) continue;
    let line = physical;
    if (!bomSeen && line.startsWith(BOM)) {
      line = line.slice(1);
      bomSeen = true;
    }
    if (joined === '') start = number;
    joined += line;
    checkLength(joined, number);
    if (endsEscaped(joined)) {
      joined = `${joined.slice(0, -1)} `;
      continue;
    }
    yield { line: start, content: joined };
    joined = '';
  }
  if (joined !== '') yield { line: start, content: joined };
}

function checkLength(line: string, number: number): void {
  if (line.length * 3 > MAX_LINE_BYTES && Buffer.byteLength(line) > MAX_LINE_BYTES) {
    throw new DinpError('refused', `Line ${number} of the unit file is longer than 1 MiB.`);
  }
}

/** True where the text ends in a backslash that is not itself escaped. */
export function endsEscaped(text: string): boolean {
  let backslashes = 0;
  while (text[text.length - 1 - backslashes] === '\\') backslashes++;
  return backslashes % 2 === 1;
}

/** systemd's strstrip(): only these four characters are white space to it. */
export function strip(text: string): string {
  return text.replace(/^[ \t\n\r]+/, '').replace(/[ \t\n\r]+$/, '');
}

class UnitReader {
  readonly sections: Section[] = [];
  readonly problems: ParseProblem[] = [];

  take(line: number, content: string): void {
    const text = strip(content);
    if (text === '') return;
    if (text.startsWith('[')) this.#header(line, text);
    else this.#assignment(line, text);
  }

  #header(line: number, text: string): void {
    const name = text.slice(1, -1);
    if (text.length < 2 || !text.endsWith(']') || UNSAFE_IN_HEADER.test(name)) {
      throw new DinpError('refused', `Line ${line} of the unit file is no section header: ${JSON.stringify(text)}.`, {
        hint: 'A section header is a line such as [Service].',
      });
    }
    this.sections.push({ name, entries: [] });
  }

  #assignment(line: number, text: string): void {
    const section = this.sections.at(-1);
    const equals = text.indexOf('=');
    const key = strip(text.slice(0, Math.max(equals, 0)));
    if (section === undefined) this.#problem(line, 'an assignment before the first section');
    else if (equals === -1) this.#problem(line, 'no "=" in the line');
    else if (key === '') this.#problem(line, 'no key before the "="');
    else if (/^[#;\ufeff]/.test(key)) this.#problem(line, 'a byte order mark before a comment or key');
    else section.entries.push({ key, value: strip(text.slice(equals + 1)) });
  }

  #problem(line: number, message: string): void {
    this.problems.push({ line, message });
  }
}
