import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';
import { Readable } from 'node:stream';

/** What a program came to. */
export interface Ended {
  /** Exit status; 128 and the signal's name in `signal` where a signal ended it. */
  status: number;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
  /** Both, as a terminal would show them. */
  output: string;
  ms: number;
}

/** A program under way, in a process group of its own. */
export interface Program {
  child: ChildProcess;
  /** What it wrote so far, both streams as a terminal shows them. */
  output(): string;
  /** Resolves when its output has this text; rejects when it ends without. */
  shows(text: string | RegExp): Promise<void>;
  /** What Ctrl-C at the terminal does: SIGINT to the whole process group. */
  interrupt(): void;
  ended: Promise<Ended>;
}

/** What a program reads. */
export type Stdin = string | Uint8Array | Readable;

/** Starts a program; `stdin` is given to it and closed. */
export function start(file: string, args: string[], options: SpawnOptions & { stdin?: Stdin } = {}): Program {
  const { stdin = '', ...rest } = options;
  const begin = performance.now();
  const child = spawn(file, args, { ...rest, detached: true, stdio: ['pipe', 'pipe', 'pipe'] });
  child.stdin!.on('error', () => {});
  if (stdin instanceof Readable) stdin.pipe(child.stdin!);
  else child.stdin!.end(stdin);
  const text = { stdout: '', stderr: '', output: '' };
  const listeners = new Set<() => void>();
  const collect = (name: 'stdout' | 'stderr') => (chunk: string) => {
    text[name] += chunk;
    text.output += chunk;
    for (const listener of listeners) listener();
  };
  child.stdout!.setEncoding('utf8').on('data', collect('stdout'));
  child.stderr!.setEncoding('utf8').on('data', collect('stderr'));
  const ended = new Promise<Ended>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => {
      resolve({ status: code ?? 128, signal, ...text, ms: performance.now() - begin });
    });
  });
  ended.catch(() => {});
  return {
    child,
    output: () => text.output,
    ended,
    interrupt: () => void process.kill(-child.pid!, 'SIGINT'),
    shows: (wanted) =>
      new Promise((resolve, reject) => {
        const look = (): void => {
          if (typeof wanted === 'string' ? !text.output.includes(wanted) : !wanted.test(text.output)) return;
          listeners.delete(look);
          resolve();
        };
        listeners.add(look);
        ended.then(() => reject(new Error(`it ended without "${wanted}":\n${text.output}`)), reject);
        look();
      }),
  };
}
