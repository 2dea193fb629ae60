import { DinpError, type ErrorCode } from '../../domain/errors.ts';

/** Errors of the connection itself, as Node names them. */
const HINTS: Record<string, string> = {
  ENOENT: 'Is it installed and running? Try: systemctl start docker',
  ECONNREFUSED: 'Is it running? Try: systemctl start docker',
  EACCES: 'This user may not use it: add it to the group docker and log in again.',
  EPERM: 'This user may not use it: add it to the group docker and log in again.',
};
const CONNECTION = new Set([...Object.keys(HINTS), 'ECONNRESET', 'EPIPE', 'ETIMEDOUT', 'EHOSTUNREACH', 'ENOTFOUND']);

/** HTTP status of an answer of the engine that was an error; undefined for any other failure. */
export function statusOf(error: unknown): number | undefined {
  const status = (error as { statusCode?: unknown } | null)?.statusCode;
  return typeof status === 'number' ? status : undefined;
}

/** What the engine said, without the wrapping of the client library. */
export function engineText(error: unknown): string {
  const json = (error as { json?: { message?: unknown } } | null)?.json;
  if (typeof json?.message === 'string') return json.message.trim();
  return error instanceof Error ? error.message.trim() : String(error);
}

/**
 * Wraps a failure of the Docker Engine: `unavailable` where it could not be reached or did not answer, else `code`
 * with what it said. A DinpError passes through.
 * @param doing completes "The Docker Engine could not …"
 */
export function engineError(error: unknown, code: ErrorCode, doing: string): DinpError {
  if (error instanceof DinpError) return error;
  const name = (error as { name?: unknown } | null)?.name;
  const errno = (error as { code?: unknown } | null)?.code;
  if (name === 'TimeoutError' || isTimeout(error)) {
    return new DinpError('unavailable', `The Docker Engine did not answer in time; it could not ${doing}.`, {
      hint: 'See what it is busy with: docker info; journalctl -u docker',
      cause: error,
    });
  }
  if (statusOf(error) === undefined && typeof errno === 'string' && CONNECTION.has(errno)) {
    const hint = HINTS[errno] ?? 'See: systemctl status docker';
    return new DinpError('unavailable', `The Docker Engine cannot be reached (${errno}).`, { hint, cause: error });
  }
  return new DinpError(code, `The Docker Engine could not ${doing}: ${engineText(error)}`, { cause: error });
}

/** Node wraps the reason of an aborted request as the cause of an AbortError. */
function isTimeout(error: unknown): boolean {
  const cause = (error as { cause?: { name?: unknown } } | null)?.cause;
  return cause?.name === 'TimeoutError';
}
