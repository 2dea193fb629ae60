import { randomBytes } from 'node:crypto';
import { asDinpError, type DinpError } from '../domain/errors.ts';
import { cleanText, withProgram } from './text.ts';

/** What a person reads of an error, and the exit status that goes with it. */
export interface ErrorReport {
  /** Ends with a newline. */
  text: string;
  status: number;
}

/** Exit status: 2 for what was typed wrong, 1 for everything else, as shells and coreutils have it. */
export function errorStatus(error: DinpError): number {
  return error.code === 'usage' ? 2 : 1;
}

/**
 * Message, detail and hint of an error, safe for a terminal.
 * @param program what the reader types for `dinp`
 */
export function formatError(error: DinpError, program: string): string {
  const lines = [`error: ${indented(error.message)}`];
  if (error.detail !== undefined) lines.push(`       ${indented(error.detail.trimEnd())}`);
  // Further lines of a hint are left as they are, so that they can be copied.
  if (error.hint !== undefined) lines.push(`hint:  ${error.hint}`);
  return withProgram(cleanText(`${lines.join('\n')}\n`), program);
}

function indented(text: string): string {
  return text.replaceAll('\n', '\n       ');
}

/**
 * The one printer of errors, for commands, pushes and the `dinp` program: what was expected is explained, anything
 * else is "internal error" with an id under which the log has the stack.
 */
export function reportError(
  error: unknown,
  program: string,
  log: { error(fields: object, message: string): void },
): ErrorReport {
  const known = asDinpError(error);
  if (known) return { text: formatError(known, program), status: errorStatus(known) };
  const id = randomBytes(4).toString('hex');
  log.error({ err: error, errorId: id }, 'unexpected error');
  return { text: `error: internal error ${id}.\nhint:  The log of the server says more under that id.\n`, status: 1 };
}
