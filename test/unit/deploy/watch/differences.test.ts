import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compareInstances, type Found } from '../../../../src/deploy/watch/differences.ts';
import type { InstanceSpec, RunningInstance } from '../../../../src/domain/instance.ts';
import { DEFAULT_HEALTH } from '../../../../src/domain/process.ts';

function spec(index: number, more: Partial<InstanceSpec> = {}): InstanceSpec {
  return {
    name: `dinp-blog--web--v2--${index}`,
    app: 'blog',
    release: 2,
    service: 'blog',
    process: 'web',
    index,
    image: { repository: 'r/blog', digest: 'sha256:1' },
    command: undefined,
    env: {},
    secrets: {},
    memoryBytes: 1,
    port: { container: 8080, host: 22_000 + index },
    volumes: {},
    health: DEFAULT_HEALTH,
    stopMs: 1,
    ...more,
  };
}

function real(index: number, more: Partial<RunningInstance> = {}): RunningInstance {
  return {
    name: `dinp-blog--web--v2--${index}`,
    app: 'blog',
    release: 2,
    process: 'web',
    index,
    state: 'running',
    exitCode: undefined,
    healthy: undefined,
    startedAt: 1,
    restarts: 0,
    hostPort: 22_000 + index,
    ...more,
  };
}

const live = (...instances: RunningInstance[]): Found[] =>
  instances.map((instance) => ({ instance, onLiveTarget: true }));
const NEVER = () => false;

function texts(specs: InstanceSpec[], found: Found[], lost: (instance: RunningInstance) => boolean = NEVER): string[] {
  return compareInstances(specs, found, lost).map(({ text }) => text);
}

test('what is not there, has ended or has another port is started; what its engine starts again is left to it', () => {
  assert.deepEqual(texts([spec(1), spec(2)], live(real(1), real(2))), []);
  assert.deepEqual(texts([spec(1), spec(2)], live(real(1))), ['start web.2 of v2: it is not there']);
  assert.deepEqual(texts([spec(1)], live(real(1, { state: 'exited', exitCode: 3 }))), [
    'start web.1 of v2: it exited with status 3',
  ]);
  assert.deepEqual(texts([spec(1)], live(real(1, { hostPort: 1 }))), ['start web.1 of v2: it has port 1, not 22001']);
  assert.deepEqual(texts([spec(1)], live(real(1, { state: 'restarting' }))), []);
});

test('what should not run is stopped: other releases, too many, another target, another host', () => {
  assert.deepEqual(texts([spec(1)], live(real(1), real(2))), ['stop web.2 of v2: it should not run']);
  assert.deepEqual(texts([spec(1)], live(real(1), real(1, { name: 'dinp-blog--web--v1--1', release: 1 }))), [
    'stop web.1 of v1: it should not run',
  ]);
  assert.deepEqual(texts([spec(1)], [...live(real(1)), { instance: real(1), onLiveTarget: false }]), [
    'stop web.1 of v2: it should not run',
  ]);
  assert.deepEqual(texts([spec(1, { host: 'b' })], live(real(1, { host: 'b' }), real(1, { host: 'a' }))), [
    'stop web.1 of v2 on a: it should not run',
  ]);
});

test('of a host that does not answer nothing is known: no start, no stop; a move once it is lost', () => {
  const away = real(1, { host: 'a', state: 'unreachable' });
  assert.deepEqual(texts([spec(1, { host: 'a' })], live(away)), []);
  assert.deepEqual(texts([], live(away)), []);
  assert.deepEqual(
    texts([spec(1, { host: 'a' })], live(away), () => true),
    ['move web.1 of v2: its host a does not answer'],
  );
});
