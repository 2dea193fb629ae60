import { DinpError, type ErrorCode } from '../domain/errors.ts';

/** An error with a status of its own, where its code alone does not tell. */
export class WebError extends DinpError {
  readonly status: number;
  readonly headers: Record<string, string>;

  constructor(
    status: number,
    code: ErrorCode,
    message: string,
    options: { hint?: string; headers?: Record<string, string> } = {},
  ) {
    super(code, message, options);
    this.status = status;
    this.headers = options.headers ?? {};
  }
}

const STATUS: Record<ErrorCode, number> = {
  usage: 400,
  denied: 403,
  'not-found': 404,
  timeout: 408,
  exists: 409,
  'too-large': 413,
  refused: 422,
  'build-failed': 422,
  'start-failed': 422,
  canceled: 422,
  superseded: 422,
  config: 500,
  unavailable: 503,
};

/** The HTTP status that an error is answered with (RFC 9110, 15). */
export function statusOf(error: DinpError): number {
  return error instanceof WebError ? error.status : STATUS[error.code];
}
