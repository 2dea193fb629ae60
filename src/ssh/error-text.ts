import { DinpError } from '../domain/errors.ts';

/** What a client reads about an error: message and hint of our own ones, nothing of the rest. */
export function errorText(error: unknown): string {
  if (!(error instanceof DinpError)) return 'dinp: internal error: the log of the server says more.';
  const detail = error.detail === undefined ? '' : `\n${error.detail}`;
  const hint = error.hint === undefined ? '' : `\n${error.hint}`;
  return `dinp: ${error.message}${detail}${hint}`;
}
