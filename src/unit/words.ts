import { DinpError } from '../domain/errors.ts';

/** A word of an Exec line: literal text, or the whole value of a variable of the unit's Environment=. */
export type ExecWord = string | { variable: string };

/** One command of an Exec line. */
export interface ExecCommand {
  /** `-`, `@`, `:`, `+`, `!` before the path, as written. */
  prefixes: string;
  /** The program and its arguments, unquoted; specifiers and variables are still in them. */
  words: string[];
}

const SEPARATORS = new Set([0x20, 0x09, 0x0a, 0x0d]);
const BACKSLASH = 0x5c;
const SIMPLE_ESCAPES: Record<string, number> = {
  a: 7,
  b: 8,
  f: 12,
  n: 10,
  r: 13,
  t: 9,
  v: 11,
  s: 32,
  '\\': 0x5c,
  '"': 0x22,
  "'": 0x27,
};

/**
 * Splits a value such as that of Environment= into words, as systemd does: separated by white space, with single
 * and double quotes and C escapes (systemd.syntax(7), "Quoting").
 * @throws DinpError refused for unbalanced quotes and unknown escapes
 */
export function splitWords(value: string): string[] {
  const words: string[] = [];
  const bytes = Buffer.from(value);
  let at = skipSeparators(bytes, 0);
  while (at < bytes.length) {
    const word = readWord(bytes, at, false);
    words.push(word.text);
    at = word.next;
  }
  return words;
}

/**
 * Splits the value of an Exec line into its commands (systemd.service(5), "Command lines"): an unquoted `;` word
 * separates commands, `\;` is a literal one; unknown escapes are kept as they are, as systemd does there.
 * @throws DinpError refused for unbalanced quotes
 */
export function splitCommands(value: string): ExecCommand[] {
  const commands: ExecCommand[] = [];
  const bytes = Buffer.from(value);
  let current: ExecCommand | undefined;
  let at = skipSeparators(bytes, 0);
  while (at < bytes.length) {
    if (current === undefined) {
      const first = readWord(bytes, at, true);
      const prefixes = /^[-@:+!]*/.exec(first.text)?.[0] ?? '';
      current = { prefixes, words: [first.text.slice(prefixes.length)] };
      commands.push(current);
      at = first.next;
    } else if (wordIs(bytes, at, ';')) {
      current = undefined;
      at = skipSeparators(bytes, at + 1);
    } else if (wordIs(bytes, at, '\\;')) {
      current.words.push(';');
      at = skipSeparators(bytes, at + 2);
    } else {
      const word = readWord(bytes, at, true);
      current.words.push(word.text);
      at = word.next;
    }
  }
  return commands;
}

/**
 * Replaces specifiers: `%%` by `%`, `%x` by what the map has for x. Unknown ones stay as they are.
 */
export function expandSpecifiers(text: string, specifiers: Record<string, string> = {}): string {
  return text.replace(/%(.)/gsu, (whole, letter: string) => (letter === '%' ? '%' : (specifiers[letter] ?? whole)));
}

/**
 * Reads an Exec line that holds one command without prefixes and no specifier, as our encoder writes it: the words
 * that the program gets.
 * @throws DinpError refused where systemd would expand something in it
 */
export function readArgv(value: string): ExecWord[] {
  const [command, ...more] = splitCommands(value);
  if (command === undefined || more.length > 0 || command.prefixes !== '') throw unexpected('one plain command', value);
  return command.words.map((word) => readWordOf(word, value));
}

/** Reads the words of a line that quadlet puts into an Exec line, as encodeWords() writes them. @throws DinpError refused */
export function readWords(value: string): ExecWord[] {
  return splitWords(value).map((word) => readWordOf(word, value));
}

function readWordOf(word: string, value: string): ExecWord {
  const variable = /^\$\{([A-Za-z_][A-Za-z0-9_]*)\}$/.exec(word)?.[1];
  if (variable !== undefined) return { variable };
  return readLiteral(word).replace(/\$(.?)/gsu, (_, next: string) => {
    if (next !== '$') throw unexpected('no variable', value);
    return '$';
  });
}

/** Reads a text in which only specifiers count, and none is used. @throws DinpError refused for a specifier */
export function readLiteral(value: string): string {
  return value.replace(/%(.?)/gsu, (_, next: string) => {
    if (next !== '%') throw unexpected('no specifier', value);
    return '%';
  });
}

function unexpected(wanted: string, value: string): DinpError {
  return new DinpError('refused', `Expected ${wanted} in the unit file's value ${JSON.stringify(value)}.`);
}

function skipSeparators(bytes: Buffer, from: number): number {
  let at = from;
  while (at < bytes.length && SEPARATORS.has(bytes[at]!)) at++;
  return at;
}

/** True where the word at `at` is exactly these characters, unquoted. */
function wordIs(bytes: Buffer, at: number, text: string): boolean {
  const end = at + text.length;
  return bytes.toString('latin1', at, end) === text && (end >= bytes.length || SEPARATORS.has(bytes[end]!));
}

/** systemd's extract_first_word() with UNQUOTE and CUNESCAPE; `lax` keeps unknown escapes as they are. */
function readWord(bytes: Buffer, from: number, lax: boolean): { text: string; next: number } {
  const out: number[] = [];
  let quote = 0;
  let at = from;
  while (at < bytes.length) {
    const byte = bytes[at]!;
    if (byte === BACKSLASH) {
      const decoded = readEscape(bytes, at + 1);
      if (decoded !== undefined) out.push(...decoded.bytes);
      else if (lax && at + 1 < bytes.length) out.push(BACKSLASH, bytes[at + 1]!);
      else if (lax && quote === 0) out.push(BACKSLASH);
      else throw unexpected('only known escapes', bytes.toString());
      at += 1 + (decoded?.length ?? 1);
      continue;
    }
    if (quote !== 0) {
      if (byte === quote) quote = 0;
      else out.push(byte);
    } else if (byte === 0x22 || byte === 0x27) {
      quote = byte;
    } else if (SEPARATORS.has(byte)) {
      break;
    } else {
      out.push(byte);
    }
    at++;
  }
  if (quote !== 0) throw unexpected('balanced quotes', bytes.toString());
  return { text: Buffer.from(out).toString(), next: skipSeparators(bytes, at) };
}

/** systemd's cunescape_one(): what follows a backslash, as bytes; undefined for an unknown escape or NUL. */
function readEscape(bytes: Buffer, at: number): { bytes: Iterable<number>; length: number } | undefined {
  const rest = bytes.toString('latin1', at, at + 9);
  const simple = SIMPLE_ESCAPES[rest[0] ?? ''];
  if (simple !== undefined) return { bytes: [simple], length: 1 };
  const eightBit = /^x([0-9a-fA-F]{2})/.exec(rest);
  if (eightBit) return byteEscape(Number.parseInt(eightBit[1]!, 16), 3);
  const octal = /^[0-7]{3}/.exec(rest);
  if (octal) return byteEscape(Number.parseInt(octal[0], 8), 3);
  const unicode = /^(?:u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8}))/.exec(rest);
  if (!unicode) return undefined;
  const code = Number.parseInt(unicode[1] ?? unicode[2]!, 16);
  if (code === 0 || code > 0x10ffff) return undefined;
  return { bytes: Buffer.from(String.fromCodePoint(code)), length: unicode[0].length };
}

function byteEscape(byte: number, length: number): { bytes: Iterable<number>; length: number } | undefined {
  return byte === 0 || byte > 255 ? undefined : { bytes: [byte], length };
}
