import { DinpError } from '../domain/errors.ts';
import { endsEscaped, MAX_LINE_BYTES, strip } from './parser.ts';
import type { ExecWord } from './words.ts';

// Control characters (C0, DEL, C1) never reach a unit; nor does what systemd does not take as UTF-8 (surrogates, noncharacters).
const FORBIDDEN = /[\p{Cc}\p{Noncharacter_Code_Point}]/u;
// Words of these characters need no quotes and stay readable.
const PLAIN_WORD = /^[A-Za-z0-9_/.,:=@+-]+$/;
// systemd refuses other characters in the program's path, and a path cannot be quoted out of its prefix characters.
const PROGRAM = /^\/[^"'\\$]*[^"'\\/$]$/;

/** True where a unit file can hold the text at all: no control character, valid Unicode. */
export function fitsInUnit(text: string): boolean {
  return text.isWellFormed() && !FORBIDDEN.test(text);
}

/**
 * A command as the value of an Exec line: systemd runs exactly these words. Words are quoted where needed; `%` and
 * `$` are doubled, so neither specifiers nor variables expand; `{ variable }` becomes `${NAME}`, one word.
 *
 * @throws DinpError refused for control characters, and for a program that is no absolute path
 */
export function encodeArgv(words: readonly ExecWord[]): string {
  const [program, ...rest] = words;
  if (typeof program !== 'string' || !PROGRAM.test(program)) {
    throw new DinpError('refused', `A unit cannot run ${JSON.stringify(program)}.`, {
      hint: 'Give the absolute path of a program, such as /usr/bin/docker.',
    });
  }
  return checked([encodeText(program, 'program'), ...rest.map(encodeWord)].map(quoteSpaces).join(' '));
}

/**
 * Words as the value of a line that quadlet splits and puts into the ExecStart line that it writes (Exec=, Environment=,
 * Label=, PodmanArgs=; podman-systemd.unit(5)): quoted as in an Exec line, but the first is a word like all others.
 *
 * @throws DinpError refused for control characters, and for words that quadlet does not pass on as they are
 */
export function encodeWords(words: readonly ExecWord[]): string {
  for (const word of words) if (typeof word === 'string' && !passesQuadlet(word)) throw refused('argument', word);
  return checked(words.map(encodeWord).join(' '));
}

/** Quadlet (seen with 5.4) stops reading at an empty word, and writes `;` without the quotes that keep it from ending a command. */
export function passesQuadlet(word: string): boolean {
  return word !== '' && word !== ';';
}

/** The program's path may hold spaces: quotes around it are taken off before systemd looks at it. */
function quoteSpaces(word: string, index: number): string {
  return index === 0 && !PLAIN_WORD.test(word) ? `"${word}"` : word;
}

function encodeWord(word: ExecWord): string {
  if (typeof word !== 'string') {
    if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(word.variable)) throw refused('variable', word.variable);
    return `\${${word.variable}}`;
  }
  if (!fitsInUnit(word)) throw refused('argument', word);
  return PLAIN_WORD.test(word) ? word : `"${quoted(word).replaceAll('$', '$$$$')}"`;
}

function quoted(text: string): string {
  return text.replace(/["\\]/g, '\\$&').replaceAll('%', '%%');
}

/**
 * One variable as the value of an Environment= line. `$` has no meaning there.
 * @throws DinpError refused for a name outside [A-Za-z_][A-Za-z0-9_]* and for control characters
 */
export function encodeEnv(name: string, value: string): string {
  if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) throw refused('variable name', name);
  if (!fitsInUnit(value)) {
    throw new DinpError(
      'refused',
      `A unit file cannot hold the value of ${name}: it has control characters or is no valid text.`,
    );
  }
  return checked(`"${quoted(`${name}=${value}`)}"`);
}

/**
 * Text such as a Description=: only specifiers mean something there, so `%` is doubled.
 * @throws DinpError refused for control characters, white space at an end and a trailing backslash
 */
export function encodeText(text: string, what = 'text'): string {
  if (!fitsInUnit(text) || strip(text) !== text || text === '' || endsEscaped(text)) throw refused(what, text);
  return checked(text.replaceAll('%', '%%'));
}

/** An absolute path, for lines such as EnvironmentFile= that take one path and no quotes. @throws DinpError refused */
export function encodePath(path: string): string {
  if (!path.startsWith('/') || path.split('/').includes('..')) throw refused('path', path);
  return encodeText(path, 'path');
}

/** A whole number, zero or more. @throws DinpError refused */
export function encodeNumber(value: number): string {
  if (!Number.isSafeInteger(value) || value < 0) throw refused('number', String(value));
  return String(value);
}

function checked(value: string): string {
  // The key and its "=" take part in the limit; none is longer than 64 bytes.
  if (Buffer.byteLength(value) > MAX_LINE_BYTES - 64) {
    throw new DinpError('refused', 'A line of the unit file would be longer than the 1 MiB that systemd takes.');
  }
  return value;
}

function refused(what: string, value: string): DinpError {
  const short = value.length > 80 ? `${value.slice(0, 80)}…` : value;
  return new DinpError('refused', `A unit file cannot hold this ${what}: ${JSON.stringify(short)}.`, {
    hint: 'Line breaks and control characters cannot stand in a unit; config values (dinp config set) may hold them.',
  });
}
