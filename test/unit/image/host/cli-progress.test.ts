import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BuildOutput } from '../../../../src/image/engine/output.ts';
import { cliProgress } from '../../../../src/image/host/cli-progress.ts';

/** What people read of the CLI's lines, and what is known of a failure. */
function read(builder: 'buildkit' | 'classic', text: string) {
  let shown = '';
  const progress = cliProgress(builder, new BuildOutput((line) => (shown += line)), 2);
  for (const line of text.split('\n')) progress.line(line);
  progress.finish();
  return { shown, said: progress.said, failure: progress.failure };
}

test('BuildKit: steps, their output, and what comes from the cache', () => {
  const { shown, failure } = read(
    'buildkit',
    `#1 [internal] load remote build context
#1 sha256:1185810d43ba096cf1370cc1d7f2cdeaba72c3875e2ed73ba5113e5a2ef33116
#1 DONE 0.0s

#2 copy /context /
#2 DONE 0.3s

#4 [stage-1 1/3] FROM 127.0.0.1:5000/base:1
#4 sha256:ddc6ccdbc0f680d03cf9c2d572db766949fd503a4f2f49307c2738f24dc3b5be
#4 CACHED

#5 [a 2/2] RUN make
#5 0.285 cc main.c
#5 ...

#6 [stage-1 2/3] RUN echo side by side
#6 0.100 side by side
#6 DONE 0.1s

#5 [a 2/2] RUN make
#5 1.285 #9 1.0 is output as well
#5 1.286
#5 DONE 1.4s

#8 exporting to image
#8 exporting layers 0.1s done
#8 DONE 0.2s`,
  );
  assert.equal(
    shown,
    `[stage-1 1/3] FROM 127.0.0.1:5000/base:1
[stage-1 1/3] (cached)
[a 2/2] RUN make
cc main.c
[stage-1 2/3] RUN echo side by side
side by side
[a 2/2] #9 1.0 is output as well
[a 2/2]
`,
  );
  assert.equal(failure, undefined);
});

test('BuildKit: a step that fails, as the CLI of before and of after buildx says it', () => {
  const step = '#7 [3/3] RUN echo hi; exit 3\n#7 0.383 hi\n';
  const old = 'executor failed running [/bin/sh -c echo hi; exit 3]: exit code: 3';
  const before = read('buildkit', `${step}#7 ERROR: ${old}\n------\n > [3/3] RUN echo hi; exit 3:\n------\n${old}`);
  assert.deepEqual(before.failure, { step: '[3/3] RUN echo hi; exit 3', lines: 'hi' });
  assert.equal(before.said, old);
  const now = 'process "/bin/sh -c echo hi; exit 3" did not complete successfully: exit code: 3';
  const after = read(
    'buildkit',
    `${step}#7 ERROR: ${now}\n------\n > [3/3] RUN echo hi; exit 3:\n0.383 hi\n------\nDockerfile:3\n--------------------\n   1 |     FROM x\n   3 | >>> RUN echo hi; exit 3\n--------------------\nERROR: failed to solve: ${now}\n/bin/rm: cannot remove it`,
  );
  assert.deepEqual(after.failure, before.failure);
  assert.equal(after.said, `failed to solve: ${now}`);
});

test('BuildKit: an error that belongs to no step', () => {
  const parse =
    'failed to solve with frontend dockerfile.v0: failed to create LLB definition: dockerfile parse error line 1';
  assert.equal(read('buildkit', `#2 copy /context /\n#2 DONE 0.3s\n${parse}`).said, parse);
  assert.equal(read('buildkit', 'Cannot connect to the Docker daemon').said, 'Cannot connect to the Docker daemon');
});

test('the classic builder: its lines without those of the CLI', () => {
  const { shown, said, failure } = read(
    'classic',
    `Sending build context to Docker daemon  10.24kB
Step 1/4 : FROM 127.0.0.1:5000/base:1
 ---> 40a2a2604dc7
Step 2/4 : RUN echo hi; exit 4
 ---> Running in 4749fe558327
hi
Removing intermediate container 4749fe558327
The command '/bin/sh -c echo hi; exit 4' returned a non-zero code: 4`,
  );
  assert.equal(shown, '[1/2] FROM 127.0.0.1:5000/base:1\n[2/2] RUN echo hi; exit 4\nhi\n');
  assert.equal(said, "The command '/bin/sh -c echo hi; exit 4' returned a non-zero code: 4");
  assert.deepEqual(failure, { step: '[2/2] RUN echo hi; exit 4', lines: 'hi' });
});
