import type { Service } from 'dockerode';
import type { RunningInstance } from '../../domain/instance.ts';
import { LABEL } from '../docker/docker-container.ts';
import { SERVICE_LABEL } from './swarm-service.ts';

/** What the API says of one task, as far as we read it (Docker Engine API, "Task"). */
export interface SwarmTask {
  ID: string;
  ServiceID: string;
  /** Absent until it is assigned. */
  NodeID?: string;
  CreatedAt: string;
  DesiredState: string;
  Status: {
    State: string;
    Timestamp: string;
    /** What keeps it from going on, or why it ended. */
    Err?: string;
    ContainerStatus?: { ContainerID?: string; ExitCode?: number };
    PortStatus?: { Ports?: { TargetPort?: number; PublishedPort?: number }[] };
  };
}

/** What the API says of one node, as far as we read it (Docker Engine API, "Node"). */
export interface SwarmNode {
  ID: string;
  Version: { Index: number };
  Spec: { Name?: string; Role?: string; Availability: string; Labels?: Record<string, string> };
  Description: { Hostname: string };
  Status: { State: string; Addr?: string };
  /** `10.0.0.1:2377` of a manager. */
  ManagerStatus?: { Addr?: string };
}

const WAITING = ['new', 'pending', 'allocated'];
const COMING = [...WAITING, 'assigned', 'accepted', 'preparing', 'ready', 'starting'];
/** Ended by itself, not because somebody wanted it to. */
const FAILED = ['failed', 'rejected', 'complete'];

/** Where other machines reach a node; undefined where it has not said. */
export function nodeAddress(node: SwarmNode): string | undefined {
  const own = node.Status.Addr || undefined;
  // A manager does not see itself from outside.
  const manager = /^\[?(.+?)\]?:\d+$/.exec(node.ManagerStatus?.Addr ?? '')?.[1];
  const known = [own, manager].filter((address) => address !== undefined && address !== '0.0.0.0' && address !== '::');
  return known.find((address) => address !== '127.0.0.1') ?? known[0];
}

/** Whether a node takes new tasks. */
export function isOpen(node: SwarmNode): boolean {
  return node.Status.State === 'ready' && node.Spec.Availability === 'active';
}

/** Whether a node's manager has given it up: what it says of its tasks is old. */
export function isDown(node: SwarmNode | undefined): boolean {
  return node === undefined || node.Status.State === 'down' || node.Status.State === 'disconnected';
}

/** The task that stands for the service now: of those that should run, else of all, the newest. */
export function currentTask(tasks: readonly SwarmTask[]): SwarmTask | undefined {
  const newest = [...tasks].sort((a, b) => Date.parse(b.CreatedAt) - Date.parse(a.CreatedAt));
  return newest.find((task) => task.DesiredState === 'running' || task.DesiredState === 'ready') ?? newest[0];
}

/** Where a task is on its way: no node has taken it yet, it waits for its image or its start, it runs, it has ended. */
export function phaseOf(task: SwarmTask): 'waiting' | 'coming' | 'running' | 'ended' {
  const { State: state } = task.Status;
  if (WAITING.includes(state)) return 'waiting';
  if (COMING.includes(state)) return 'coming';
  return state === 'running' ? 'running' : 'ended';
}

/** An instance as its service, the service's tasks (those that the manager remembers) and the nodes show it. */
export function instanceState(
  service: Service,
  tasks: readonly SwarmTask[],
  nodes: readonly SwarmNode[],
): RunningInstance {
  const labels = service.Spec?.Labels ?? {};
  const task = currentTask(tasks);
  const node = nodes.find(({ ID }) => ID === task?.NodeID);
  const failures = tasks.filter((each) => FAILED.includes(each.Status.State)).sort(byEnd);
  const failed = failures.at(-1);
  const state = stateOf(task, node, failed);
  const stopped = state === 'exited' || state === 'restarting';
  return {
    name: labels[SERVICE_LABEL.instance] ?? '',
    app: labels[LABEL.app] ?? '',
    release: Number(labels[LABEL.release]),
    process: labels[LABEL.process] ?? '',
    index: Number(labels[LABEL.index]),
    state,
    exitCode: stopped ? exitCode(failed) : undefined,
    healthy: state === 'running' && SERVICE_LABEL.checked in labels ? true : undefined,
    startedAt: startedAt(state, task, failed),
    // As many as the manager remembers.
    restarts: failures.filter((each) => each !== task).length,
    hostPort: hostPort(labels, task),
    host: node?.Description.Hostname,
    hostAddress: node && nodeAddress(node),
    exitedAt: failed && Date.parse(failed.Status.Timestamp),
    problem: problemOf(state, task, node, failed),
  };
}

function stateOf(
  task: SwarmTask | undefined,
  node: SwarmNode | undefined,
  failed: SwarmTask | undefined,
): RunningInstance['state'] {
  if (task === undefined) return 'starting';
  const phase = phaseOf(task);
  if (phase === 'ended') return 'exited';
  if (phase === 'running') return isDown(node) ? 'unreachable' : 'running';
  // The pause before the next try after a failure.
  return task.DesiredState === 'ready' && failed !== undefined ? 'restarting' : 'starting';
}

function problemOf(
  state: RunningInstance['state'],
  task: SwarmTask | undefined,
  node: SwarmNode | undefined,
  failed: SwarmTask | undefined,
): string | undefined {
  if (state === 'exited' || state === 'restarting') {
    return failed?.Status.State === 'rejected' ? failed.Status.Err : undefined;
  }
  if (state !== 'starting') return undefined;
  if (task === undefined || phaseOf(task) === 'waiting') {
    const why = task?.Status.Err;
    return `waits for a node${why === undefined || why === '' ? '' : `: ${why}`}`;
  }
  if (task.Status.State === 'starting') return undefined;
  return `is being prepared on ${node?.Description.Hostname ?? 'its node'}`;
}

function startedAt(
  state: RunningInstance['state'],
  task: SwarmTask | undefined,
  failed: SwarmTask | undefined,
): number | undefined {
  if (state === 'running') return Date.parse(task!.Status.Timestamp);
  return (state === 'exited' || state === 'restarting') && failed ? Date.parse(failed.CreatedAt) : undefined;
}

/** The manager has no status of a container that never was. */
function exitCode(failed: SwarmTask | undefined): number | undefined {
  if (failed === undefined || failed.Status.State === 'rejected') return undefined;
  return failed.Status.ContainerStatus?.ExitCode;
}

function hostPort(labels: Record<string, string>, task: SwarmTask | undefined): number | undefined {
  const published = task?.Status.PortStatus?.Ports?.[0]?.PublishedPort;
  const wanted = Number(labels[LABEL.hostPort]);
  return published ?? (Number.isInteger(wanted) ? wanted : undefined);
}

function byEnd(a: SwarmTask, b: SwarmTask): number {
  return Date.parse(a.Status.Timestamp) - Date.parse(b.Status.Timestamp);
}
