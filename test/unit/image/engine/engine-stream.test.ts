import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import type { DinpError } from '../../../../src/domain/errors.ts';
import { EngineStreamError, engineRecords } from '../../../../src/image/engine/engine-stream.ts';

async function* pieces(text: string, size: number): AsyncGenerator<Buffer> {
  const bytes = Buffer.from(text);
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

async function read(stream: AsyncIterable<Buffer>): Promise<unknown[]> {
  const records: unknown[] = [];
  for await (const record of engineRecords(stream)) records.push(record);
  return records;
}

describe('the engine’s stream', () => {
  it('is read however it is cut into pieces', async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 40 }), async (size) => {
        assert.deepEqual(await read(pieces('{"stream":"ä\\n"}\r\n\n{"aux":{"ID":"x"}}', size)), [
          { stream: 'ä\n' },
          { aux: { ID: 'x' } },
        ]);
      }),
    );
  });

  it('throws for every record with an error, also the last and one without a message', async () => {
    for (const text of [
      '{"stream":"a"}\n{"error":"bad"}\n',
      '{"errorDetail":{"message":"bad"}}',
      '{"errorDetail":{"message":"bad","code":1},"error":"worse"}\n{"stream":"b"}',
    ]) {
      await assert.rejects(
        read(pieces(text, 7)),
        (error) => error instanceof EngineStreamError && error.message === 'bad',
      );
    }
    await assert.rejects(read(pieces('{"errorDetail":{}}', 99)), EngineStreamError);
  });

  it('says that it broke off where a record is cut', async () => {
    for (const text of ['{"stream":"a"}\n{"str', 'null\n', 'Bad Gateway\n']) {
      await assert.rejects(
        read(pieces(text, 5)),
        (error: DinpError) => error.code === 'unavailable' && /broke off/.test(error.message),
      );
    }
    const broken = async function* (): AsyncGenerator<Buffer> {
      yield Buffer.from('{"stream":"a"}\n');
      throw Object.assign(new Error('aborted'), { code: 'ECONNRESET' });
    };
    await assert.rejects(
      read(broken()),
      (error: DinpError) => error.code === 'unavailable' && (error.cause as Error).message === 'aborted',
    );
  });
});
