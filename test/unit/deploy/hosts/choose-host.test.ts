import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Candidate, chooseHost, mayRunOn } from '../../../../src/deploy/hosts/choose-host.ts';
import type { RunHost } from '../../../../src/domain/run-host.ts';
import { exampleSpec } from '../../unit/example-spec.ts';

const MIB = 1024 ** 2;

function candidate(name: string, mebibytes: number, instances: Record<string, number> = {}): Candidate {
  const host = { name, labels: { zone: name.slice(-1) } as Record<string, string> } as RunHost;
  const counts = new Map(Object.entries(instances));
  return { host, memoryAvailable: mebibytes * MIB, ports: new Set(), instances: counts };
}

/** Names of the hosts that so many more instances get. */
function spread(count: number, candidates: Candidate[]): string[] {
  return Array.from({ length: count }, (_, i) => chooseHost(exampleSpec({ index: i + 1 }), candidates).name);
}

test('a first instance goes where most memory is free', () => {
  assert.deepEqual(spread(1, [candidate('a', 900), candidate('b', 2000), candidate('c', 1000)]), ['b']);
});

test('instances of one process and release are spread, whatever memory is free', () => {
  const hosts = [candidate('a', 64_000), candidate('b', 2000), candidate('c', 3000)];
  assert.deepEqual(spread(6, hosts).sort(), ['a', 'a', 'b', 'b', 'c', 'c']);
});

test('what runs of the same release counts, what runs of an older one or of another app does not', () => {
  const counted = [candidate('a', 4000, { 'blog web 3': 1 }), candidate('b', 2000)];
  assert.deepEqual(spread(1, counted), ['b']);
  const other = [candidate('a', 4000, { 'blog web 2': 5, 'shop web 3': 5 }), candidate('b', 2000)];
  assert.deepEqual(spread(1, other), ['a']);
});

test('a host without room for it is the last choice, and the best of those where none has room', () => {
  assert.deepEqual(spread(2, [candidate('a', 100), candidate('b', 4000)]), ['b', 'b']);
  assert.deepEqual(spread(2, [candidate('a', 100), candidate('b', 50)]), ['a', 'b']);
});

test('each instance takes its memory from what is free', () => {
  // 256 MiB each: after two of them b has no room any more.
  assert.deepEqual(spread(5, [candidate('a', 4000), candidate('b', 600)]), ['a', 'b', 'a', 'b', 'a']);
});

test('equal hosts are taken in the order of their names; without hosts there is none', () => {
  assert.deepEqual(spread(3, [candidate('c', 1000), candidate('a', 1000), candidate('b', 1000)]), ['a', 'b', 'c']);
  assert.throws(() => chooseHost(exampleSpec(), []), { code: 'unavailable' });
});

test('dinp.yml names hosts or labels, any of which will do', () => {
  const { host } = candidate('web-a', 1);
  for (const wishes of [[], ['web-a'], ['zone=a'], ['other', 'zone=a'], ['zone=b', 'web-a']])
    assert.equal(mayRunOn(host, wishes), true, wishes.join());
  for (const wishes of [['web-b'], ['zone=b'], ['zone'], ['a=zone'], ['web-a=']])
    assert.equal(mayRunOn(host, wishes), false, wishes.join());
});

test('a host that builds runs only what names it', () => {
  const { host } = candidate('b1', 1);
  host.labels.role = 'build';
  assert.equal(mayRunOn(host, []), false);
  for (const wishes of [['b1'], ['role=build']]) assert.equal(mayRunOn(host, wishes), true, wishes.join());
});
