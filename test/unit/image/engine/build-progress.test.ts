import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import protobuf from 'protobufjs';
import { BuildKitProgress, ClassicProgress } from '../../../../src/image/engine/build-progress.ts';
import { BuildOutput } from '../../../../src/image/engine/output.ts';

const ID = `sha256:${'ab'.repeat(32)}`;

/** Written from BuildKit's control.proto by itself, with fields that the reader does not know. */
const Status = protobuf
  .parse(`
  syntax = "proto3";
  message Timestamp { int64 seconds = 1; int32 nanos = 2; }
  message Vertex { string digest = 1; repeated string inputs = 2; string name = 3; bool cached = 4; Timestamp started = 5; Timestamp completed = 6; string error = 7; }
  message VertexStatus { string ID = 1; string vertex = 2; string name = 3; int64 current = 4; }
  message VertexLog { string vertex = 1; Timestamp timestamp = 2; int64 stream = 3; bytes msg = 4; }
  message VertexWarning { string vertex = 1; int64 level = 2; bytes short = 3; }
  message StatusResponse { repeated Vertex vertexes = 1; repeated VertexStatus statuses = 2; repeated VertexLog logs = 3; repeated VertexWarning warnings = 4; }
`)
  .root.lookupType('StatusResponse');

const trace = (status: object) => ({
  id: 'moby.buildkit.trace',
  aux: Buffer.from(Status.encode(Status.fromObject(status)).finish()).toString('base64'),
});
const at = { seconds: 1_700_000_000, nanos: 5 };
const log = (vertex: string, text: string) => ({ vertex, timestamp: at, stream: 1, msg: Buffer.from(text) });

function collect(): { lines: string[]; output: BuildOutput } {
  const lines: string[] = [];
  return { lines, output: new BuildOutput((text) => lines.push(text.replace(/\n$/, ''))) };
}

describe('the progress of BuildKit', () => {
  it('is one heading a step, its lines, and the image at the end', () => {
    const { lines, output } = collect();
    const progress = new BuildKitProgress(output);
    const run = { digest: 'r', inputs: ['f'], name: '[2/2] RUN make', started: at };
    progress.take(
      trace({ vertexes: [{ digest: 'i', name: '[internal] load build definition', started: at, completed: at }] }),
    );
    progress.take(
      trace({ vertexes: [{ digest: 'f', name: '[1/2] FROM x', started: at, completed: at, cached: true }, run] }),
    );
    progress.take(
      trace({ vertexes: [run], logs: [log('r', 'half')], statuses: [{ ID: 's', vertex: 'r', current: 5 }] }),
    );
    progress.take(
      trace({ logs: [log('r', ' line\nno end')], warnings: [{ vertex: 'r', level: 1, short: Buffer.from('old') }] }),
    );
    progress.take(trace({ vertexes: [{ ...run, completed: at }] }));
    assert.equal(progress.imageId, undefined);
    progress.take({ id: 'moby.image.id', aux: { ID } });
    progress.finish();
    assert.deepEqual(lines, ['[1/2] FROM x (cached)', '[2/2] RUN make', 'half line', 'warning: old', 'no end']);
    assert.equal(progress.imageId, ID);
    assert.equal(progress.failure, undefined);
  });

  it('tells lines of steps that run side by side apart, and keeps those of the one that failed', () => {
    const { lines, output } = collect();
    const progress = new BuildKitProgress(output);
    const a = { digest: 'a', name: '[a 1/1] RUN a', started: at };
    const b = { digest: 'b', name: '[b 1/1] RUN b', started: at };
    progress.take(trace({ vertexes: [a, b], logs: [log('a', 'from a\n'), log('b', 'from b\n')] }));
    progress.take(
      trace({
        vertexes: [
          { ...b, completed: at, error: 'context canceled' },
          { ...a, completed: at, error: 'exit code: 2' },
        ],
      }),
    );
    progress.finish();
    assert.deepEqual(lines, ['[a 1/1] RUN a', '[b 1/1] RUN b', '[a 1/1] from a', 'from b']);
    assert.deepEqual(progress.failure, { step: '[a 1/1] RUN a', lines: 'from a' });
  });

  it('names the step that came from the cache where that is told after another step began', () => {
    const { lines, output } = collect();
    const progress = new BuildKitProgress(output);
    const copy = { digest: 'c', name: '[2/3] COPY a b', started: at };
    progress.take(trace({ vertexes: [copy] }));
    progress.take(trace({ vertexes: [{ digest: 'r', name: '[3/3] RUN make', started: at }] }));
    progress.take(trace({ vertexes: [{ ...copy, cached: true, completed: at }] }));
    progress.take(trace({ vertexes: [{ ...copy, cached: true, completed: at }] }));
    assert.deepEqual(lines, ['[2/3] COPY a b', '[3/3] RUN make', '[2/3] (cached)']);
  });

  it('throws for what is no trace', () => {
    const progress = new BuildKitProgress(collect().output);
    assert.throws(() => progress.take({ id: 'moby.buildkit.trace', aux: '////' }), {
      name: 'DinpError',
      code: 'unavailable',
    });
  });
});

describe('the progress of the classic builder', () => {
  const play = (records: string[]): { lines: string[]; progress: ClassicProgress } => {
    const { lines, output } = collect();
    const progress = new ClassicProgress(output, 1);
    for (const stream of records) progress.take({ stream });
    return { lines, progress };
  };

  it('is in the same form, without the steps that we added', () => {
    const records = [
      'Step 1/3 : FROM x\n',
      ' ---> 0123456789ab\n',
      'Step 2/3 : RUN y\n',
      ' ---> Running in 0123456789ab\n',
      'Successfully built nothing\nno end',
    ];
    const { lines, progress } = play([
      ...records,
      'Removing intermediate container 0123456789ab\n',
      ' ---> 0123456789ab\n',
      'Step 3/3 : LABEL a=b\n',
    ]);
    assert.deepEqual(lines, ['[1/2] FROM x', '[2/2] RUN y', 'Successfully built nothing', 'no end']);
    progress.take({ aux: { ID } });
    assert.equal(progress.imageId, undefined);
    progress.take({ stream: 'Successfully built abababababab\n' });
    assert.equal(progress.imageId, ID);
  });

  it('does not take an image of an earlier stage for the last one', () => {
    const { progress } = play(['Step 1/3 : FROM x\n']);
    progress.take({ aux: { ID } });
    progress.finish();
    assert.equal(progress.imageId, undefined);
  });
});
