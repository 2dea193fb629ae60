import type { Call } from './context.ts';

/**
 * What a command does with standard input: nothing; reads it where it has one of its own (`run`); needs it, so that at
 * a terminal one must say what to type; needs it from a pipe, since nobody types it; or needs the content of a file that
 * lies with whoever typed the command.
 */
export type Input =
  | { kind: 'none' }
  | { kind: 'stream' }
  | { kind: 'needed'; what: string }
  | { kind: 'piped'; what: string; hint: string }
  | { kind: 'file'; path: string };

export const NO_INPUT: Input = { kind: 'none' };

/** Runs with the parsed words of its command; resolves to the exit status where that is not 0. */
export type Handler<Words extends unknown[]> = (
  call: Call,
  ...words: Words
) => Promise<number | undefined> | Promise<void>;

export interface Demands<Words extends unknown[]> {
  /** Only admins may. */
  admin?: boolean;
  input?: (...words: Words) => Input;
}

/** Makes a handler into an action of commander that only notes what is to be run: parsing does nothing else. */
export type Bind = <Words extends unknown[]>(
  handler: Handler<Words>,
  demands?: Demands<Words>,
) => (...words: Words) => void;
