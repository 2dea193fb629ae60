import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { InspectedImage } from '../../../src/image/registry/inspect-image.ts';
import { Terminal } from './terminal.ts';

const DIGEST = `sha256:${'ab'.repeat(32)}`;
const layer = (fill: string, size: number, holds: InspectedImage['layers'][number]['holds'], createdBy: string) => ({
  digest: `sha256:${fill.repeat(64)}`,
  size,
  mediaType: 'application/vnd.docker.image.rootfs.diff.tar.gzip',
  holds,
  createdBy,
});

const IMAGE: InspectedImage = {
  digest: DIGEST,
  mediaType: 'application/vnd.docker.distribution.manifest.v2+json',
  platform: 'linux/amd64',
  key: 'k'.repeat(64),
  created: '2001-01-01T00:00:00Z',
  labels: {
    'org.opencontainers.image.base.name': 'base/node:1',
    'org.opencontainers.image.base.digest': 'sha256:11',
    'org.opencontainers.image.revision': 'c'.repeat(40),
  },
  layers: [
    layer('1', 40_123_456, 'base', 'dinp bases build node'),
    layer('2', 8_000_000, 'dependencies', 'dinp dependencies'),
    layer('3', 1_234, 'application', 'dinp application'),
  ],
};

test('images inspect shows what each layer holds and whether it is new', async (t) => {
  const terminal = new Terminal(t);
  terminal.deployed('blog');
  terminal.inspected.set(DIGEST, IMAGE);
  assert.equal(
    (await terminal.type('images blog')).stdout,
    `Image:        127.0.0.1:5000/blog@${DIGEST}
Release:      v1
Platform:     linux/amd64
Base:         base/node:1@sha256:11
Commit:       ${'c'.repeat(40)}
Content key:  ${'k'.repeat(64)}

LAYER                   SIZE  HOLDS         REUSED  MADE BY
sha256:111111111111  40.1 MB  base          new     dinp bases build node
sha256:222222222222   8.0 MB  dependencies  new     dinp dependencies
sha256:333333333333  0.00 MB  application   new     dinp application
`,
  );
  const [json] = JSON.parse((await terminal.type('images inspect blog --json')).stdout);
  assert.deepEqual(
    json.layers.map(({ holds, reused }: { holds: string; reused: boolean }) => [holds, reused]),
    [
      ['base', false],
      ['dependencies', false],
      ['application', false],
    ],
  );
});

test('layers that the release before has too are said to be reused', async (t) => {
  const terminal = new Terminal(t);
  terminal.release(terminal.deployed('blog'));
  terminal.inspected.set(DIGEST, IMAGE);
  const { stdout } = await terminal.type('images inspect blog');
  assert.match(stdout, /^sha256:2{12} +8\.0 MB +dependencies +as in v1 /m);
});

test('an image that the registry lost is told with what to do', async (t) => {
  const terminal = new Terminal(t);
  terminal.deployed('blog');
  const { status, stderr } = await terminal.type('images inspect blog');
  assert.equal(status, 1);
  assert.match(stderr, /the registry does not have 127\.0\.0\.1:5000\/blog@sha256:(?:ab)+ any more/);
});
