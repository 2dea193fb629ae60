import { setTimeout as sleep } from 'node:timers/promises';

/**
 * Waits until a condition gives something (not false, not undefined), and gives that.
 * It is a guard against hanging, no measure: machines stall.
 * @throws Error naming what was waited for, after two and a half minutes unless told otherwise
 */
export async function until<T>(
  what: string,
  condition: () => T | Promise<T>,
  milliseconds = 150_000,
): Promise<Exclude<T, false | undefined>> {
  const end = Date.now() + milliseconds;
  for (;;) {
    const value = await condition();
    if (value !== false && value !== undefined) return value as Exclude<T, false | undefined>;
    if (Date.now() > end) throw new Error(`waited ${milliseconds / 1000} s in vain: ${what}`);
    await sleep(20);
  }
}
