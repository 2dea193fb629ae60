/** What kind of failure it is; decides the exit status and whether a stack trace is worth a log line. */
export type ErrorCode =
  | 'usage' // the caller typed something that cannot be meant
  | 'not-found'
  | 'exists'
  | 'denied'
  | 'too-large'
  | 'refused' // what was found in the commit or the request cannot be deployed
  | 'build-failed'
  | 'start-failed'
  | 'timeout'
  | 'canceled'
  | 'superseded'
  | 'unavailable' // an engine, registry, router or host does not answer
  | 'config';

/**
 * The one error class that people read: `message` says what happened (and what was found), `hint` what to do
 * next (a command where there is one). Adapters wrap at their edge and keep `cause`; anything that is not a
 * DinpError is printed as "internal error".
 */
export class DinpError extends Error {
  override readonly name = 'DinpError';
  readonly code: ErrorCode;
  readonly hint: string | undefined;
  /** The last lines of output that matter, printed between message and hint. */
  readonly detail: string | undefined;

  constructor(code: ErrorCode, message: string, options: { hint?: string; detail?: string; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.hint = options.hint;
    this.detail = options.detail;
  }
}

/** An error as people read it: a DinpError itself, or a full disk, which no adapter can do anything about; undefined for all others. */
export function asDinpError(error: unknown): DinpError | undefined {
  if (error instanceof DinpError) return error;
  const { code } = (error ?? {}) as { code?: unknown };
  if (code !== 'ENOSPC' && code !== 'SQLITE_FULL') return undefined;
  return new DinpError('unavailable', "the disk of the server's data folder is full.", {
    hint: 'Make room there, then try again.',
    cause: error,
  });
}
