import { setTimeout as delay } from 'node:timers/promises';
import { throwIfAborted } from '../abort.ts';
import { RegistryBroken } from './registry-connection.ts';

/** How long to wait before the second and the third try, milliseconds. */
const WAITS = [200, 1_000];

/** Does a whole task again, at most twice, when the connection to a registry breaks in its midst. @throws what the last try throws */
export async function retryBroken<T>(task: () => Promise<T>, signal?: AbortSignal): Promise<T> {
  for (const wait of WAITS) {
    try {
      return await task();
    } catch (error) {
      if (!(error instanceof RegistryBroken)) throw error;
      await delay(wait, undefined, signal === undefined ? {} : { signal }).catch(() => {});
      throwIfAborted(signal);
    }
  }
  return task();
}
