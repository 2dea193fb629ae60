import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { explainBuild, explainPull, explainPush } from '../../../../src/image/engine/build-errors.ts';

const about = (step: string, lines = 'last line') => ({
  dockerfile: 'Dockerfile',
  ignored: false,
  failure: { step, lines },
});

describe('what an engine says about a failed build', () => {
  it('is told as the command and its status, in the words of every builder', () => {
    const said = [
      'failed to solve: process "/bin/sh -c make all" did not complete successfully: exit code: 2',
      'executor failed running [/bin/sh -c make all]: exit code: 2',
      "The command '/bin/sh -c make all' returned a non-zero code: 2",
    ];
    for (const text of said) {
      const error = explainBuild(text, about('[2/2] RUN make all'));
      assert.deepEqual(
        [error.code, error.message, error.detail],
        ['build-failed', 'RUN make all ended with exit status 2.', 'last line'],
      );
    }
    assert.match(
      explainBuild('executor failed running [/bin/sh -c x]: exit code: 137', about('')).hint ?? '',
      /memory/,
    );
  });

  it('names the file that a COPY misses, in the words of every builder', () => {
    const said = [
      'failed to compute cache key: "/target/app.jar" not found: not found',
      'failed to compute cache key: failed to calculate checksum of ref abc::def: "/target/app.jar": not found',
      'failed to solve: failed to compute cache key: failed to calculate checksum of ref 1a2b::xyz: "/target/app.jar": not found',
      'failed to compute cache key: failed to walk /var/lib/docker/tmp/buildkit-mount1/target/app.jar: lstat /var/lib/docker/tmp/buildkit-mount1/target/app.jar: no such file or directory',
      'COPY failed: file not found in build context or excluded by .dockerignore: stat target/app.jar: file does not exist',
      'COPY failed: stat target/app.jar: file does not exist',
    ];
    for (const text of said) {
      const error = explainBuild(text, about('[2/2] COPY target/app.jar /'));
      assert.equal(error.message, 'COPY target/app.jar /: target/app.jar is not in the build context.', text);
    }
  });

  it('tells a full disk, an unreadable Dockerfile and a missing stage', () => {
    assert.match(explainBuild('write /x: no space left on device', about('')).message, /disk .* is full/);
    assert.equal(
      explainBuild(
        'failed to solve with frontend dockerfile.v0: failed to create LLB definition: dockerfile parse error line 3: unknown instruction: X',
        about(''),
      ).message,
      'Dockerfile cannot be read: dockerfile parse error line 3: unknown instruction: X',
    );
    assert.match(
      explainBuild('failed to solve: target stage "x" could not be found', about('')).message,
      /has no stage x/,
    );
  });

  it('keeps what nobody foresaw, without escape sequences', () => {
    assert.equal(
      explainBuild('something \x1b[31mnew', about('')).message,
      'The build of Dockerfile failed: something ?[31mnew',
    );
  });
});

describe('why an image could not be fetched or pushed', () => {
  it('is told apart: no network, no such image, no password', () => {
    const pull = (text: string): string => explainPull('alpine:3', text, 'Dockerfile').message;
    assert.match(
      pull('Get "https://registry-1.docker.io/v2/": dial tcp: lookup registry-1.docker.io: no such host'),
      /does not answer/,
    );
    assert.match(pull('manifest for alpine:3 not found: manifest unknown'), /does not exist there/);
    assert.match(
      pull('pull access denied for x, repository does not exist or may require docker login'),
      /without a password/,
    );
    assert.match(explainPush('r', 'received unexpected HTTP status: 500 Internal Server Error').hint ?? '', /disk/);
    assert.equal(explainPush('r', 'unauthorized: authentication required').code, 'denied');
    assert.equal(
      explainPush('r', 'Get "https://r/v2/": http: server gave HTTP response to HTTPS client').code,
      'config',
    );
  });
});
