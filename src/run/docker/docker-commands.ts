import { readFile } from 'node:fs/promises';
import type { Duplex } from 'node:stream';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import type Docker from 'dockerode';
import type { Container, ContainerCreateOptions } from 'dockerode';
import { DinpError } from '../../domain/errors.ts';
import type { InstanceSpec } from '../../domain/instance.ts';
import { canceled } from '../canceled.ts';
import type { ExecStreams } from '../target.ts';
import { type OwnContainers, openStream, startError, WRITE_TIMEOUT_MS } from './docker-engine.ts';
import { engineError, statusOf } from './docker-errors.ts';
import { pump } from './docker-streams.ts';

/** How long a one-off command may take to end after it was canceled. */
const CANCEL_GRACE_MS = 5_000;

/** Runs a command in a running container. Resolves to its exit status; canceled, it is sent SIGTERM. */
export async function execInside(
  containers: OwnContainers,
  instance: string,
  command: string[],
  streams: ExecStreams,
): Promise<number> {
  const { Id: id } = await containers.get(instance);
  return await execInContainer(containers.docker, { id, name: instance }, command, streams);
}

/** The same in a container by id. @param container.name for people */
export async function execInContainer(
  docker: Docker,
  { id, name: instance }: { id: string; name: string },
  command: string[],
  streams: ExecStreams,
): Promise<number> {
  const stdin = streams.stdin !== undefined;
  let exec: Docker.Exec | undefined;
  try {
    if (streams.signal.aborted) throw canceled(streams.signal);
    exec = await docker.getContainer(id).exec({
      Cmd: command,
      AttachStdin: stdin,
      AttachStdout: true,
      AttachStderr: true,
      abortSignal: AbortSignal.timeout(WRITE_TIMEOUT_MS),
    });
    const socket = await exec.start({ hijack: true, stdin });
    await pump(socket, streams);
    return await execStatus(exec, streams.signal);
  } catch (error) {
    if (streams.signal.aborted) {
      if (exec !== undefined) await killInside(exec, id);
      throw canceled(streams.signal, error);
    }
    if (statusOf(error) === 409) throw new DinpError('refused', `${instance} is not running.`, { cause: error });
    throw engineError(error, 'start-failed', `run a command in ${instance}`);
  }
}

/** The engine records the status a moment after the output has ended. */
export async function execStatus(exec: Docker.Exec, signal: AbortSignal): Promise<number> {
  for (;;) {
    const { Running: running, ExitCode: status } = await exec.inspect();
    if (!running && status !== null) return status;
    await sleep(20, undefined, { signal });
  }
}

/**
 * The engine cannot end a command inside a container: signals it by its process id, if the engine runs on this
 * machine and the process really is in that container. Else it ends with its container.
 */
async function killInside(exec: Docker.Exec, containerId: string): Promise<void> {
  try {
    // The type lacks Pid.
    const { Running: running, Pid: pid } = (await exec.inspect()) as Docker.ExecInspectInfo & { Pid: number };
    if (!running || pid <= 1) return;
    if ((await readFile(`/proc/${pid}/cgroup`, 'utf8')).includes(containerId)) process.kill(pid, 'SIGTERM');
  } catch {
    // It has ended meanwhile, or is not ours to signal.
  }
}

/** Runs a container to its end and removes it, whatever happens. Resolves to its exit status. */
export async function runToEnd(
  containers: OwnContainers,
  options: ContainerCreateOptions,
  spec: InstanceSpec,
  streams: ExecStreams,
): Promise<number> {
  const { signal } = streams;
  const container = await containers.create(options, spec);
  try {
    if (signal.aborted) throw canceled(signal);
    // Attached and waited for before it starts: no byte of output and no exit status can be missed.
    const socket = await container.attach({
      hijack: true,
      stream: true,
      stdin: streams.stdin !== undefined,
      stdout: true,
      stderr: true,
    });
    const exit = await watchExit(containers.docker, container);
    await container.start({ abortSignal: AbortSignal.timeout(WRITE_TIMEOUT_MS) });
    await pump(socket as Duplex, streams);
    return await exit.status;
  } catch (error) {
    if (!signal.aborted) throw startError(error, spec);
    await containers.stop(container.id, Math.min(spec.stopMs, CANCEL_GRACE_MS)).catch(() => undefined);
    throw canceled(signal, error);
  } finally {
    await containers.discard(container.id).catch(() => undefined);
  }
}

/** Resolves once the engine watches for the exit of a container; the status comes when it has exited. */
async function watchExit(docker: Docker, container: Container): Promise<{ status: Promise<number> }> {
  const body = await openStream(docker, 'POST', `/containers/${container.id}/wait?condition=next-exit&`);
  const status = text(body).then((json) => (JSON.parse(json) as { StatusCode: number }).StatusCode);
  // Where the start fails nobody awaits it.
  status.catch(() => undefined);
  return { status };
}
