import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { imagesOf, parseDockerfile, withoutSyntax } from '../../../../src/image/engine/dockerfile.ts';

const images = (text: string, target?: string, args?: Record<string, string>): string[] =>
  imagesOf(parseDockerfile(text, args), target).map((found) => found.image);

describe('the images that a Dockerfile needs', () => {
  it('leaves out scratch, earlier stages and stages that are not reached', () => {
    const text = [
      'FROM golang:1.22 AS build',
      'RUN go build',
      'FROM node:20 AS unused',
      'FROM alpine:3 AS tools',
      'FROM scratch',
      'COPY --from=build /a /a',
      'COPY --chown=1:1 --from=2 /b /b',
      'COPY --from=busybox:1 /c /c',
    ].join('\n');
    assert.deepEqual(images(text).sort(), ['alpine:3', 'busybox:1', 'golang:1.22']);
    assert.deepEqual(images(text, 'UNUSED'), ['node:20']);
    assert.deepEqual(images(text, 'nope'), []);
  });

  it('fills in arguments: given ones, defaults, and those that the engine sets', () => {
    const text = 'ARG TAG=3.19\nARG NAME="alpine" OTHER\nFROM --platform=$BUILDPLATFORM ${NAME}:${TAG}\n';
    assert.deepEqual(imagesOf(parseDockerfile(text), undefined), [{ image: 'alpine:3.19', platform: 'linux/amd64' }]);
    assert.deepEqual(images(text, undefined, { TAG: '3.20' }), ['alpine:3.20']);
    assert.deepEqual(images('ARG A\nFROM ${A:-debian}${B:+no}\n'), ['debian']);
    assert.deepEqual(images('ARG A\nFROM $A\n'), ['$A']);
  });

  it('is not led astray by comments, continued lines, here-documents and mounts', () => {
    const text = [
      '# FROM comment',
      'from \\',
      '  # in between',
      '  debian \\',
      '  as Base',
      'RUN <<EOF',
      'FROM nothing',
      'EOF',
      'RUN --mount=type=bind,from=tools:1,target=/t --network=none cp /t/x /x',
      'RUN echo --from=nobody',
      'FROM base',
    ].join('\r\n');
    assert.deepEqual(images(text), ['debian', 'tools:1']);
  });

  it('knows the escape directive', () => {
    assert.deepEqual(images('# escape=`\nFROM a AS b\nRUN c:\\\nFROM d\n'), ['d']);
  });
});

describe('the syntax directive', () => {
  it('is found only among the directives at the top', () => {
    assert.equal(parseDockerfile('# syntax = docker/dockerfile:1\nFROM a').syntax, 'docker/dockerfile:1');
    assert.equal(parseDockerfile('# escape=`\n#syntax=x\nFROM a').syntax, 'x');
    assert.equal(parseDockerfile('# about\n# syntax=x\nFROM a').syntax, undefined);
  });

  it('can be taken out without moving a line or losing another directive', () => {
    assert.equal(withoutSyntax('# syntax=x\n# escape=`\nFROM a\n'), '# escape=`\n#\nFROM a\n');
    assert.equal(withoutSyntax('FROM a\n# syntax=x\n'), 'FROM a\n# syntax=x\n');
  });
});
