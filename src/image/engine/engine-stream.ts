import { DinpError } from '../../domain/errors.ts';

/** One record of the JSON stream that builds, pushes and pulls answer with. */
export interface EngineRecord {
  stream?: string;
  status?: string;
  id?: string;
  progressDetail?: { current?: number; total?: number };
  error?: string;
  errorDetail?: { message?: string; code?: number };
  aux?: unknown;
}

/** A BuildKit trace with a very long log is some MiB; a line beyond this is no answer of an engine. */
const MAX_RECORD = 32 * 1024 * 1024;

/** An error that the engine reports within its stream. */
export class EngineStreamError extends Error {
  override readonly name = 'EngineStreamError';
}

/**
 * Reads the engine's JSON stream, one record a line. Every record is looked at for an error, so that none passes as success; the
 * caller must check that the record that means success has come, as a stream that ends early may look whole.
 * @throws EngineStreamError for a record with an error; DinpError unavailable where it is no such stream or breaks off
 */
export async function* engineRecords(stream: AsyncIterable<Buffer>): AsyncGenerator<EngineRecord> {
  let rest: Buffer[] = [];
  let held = 0;
  try {
    for await (const chunk of stream) {
      let start = 0;
      for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, start)) {
        yield* decode(Buffer.concat([...rest, chunk.subarray(start, end)]));
        rest = [];
        held = 0;
        start = end + 1;
      }
      rest.push(chunk.subarray(start));
      held += chunk.length - start;
      if (held > MAX_RECORD)
        throw new DinpError('unavailable', 'The Docker Engine answered with something that is not its protocol.');
    }
  } catch (cause) {
    if (cause instanceof DinpError || cause instanceof EngineStreamError) throw cause;
    throw brokenOff(cause);
  }
  yield* decode(Buffer.concat(rest));
}

/** What to throw when the engine's answer stops before its end. */
export function brokenOff(cause?: unknown): DinpError {
  return new DinpError('unavailable', 'The Docker Engine broke off in the middle of its answer.', {
    hint: 'See whether it was restarted (journalctl -u docker), then push again: git push dinp <branch>:refs/deploy/now',
    cause,
  });
}

function* decode(line: Buffer): Generator<EngineRecord> {
  const text = line.toString('utf8').trim();
  if (text === '') return;
  let record: EngineRecord;
  try {
    record = JSON.parse(text) as EngineRecord;
  } catch (cause) {
    throw brokenOff(cause);
  }
  if (typeof record !== 'object' || record === null) throw brokenOff();
  const message = record.errorDetail?.message ?? record.error;
  if (message !== undefined || record.errorDetail !== undefined)
    throw new EngineStreamError(message ?? 'unknown error');
  yield record;
}
