import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Service } from 'dockerode';
import {
  currentTask,
  instanceState,
  nodeAddress,
  type SwarmNode,
  type SwarmTask,
} from '../../../../src/run/swarm/swarm-state.ts';

const service = {
  ID: 's1',
  Spec: {
    Labels: {
      'dinp.instance': 'dinp-blog--web--v3--1',
      'dinp.app': 'blog',
      'dinp.release': '3',
      'dinp.process': 'web',
      'dinp.index': '1',
      'dinp.host-port': '22001',
    },
  },
} as unknown as Service;

function node(number: number, change: Partial<SwarmNode['Status']> = {}): SwarmNode {
  return {
    ID: `node${number}`,
    Version: { Index: 1 },
    Spec: { Availability: 'active' },
    Description: { Hostname: `n${number}` },
    Status: { State: 'ready', Addr: `10.0.0.${number}`, ...change },
  };
}

/** A task that was made in a second of the minute; its status is of the second after. */
function task(second: number, state: string, change: Partial<SwarmTask> = {}, status: object = {}): SwarmTask {
  const time = (at: number) => new Date(Date.UTC(2026, 0, 1, 0, 0, at)).toISOString();
  return {
    ID: `t${second}`,
    ServiceID: 's1',
    NodeID: 'node1',
    CreatedAt: time(second),
    DesiredState: 'running',
    ...change,
    Status: { State: state, Timestamp: time(second + 1), ...status },
  };
}

const nodes = [node(1), node(2)];
const second = (at: number) => Date.UTC(2026, 0, 1, 0, 0, at);

test('a running task is an instance at the address of its node', () => {
  const ports = { PortStatus: { Ports: [{ TargetPort: 8080, PublishedPort: 22001 }] } };
  assert.deepEqual(instanceState(service, [task(1, 'running', {}, ports)], nodes), {
    name: 'dinp-blog--web--v3--1',
    app: 'blog',
    release: 3,
    process: 'web',
    index: 1,
    state: 'running',
    exitCode: undefined,
    healthy: undefined,
    startedAt: second(2),
    restarts: 0,
    hostPort: 22001,
    host: 'n1',
    hostAddress: '10.0.0.1',
    exitedAt: undefined,
    problem: undefined,
  });
});

test('one whose node died is where it was started anew, and not restarted', () => {
  const lost = task(1, 'running', { DesiredState: 'shutdown' });
  const found = instanceState(
    service,
    [lost, task(5, 'running', { NodeID: 'node2' })],
    [node(1, { State: 'down' }), node(2)],
  );
  assert.deepEqual([found.state, found.hostAddress, found.restarts], ['running', '10.0.0.2', 0]);
});

test('one whose node is down and that nobody has started elsewhere yet cannot be told of', () => {
  assert.equal(instanceState(service, [task(1, 'running')], [node(1, { State: 'down' })]).state, 'unreachable');
});

test('what is on its way says what it waits for', () => {
  const of = (...tasks: SwarmTask[]) => instanceState(service, tasks, nodes);
  assert.equal(of().problem, 'waits for a node');
  const { NodeID: _, ...homeless } = task(1, 'pending', {}, { Err: 'no suitable node (insufficient memory)' });
  const pending = of(homeless);
  assert.deepEqual([pending.state, pending.hostAddress], ['starting', undefined]);
  assert.equal(pending.problem, 'waits for a node: no suitable node (insufficient memory)');
  assert.equal(of(task(1, 'preparing')).problem, 'is being prepared on n1');
  assert.deepEqual([of(task(1, 'starting')).state, of(task(1, 'starting')).problem], ['starting', undefined]);
});

test('one that ended waits for its restart with the exit status of its last task', () => {
  const failed = task(1, 'failed', { DesiredState: 'shutdown' }, { ContainerStatus: { ExitCode: 3 } });
  const found = instanceState(service, [failed, task(3, 'ready', { DesiredState: 'ready' })], nodes);
  assert.deepEqual(
    [found.state, found.exitCode, found.restarts, found.startedAt, found.exitedAt],
    ['restarting', 3, 1, second(1), second(2)],
  );
  const again = instanceState(service, [failed, task(3, 'running')], nodes);
  assert.deepEqual([again.state, again.exitCode, again.restarts], ['running', undefined, 1]);
});

test('a node that cannot make the container says why', () => {
  const found = instanceState(service, [task(1, 'rejected', {}, { Err: 'No such image' })], nodes);
  assert.deepEqual([found.state, found.exitCode, found.problem], ['exited', undefined, 'No such image']);
});

test('a restart is no failure', () => {
  const old = task(1, 'running', { DesiredState: 'shutdown' });
  assert.equal(instanceState(service, [old, task(9, 'ready', { DesiredState: 'ready' })], nodes).state, 'starting');
  const stopped = task(1, 'shutdown', { DesiredState: 'shutdown' });
  const found = instanceState(service, [stopped, task(9, 'running')], nodes);
  assert.deepEqual([found.state, found.restarts], ['running', 0]);
});

test('of tasks that should run the newest counts, and else the newest of all', () => {
  const running = task(1, 'running');
  assert.equal(currentTask([running, task(5, 'failed', { DesiredState: 'shutdown' })])?.ID, 't1');
  const over = [task(1, 'failed', { DesiredState: 'shutdown' }), task(5, 'failed', { DesiredState: 'shutdown' })];
  assert.equal(currentTask(over)?.ID, 't5');
  assert.equal(currentTask([]), undefined);
});

test("a node's address is the one that others reach it at", () => {
  assert.equal(nodeAddress(node(1)), '10.0.0.1');
  assert.equal(nodeAddress({ ...node(1, { Addr: '0.0.0.0' }), ManagerStatus: { Addr: '10.0.0.9:2377' } }), '10.0.0.9');
  assert.equal(
    nodeAddress({ ...node(1, { Addr: '127.0.0.1' }), ManagerStatus: { Addr: '10.0.0.9:2377' } }),
    '10.0.0.9',
  );
  assert.equal(nodeAddress({ ...node(1, { Addr: '0.0.0.0' }), ManagerStatus: { Addr: '[fd00::1]:2377' } }), 'fd00::1');
  assert.equal(nodeAddress(node(1, { Addr: '127.0.0.1' })), '127.0.0.1');
  assert.equal(nodeAddress(node(1, { Addr: '' })), undefined);
});
