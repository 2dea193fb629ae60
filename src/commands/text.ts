import { stripVTControlCharacters } from 'node:util';
import { printable } from '../domain/names.ts';
import type { ServerInfo } from './context.ts';

/** A line of program output (logs, build output) made safe for a terminal: no escape sequences, tabs kept. */
export function cleanLine(line: string): string {
  return stripVTControlCharacters(line).replace(/\r$/, '').split('\t').map(printable).join('\t');
}

/** Several lines made safe, line by line. */
export function cleanText(text: string): string {
  return text.split('\n').map(cleanLine).join('\n');
}

/** The chunks of a text file as whole safe lines; an unfinished last line comes at the end. */
export async function* cleanLines(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  const cleaner = new LineCleaner();
  for await (const chunk of chunks) {
    const lines = cleaner.add(chunk);
    if (lines !== '') yield lines;
  }
  const rest = cleaner.end();
  if (rest !== '') yield rest;
}

/** Makes text that comes in pieces safe for a terminal, line by line. */
export class LineCleaner {
  readonly #decoder = new TextDecoder();
  #rest = '';

  /** @returns the lines that are whole now; empty where there are none */
  add(chunk: Uint8Array | string): string {
    const text = typeof chunk === 'string' ? chunk : this.#decoder.decode(chunk, { stream: true });
    const lines = (this.#rest + text).split('\n');
    this.#rest = lines.pop()!;
    return lines.length === 0 ? '' : `${lines.map(cleanLine).join('\n')}\n`;
  }

  /** @returns an unfinished last line; empty where there is none */
  end(): string {
    const rest = this.#rest + this.#decoder.decode();
    this.#rest = '';
    return rest === '' ? '' : `${cleanLine(rest)}\n`;
  }
}

/** A word as it must be typed in a POSIX shell. */
export function shellWord(word: string): string {
  return /^[A-Za-z0-9_@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}

/** Words as a line for a POSIX shell, safe to show. */
export function shellLine(words: readonly string[]): string {
  return words.map((word) => shellWord(printable(word))).join(' ');
}

/** A command line to be typed again; values of `config set` are left out, for they may be secret. */
export function retypedLine(words: readonly string[]): string {
  const set = words.findIndex((word) => word === 'set' || word.endsWith(':set'));
  const shown = words.map((word, i) => (set !== -1 && i > set ? word.replace(/^([A-Za-z_]\w*=).+$/s, '$1') : word));
  return shown.map((word, i) => shellLine([word]) + (word === words[i] ? '' : '…')).join(' ');
}

const OWN_COMMAND =
  /(?<!push )\bdinp (?=(?:apps|config|builds|releases|rollback|units|ps|scale|restart|stop|start|logs|run|volumes|keys|bases|whoami|status|help|deploy|tokens|hosts|domains|reconcile)\b)/g;

/** Text of other rooms, which write our commands as `dinp logs blog`, with what the reader has to type instead. */
export function withProgram(text: string, program: string): string {
  return program === 'dinp' ? text : text.replace(OWN_COMMAND, () => `${program} `);
}

/** `a`, `a and b`, `a, b and c`. */
export function listed(words: readonly string[]): string {
  return words.length < 2 ? words.join('') : `${words.slice(0, -1).join(', ')} and ${words.at(-1)}`;
}

/** `1 release`, `2 releases`. */
export function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}

/** How long ago, roughly: `just now`, `3 min ago`, `5 days ago`. */
export function ago(time: number, now = Date.now()): string {
  const seconds = Math.floor((now - time) / 1000);
  return seconds < 10 ? 'just now' : `${roughly(seconds)} ago`;
}

function roughly(seconds: number): string {
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h`;
  return counted(Math.floor(seconds / 86_400), 'day');
}

/** A time span: `340 ms`, `12.4 s`, `2 min 5 s`, `3 h 12 min`, `2 days`. */
export function span(ms: number): string {
  if (ms < 1000) return `${Math.max(0, Math.round(ms))} ms`;
  if (ms < 59_950) return `${(ms / 1000).toFixed(1)} s`;
  const seconds = Math.round(ms / 1000);
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
  return counted(Math.floor(seconds / 86_400), 'day');
}

/** ISO 8601 for programs; null where there is no time. */
export function iso(time: number | undefined): string | null {
  return time === undefined ? null : new Date(time).toISOString();
}

/** The address to give to `git remote add`. */
export function gitRemote(server: ServerInfo, app: string): string {
  const host = server.address.includes(':') ? `[${server.address}]` : server.address;
  return server.sshPort === 22 && host === server.address
    ? `${server.user}@${host}:${app}`
    : `ssh://${server.user}@${host}:${server.sshPort}/${app}`;
}
