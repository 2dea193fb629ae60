import { DinpError } from '../domain/errors.ts';

/** The reason of an abort as an error for people. */
export function canceled(signal: AbortSignal, cause?: unknown): DinpError {
  return signal.reason instanceof DinpError ? signal.reason : new DinpError('canceled', 'It was canceled.', { cause });
}
