import { DinpError } from '../domain/errors.ts';

/** What to throw once a signal has aborted: its own reason where that is meant for people, else "canceled". */
export function canceled(signal: AbortSignal): DinpError {
  return signal.reason instanceof DinpError ? signal.reason : new DinpError('canceled', 'The build was canceled.');
}

/** @throws DinpError canceled (or the signal's own reason) when the signal has aborted */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw canceled(signal);
}
