import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { InstanceSpec } from '../../../../src/domain/instance.ts';
import { placementOf, volumeNode } from '../../../../src/run/swarm/swarm-placement.ts';
import type { SwarmNode, SwarmTask } from '../../../../src/run/swarm/swarm-state.ts';

function node(number: number, labels: Record<string, string> = {}, availability = 'active'): SwarmNode {
  return {
    ID: `id${number}`,
    Version: { Index: 1 },
    Spec: { Availability: availability, Labels: labels },
    Description: { Hostname: `n${number}` },
    Status: { State: 'ready', Addr: `10.0.0.${number}` },
  };
}

const on = (NodeID: string) => ({ NodeID }) as SwarmTask;
const spec = (change: Partial<InstanceSpec> = {}) => ({ process: 'web', volumes: {}, ...change }) as InstanceSpec;
const nodes = [node(1, { zone: 'a' }), node(2, { zone: 'a' }), node(3, { zone: 'b' })];
const serverId = 'server1';

test('an instance is kept off the nodes that have its siblings, at first', () => {
  assert.deepEqual(placementOf(spec(), { nodes, siblings: [], serverId }), { constraints: [], first: [] });
  assert.deepEqual(placementOf(spec(), { nodes, siblings: [on('id2')], serverId }), {
    constraints: [],
    first: ['node.id!=id2'],
  });
});

test('where all nodes have one, or the others take none, it goes anywhere', () => {
  const all = [on('id1'), on('id2'), on('id3')];
  assert.deepEqual(placementOf(spec(), { nodes, siblings: all, serverId }).first, []);
  const drained = [node(1), node(2, {}, 'drain')];
  assert.deepEqual(placementOf(spec(), { nodes: drained, siblings: [on('id1')], serverId }).first, []);
});

test('the one host or label of dinp.yml is a constraint; of several any will do', () => {
  const constraints = (...hosts: string[]) =>
    placementOf(spec({ hosts }), { nodes, siblings: [], serverId }).constraints;
  assert.deepEqual(constraints('n2'), ['node.hostname==n2']);
  assert.deepEqual(constraints('zone=a'), ['node.labels.zone==a']);
  assert.deepEqual(constraints('n1', 'zone=b'), ['node.id!=id2']);
  assert.throws(() => constraints('n9'), { code: 'unavailable', message: 'no node of the swarm is n9.' });
});

test('siblings are avoided only where an allowed node is left', () => {
  const placed = (hosts: string[]) => placementOf(spec({ hosts }), { nodes, siblings: [on('id3')], serverId }).first;
  assert.deepEqual(placed(['zone=b']), []);
  assert.deepEqual(placed(['zone=a', 'zone=b']), ['node.id!=id3']);
});

test('an instance with volumes stays where their data is', () => {
  const volumes = { 'dinp-blog--data': '/data' };
  assert.deepEqual(placementOf(spec({ volumes }), { nodes, siblings: [on('id1')], serverId }), {
    constraints: ['node.labels.dinp.volume.dinp-blog--data==server1'],
    first: [],
  });
});

test('new volumes go to the open node with the fewest tasks, a further one to the first', () => {
  const volumes = { 'dinp-blog--data': '/data', 'dinp-blog--more': '/more' };
  const tasks = [on('id1'), on('id1'), on('id3')];
  const fresh = volumeNode(spec({ volumes }), { nodes: [...nodes, node(4, {}, 'drain')], tasks, serverId });
  assert.equal(fresh.node.ID, 'id2');
  assert.deepEqual(fresh.missing, Object.keys(volumes));
  const having = [node(1, { 'dinp.volume.dinp-blog--data': serverId }), node(2)];
  const found = volumeNode(spec({ volumes }), { nodes: having, tasks, serverId });
  assert.equal(found.node.ID, 'id1');
  assert.deepEqual(found.missing, ['dinp-blog--more']);
});

test('volumes on two nodes, or of another server, are refused', () => {
  const volumes = { 'dinp-blog--data': '/data', 'dinp-blog--more': '/more' };
  const of =
    (...having: SwarmNode[]) =>
    () =>
      volumeNode(spec({ volumes }), { nodes: having, tasks: [], serverId });
  const data = { 'dinp.volume.dinp-blog--data': serverId };
  assert.throws(of(node(1, data), node(2, { 'dinp.volume.dinp-blog--more': serverId })), /on several nodes: n1 and n2/);
  assert.throws(of(node(1, { 'dinp.volume.dinp-blog--data': 'other' })), /belongs to another dinp server/);
  assert.throws(of(node(1, {}, 'drain')), { code: 'unavailable' });
});
