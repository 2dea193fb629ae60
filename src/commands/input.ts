import { DinpError } from '../domain/errors.ts';
import type { Call } from './context.ts';

/**
 * All of standard input as text.
 * @param what for the error: `the value`
 * @param limit bytes
 * @throws DinpError usage when there is none, too much, or it is not UTF-8
 */
export async function readInput(call: Call, what: string, limit: number): Promise<string> {
  if (call.out.stdin === undefined) {
    throw new DinpError('usage', `${what} is read from standard input, and there is none.`);
  }
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of call.out.stdin) {
    size += chunk.length;
    if (size > limit) throw new DinpError('usage', `${what} is longer than ${limit / 1024} KiB.`);
    chunks.push(chunk);
  }
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(Buffer.concat(chunks));
  } catch (cause) {
    throw new DinpError('usage', `${what} is not text in UTF-8.`, { cause });
  }
}
