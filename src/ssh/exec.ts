import type { GitService } from '../git/receive-pack.ts';

/** What the command line of an SSH `exec` request asks for. */
export type Exec =
  | { kind: 'git'; service: GitService; name: string }
  | { kind: 'command'; argv: string[] }
  /** Nothing that can be run; the text says why and what to type instead. */
  | { kind: 'refused'; text: string };

const MAX_GIT_BYTES = 1024;
const MAX_COMMAND_BYTES = 64 * 1024;
const SERVICES: ReadonlySet<string> = new Set(['git-receive-pack', 'git-upload-pack', 'git-upload-archive']);

/**
 * Reads the command line of an SSH `exec` request. Quoting is that of a POSIX shell (single and double quotes,
 * backslash), which covers git's own sq_quote; nothing is ever expanded, and no shell sees the line.
 * @param line as decoded from UTF-8; bytes that were no UTF-8 are U+FFFD
 */
export function parseExec(line: string): Exec {
  const bytes = Buffer.byteLength(line);
  if (bytes > MAX_COMMAND_BYTES) return refused('The command line is longer than 64 KiB.');
  if (line.includes('\0')) return refused('The command line holds a NUL byte.');
  const words = splitWords(line);
  if (words === undefined) return refused('The command line ends inside a quotation.');
  const git = gitWords(words);
  if (git === undefined) return { kind: 'command', argv: words };
  if (git.service === 'git-upload-archive') {
    return refused('git archive --remote is not served here. Clone the app, then use git archive there.');
  }
  if (bytes > MAX_GIT_BYTES) return refused('The name of the app is too long.');
  if (line.includes('\ufffd')) return refused('The name of the app is not valid UTF-8.');
  const [path, ...more] = git.operands;
  if (path === undefined || more.length > 0 || path.startsWith('-')) {
    return refused(`${git.service} takes the name of one app, such as dinp@host:my-app.`);
  }
  const name = appName(path);
  if (name === '') return refused('The address names no app. It should end like dinp@host:my-app.');
  return { kind: 'git', service: git.service as GitService, name };
}

/** `git-receive-pack …` and `git receive-pack …` are the same; undefined for everything that is not for git. */
function gitWords(words: string[]): { service: string; operands: string[] } | undefined {
  const [first = '', second = ''] = words;
  if (SERVICES.has(first)) return { service: first, operands: words.slice(1) };
  if (first === 'git' && SERVICES.has(`git-${second}`)) return { service: `git-${second}`, operands: words.slice(2) };
  return undefined;
}

/** The path in a git address without what people put around a name: `/`, `~/`, `.git`, a slash at the end. */
function appName(path: string): string {
  return path
    .replace(/^\/*(?:~\/+)?/, '')
    .replace(/\/+$/, '')
    .replace(/\.git$/, '');
}

/**
 * Splits a line into words as a POSIX shell does (Shell Command Language, 2.2 Quoting), without any expansion:
 * `;`, `|`, `$` and the rest are ordinary characters.
 * @returns undefined when a quotation is not closed or the line ends in a backslash
 */
export function splitWords(line: string): string[] | undefined {
  const words: string[] = [];
  let word: string | undefined;
  for (let i = 0; i < line.length; i++) {
    const char = line[i]!;
    if (char === ' ' || char === '\t' || char === '\n') {
      if (word !== undefined) words.push(word);
      word = undefined;
    } else if (char === '\\') {
      const next = line[++i];
      if (next === undefined) return undefined;
      // A backslash before a newline joins the lines.
      if (next !== '\n') word = (word ?? '') + next;
    } else if (char === "'" || char === '"') {
      const quoted = char === "'" ? readSingle(line, i + 1) : readDouble(line, i + 1);
      if (quoted === undefined) return undefined;
      word = (word ?? '') + quoted.text;
      i = quoted.end;
    } else {
      word = (word ?? '') + char;
    }
  }
  if (word !== undefined) words.push(word);
  return words;
}

/** From behind an opening quote: the text, and where the closing quote is. */
interface Quoted {
  text: string;
  end: number;
}

function readSingle(line: string, start: number): Quoted | undefined {
  const end = line.indexOf("'", start);
  return end === -1 ? undefined : { text: line.slice(start, end), end };
}

function readDouble(line: string, start: number): Quoted | undefined {
  let text = '';
  for (let i = start; i < line.length; i++) {
    const char = line[i]!;
    if (char === '"') return { text, end: i };
    const next = line[i + 1];
    if (char === '\\' && next !== undefined && '$`"\\\n'.includes(next)) {
      if (next !== '\n') text += next;
      i++;
    } else {
      text += char;
    }
  }
  return undefined;
}

function refused(text: string): Exec {
  return { kind: 'refused', text };
}
