import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Service } from 'dockerode';
import { DinpError } from '../../domain/errors.ts';
import type { ImageRef } from '../../domain/image-ref.ts';
import type { InstanceSpec, RunningInstance } from '../../domain/instance.ts';
import { canceled } from '../canceled.ts';
import { execInContainer } from '../docker/docker-commands.ts';
import { engineVolumeName, graceSeconds } from '../docker/docker-container.ts';
import { noInstance } from '../docker/docker-engine.ts';
import type { RegistryLogin } from '../docker/docker-image.ts';
import { OwnVolumes } from '../docker/docker-volumes.ts';
import type { Host } from '../host.ts';
import { parseListeners } from '../listeners.ts';
import type { ExecStreams, Listener, LogLine, LogOptions, Target } from '../target.ts';
import { readLogs } from './swarm-logs.ts';
import { type ManagerEngine, type ServiceAuth, SwarmManagers } from './swarm-managers.ts';
import { notStarted, runService } from './swarm-once.ts';
import { type Placement, placementOf, volumeLabel, volumeNode } from './swarm-placement.ts';
import { type InstanceService, instanceService, isMadeOf, oneOffService, SERVICE_LABEL } from './swarm-service.ts';
import {
  currentTask,
  instanceState,
  isDown,
  nodeAddress,
  phaseOf,
  type SwarmNode,
  type SwarmTask,
} from './swarm-state.ts';

export interface SwarmTargetOptions {
  /** Engines of managers; the first that answers is asked. */
  managers: ManagerEngine[];
  /** Tells servers that share a swarm apart. */
  serverId: string;
  /**
   * An image under the name by which all nodes can pull it, and the login for that.
   * @param nodes addresses of the nodes, as far as they are known
   * @throws DinpError unavailable, config where there is no such name
   */
  imageFor(image: ImageRef, nodes: string[]): Promise<{ image: ImageRef; login: RegistryLogin | undefined }>;
  /** How programs are run on a node, where this server can: commands in instances and removed volumes need that. */
  machineOf(node: { name: string; address: string | undefined }): { machine: Host; docker: string } | undefined;
}

/** A node that could take it is found at once, or there is none. */
const PLACE_TIMEOUT_MS = 20_000;
const PULL_TIMEOUT_MS = 10 * 60_000;
/** What stopping and removing may take beyond the grace period. */
const STOP_MARGIN_MS = 30_000;
const FIRST_POLL_MS = 50;
const LAST_POLL_MS = 500;
const NANOSECONDS = 1_000_000;

/**
 * Instances are services of a Docker Swarm with one replica each, which the swarm keeps running: it restarts what ends,
 * and starts anew elsewhere what a dead node had. So an instance's address changes, and `list` says what it is now.
 */
export class SwarmTarget implements Target {
  readonly name = 'swarm';
  readonly runs = true;
  readonly schedules = true;
  readonly runsHealthCommands = true;
  readonly #options: SwarmTargetOptions;
  readonly #managers: SwarmManagers;
  /** The last start of each process of a release: the next is put elsewhere than it was. */
  readonly #placing = new Map<string, Promise<unknown>>();
  /** Addresses of instances when they were last looked for. */
  readonly #addresses = new Map<string, { app: string; address: string }>();

  constructor(options: SwarmTargetOptions) {
    this.#options = options;
    this.#managers = new SwarmManagers(options.managers, options.serverId);
  }

  async start(
    spec: InstanceSpec,
    { onProgress, signal }: { onProgress(line: string): void; signal: AbortSignal },
  ): Promise<void> {
    if (signal.aborted) throw canceled(signal);
    const existing = await this.#managers.findByFreeName(spec.name);
    const nodes = await this.#managers.nodes();
    const { image, auth } = await this.#imageFor(spec, nodes);
    const wanted = (constraints: string[]) =>
      instanceService({ ...spec, image }, { serverId: this.#options.serverId, constraints });
    if (existing !== undefined) {
      if (isMadeOf(existing, wanted([]))) return await this.#settle(existing, spec, nodes);
      await this.remove([spec]);
    }
    await this.#labelVolumes(spec, nodes);
    const id = await this.#oneAfterTheOther(spec, () => this.#create(spec, wanted, auth, signal));
    try {
      await this.#prepared(id, spec, { onProgress, signal });
    } catch (error) {
      await this.#managers.remove(id).catch(() => undefined);
      throw signal.aborted ? canceled(signal, error) : error;
    }
  }

  /** The grace is the one that the service was made with. */
  async remove(instances: { name: string; stopMs: number }[]): Promise<void> {
    await allOf(
      instances.map(async ({ name, stopMs }) => {
        const service = await this.#managers.find(name);
        this.#addresses.delete(name);
        if (service === undefined) return;
        await this.#managers.remove(service.ID);
        await this.#gone(service, stopMs);
      }),
    );
  }

  async list(app?: string): Promise<RunningInstance[]> {
    const services = await this.#managers.services('instance', app);
    const [tasks, nodes] = await Promise.all([this.#managers.tasks(app), this.#managers.nodes()]);
    for (const [name, known] of this.#addresses)
      if (app === undefined || known.app === app) this.#addresses.delete(name);
    return services
      .map((service) => this.#noted(instanceState(service, tasksOf(service, tasks), nodes)))
      .sort((a, b) => compare(a.app, b.app) || a.release - b.release || compare(a.name, b.name));
  }

  async find(instance: string): Promise<RunningInstance | undefined> {
    const service = await this.#managers.find(instance);
    if (service === undefined) return undefined;
    const [tasks, nodes] = await Promise.all([this.#managers.tasksOf(service.ID), this.#managers.nodes()]);
    return this.#noted(instanceState(service, tasks, nodes));
  }

  /** Swarm places them; here it is only found out where they are now. */
  async place(specs: InstanceSpec[]): Promise<Map<string, ReadonlySet<number>>> {
    for (const app of new Set(specs.map((spec) => spec.app))) await this.list(app);
    return new Map();
  }

  placeOf(instance: string): { address: string } | undefined {
    const address = this.#addresses.get(instance)?.address;
    return address === undefined ? undefined : { address };
  }

  async listeners(instance: string): Promise<Listener[] | undefined> {
    const chunks: Uint8Array[] = [];
    const streams: ExecStreams = {
      stdin: undefined,
      onStdout: (chunk) => void chunks.push(chunk),
      onStderr: () => undefined,
      signal: AbortSignal.timeout(5_000),
    };
    await this.exec(instance, ['cat', '/proc/net/tcp', '/proc/net/tcp6'], streams).catch(() => undefined);
    const tables = Buffer.concat(chunks).toString('latin1');
    return tables.includes('local_address') ? parseListeners(tables) : undefined;
  }

  logs(instances: string[], options: LogOptions): AsyncGenerator<LogLine> {
    return readLogs(this.#managers, instances, options);
  }

  /** Swarm itself runs nothing in a container: the engine of the node does, where we have a way to it. */
  async exec(instance: string, command: string[], streams: ExecStreams): Promise<number> {
    const service = await this.#managers.find(instance);
    if (service === undefined) throw noInstance(instance);
    const task = currentTask(await this.#managers.tasksOf(service.ID));
    const id = task?.Status.ContainerStatus?.ContainerID;
    if (task?.NodeID === undefined || !id || phaseOf(task) === 'ended')
      throw new DinpError('refused', `${instance} is not running.`);
    const node = await this.#node(task.NodeID);
    const known = this.#machineOf(node);
    if (known !== undefined) {
      const interactive = streams.stdin === undefined ? [] : ['--interactive'];
      return await known.machine.stream([known.docker, 'exec', ...interactive, id, ...command], streams);
    }
    const docker = await this.#managers.engineOf(task.NodeID);
    if (docker !== undefined) return await execInContainer(docker, { id, name: instance }, command, streams);
    throw noWayTo(node, `${instance} runs on ${node.Description.Hostname}`, `docker exec -it ${id.slice(0, 12)} sh`);
  }

  async runOnce(spec: InstanceSpec, command: string[], streams: ExecStreams): Promise<number> {
    const nodes = await this.#managers.nodes();
    const { image, auth } = await this.#imageFor(spec, nodes);
    await this.#labelVolumes(spec, nodes);
    const { constraints } = placementOf(spec, { nodes, siblings: [], serverId: this.#options.serverId });
    const name = `${spec.name}--run-${randomBytes(4).toString('hex')}`;
    const options = { serverId: this.#options.serverId, name, constraints };
    return await runService(this.#managers, oneOffService({ ...spec, image }, command, options), auth, streams);
  }

  /** Ends with the new task on its way: with its port or volume it starts once the old one has stopped. */
  async restart(instances: { name: string; stopMs: number }[]): Promise<void> {
    await allOf(
      instances.map(async ({ name, stopMs }) => {
        const service = await this.#managers.find(name);
        if (service === undefined) throw noInstance(name);
        const before = new Set((await this.#managers.tasksOf(service.ID)).map(({ ID }) => ID));
        await this.#managers.update(service.ID, (spec) => {
          const { ForceUpdate = 0 } = spec.TaskTemplate as { ForceUpdate?: number };
          return { ...spec, TaskTemplate: { ...spec.TaskTemplate, ForceUpdate: ForceUpdate + 1 } };
        });
        const isNew = (task: SwarmTask | undefined) =>
          task !== undefined && !before.has(task.ID) && ['running', 'ended'].includes(phaseOf(task));
        const timeoutMs = stopMs + STOP_MARGIN_MS;
        const done = await poll(timeoutMs, undefined, async () =>
          isNew(currentTask(await this.#managers.tasksOf(service.ID))),
        );
        if (!done) throw new DinpError('start-failed', `${name} was not started anew within ${seconds(timeoutMs)}.`);
      }),
    );
  }

  async removeVolume(volume: string): Promise<void> {
    const label = volumeLabel(volume);
    const node = (await this.#managers.nodes()).find(({ Spec }) => Spec.Labels?.[label] === this.#options.serverId);
    if (node === undefined) return;
    await this.#removeVolumeOn(node, volume);
    await this.#managers.labelNode(node.ID, ({ [label]: _, ...rest }) => rest);
  }

  /** @throws DinpError unavailable */
  async removeLeftovers(): Promise<void> {
    if (!(await this.#managers.isSwarm())) return;
    const services = await this.#managers.services('one-off');
    await allOf(services.map(({ ID }) => this.#managers.remove(ID)));
  }

  #noted(instance: RunningInstance): RunningInstance {
    const { name, app, hostAddress: address } = instance;
    if (address === undefined) this.#addresses.delete(name);
    else this.#addresses.set(name, { app, address });
    return instance;
  }

  async #imageFor(
    { image }: InstanceSpec,
    nodes: SwarmNode[],
  ): Promise<{ image: ImageRef; auth: ServiceAuth | undefined }> {
    const up = nodes.filter((node) => !isDown(node));
    const found = await this.#options.imageFor(
      image,
      up.map(nodeAddress).filter((address) => address !== undefined),
    );
    const serveraddress = found.image.repository.split('/')[0]!;
    return { image: found.image, auth: found.login && { ...found.login, serveraddress } };
  }

  /** What is there already keeps running; where a server died in the middle, it is still kept off some nodes. */
  async #settle(existing: Service, spec: InstanceSpec, nodes: SwarmNode[]): Promise<void> {
    const placement = placementOf(spec, { nodes, siblings: [], serverId: this.#options.serverId });
    const now = (existing.Spec as InstanceService).TaskTemplate.Placement?.Constraints ?? [];
    if (now.join() !== placement.constraints.join()) await this.#relax(existing.ID, placement);
  }

  /** Makes the service, and returns once a node has taken its task. */
  async #create(
    spec: InstanceSpec,
    wanted: (constraints: string[]) => InstanceService,
    auth: ServiceAuth | undefined,
    signal: AbortSignal,
  ): Promise<string> {
    const [nodes, siblings] = await Promise.all([this.#managers.nodes(), this.#siblings(spec)]);
    const placement = placementOf(spec, { nodes, siblings, serverId: this.#options.serverId });
    const id = await this.#managers.create(wanted([...placement.constraints, ...placement.first]), auth);
    try {
      await this.#assigned(id, spec, signal);
      if (placement.first.length > 0) await this.#relax(id, placement);
      return id;
    } catch (error) {
      await this.#managers.remove(id).catch(() => undefined);
      throw signal.aborted ? canceled(signal, error) : error;
    }
  }

  async #assigned(id: string, spec: InstanceSpec, signal: AbortSignal): Promise<void> {
    let task: SwarmTask | undefined;
    const isAssigned = await poll(PLACE_TIMEOUT_MS, signal, async () => {
      task = currentTask(await this.#managers.tasksOf(id));
      return task !== undefined && phaseOf(task) !== 'waiting';
    });
    if (isAssigned) return;
    const why = task?.Status.Err || 'no node is ready';
    throw new DinpError('start-failed', `no node of the swarm takes ${spec.process}.${spec.index}: ${why}.`, {
      hint: 'The nodes and what they have left: docker node ls; docker node inspect NODE',
    });
  }

  /** Waits until the node has the image, which may take long and says nothing of the app. */
  async #prepared(
    id: string,
    spec: InstanceSpec,
    { onProgress, signal }: { onProgress(line: string): void; signal: AbortSignal },
  ): Promise<void> {
    const label = `${spec.process}.${spec.index}`;
    let saidNode: string | undefined;
    const isThere = await poll(PULL_TIMEOUT_MS, signal, async () => {
      const tasks = await this.#managers.tasksOf(id);
      const rejected = tasks.find(({ Status }) => Status.State === 'rejected');
      if (rejected !== undefined) {
        const node = await this.#node(rejected.NodeID ?? '').catch(() => undefined);
        throw notStarted(rejected, label, node?.Description.Hostname);
      }
      const task = currentTask(tasks);
      if (task === undefined) return true;
      if (task.NodeID !== undefined && saidNode !== task.NodeID) {
        saidNode = task.NodeID;
        onProgress(`${label} goes to ${(await this.#node(task.NodeID)).Description.Hostname}`);
      }
      return !['assigned', 'accepted', 'preparing', 'pending', 'new', 'allocated', 'ready'].includes(task.Status.State);
    });
    if (isThere) return;
    throw new DinpError('start-failed', `the image for ${label} was not pulled within ${seconds(PULL_TIMEOUT_MS)}.`);
  }

  /** Lets an instance that has its place go anywhere from now on; what only its constraints change does not restart. */
  async #relax(id: string, { constraints }: Placement): Promise<void> {
    await this.#managers.update(id, (spec) => ({
      ...spec,
      TaskTemplate: { ...spec.TaskTemplate, Placement: { ...spec.TaskTemplate.Placement, Constraints: constraints } },
    }));
  }

  /** Tasks of the other instances of the same process and release. */
  async #siblings({ name, app, release, service, process }: InstanceSpec): Promise<SwarmTask[]> {
    const services = (await this.#managers.services('instance', app)).filter(({ Spec }) => {
      const labels = Spec?.Labels ?? {};
      const kind = [labels['dinp.release'], labels['dinp.service'], labels['dinp.process']].join();
      return kind === [release, service, process].join() && labels[SERVICE_LABEL.instance] !== name;
    });
    const tasks = await this.#managers.tasks(app);
    return services.flatMap((other) => currentTask(tasksOf(other, tasks)) ?? []);
  }

  /** Each has its place before the next one's is looked for. */
  async #oneAfterTheOther<T>({ app, release, process }: InstanceSpec, work: () => Promise<T>): Promise<T> {
    const key = `${app} ${release} ${process}`;
    const before = this.#placing.get(key);
    const mine = (async () => {
      await before?.catch(() => undefined);
      return await work();
    })();
    this.#placing.set(key, mine);
    try {
      return await mine;
    } finally {
      if (this.#placing.get(key) === mine) this.#placing.delete(key);
    }
  }

  /** The swarm itself keeps on which node a volume's data is, so that it is known without this server. */
  async #labelVolumes(spec: InstanceSpec, nodes: SwarmNode[]): Promise<void> {
    if (Object.keys(spec.volumes).length === 0) return;
    const { serverId } = this.#options;
    const { node, missing } = volumeNode(spec, { nodes, tasks: await this.#managers.tasks(), serverId });
    if (missing.length === 0) return;
    const added = Object.fromEntries(missing.map((volume) => [volumeLabel(volume), serverId]));
    await this.#managers.labelNode(node.ID, (labels) => ({ ...labels, ...added }));
  }

  async #removeVolumeOn(node: SwarmNode, volume: string): Promise<void> {
    const name = engineVolumeName(volume);
    const known = this.#machineOf(node);
    if (known !== undefined) {
      const { code, stderr } = await known.machine.run([known.docker, 'volume', 'rm', '--force', '--', name]);
      if (code === 0) return;
      throw new DinpError('refused', `Volume ${name} of ${node.Description.Hostname} cannot be removed.`, {
        detail: stderr.trim(),
        hint: 'Stop the app first.',
      });
    }
    const docker = await this.#managers.engineOf(node.ID);
    if (docker !== undefined) return await new OwnVolumes(docker, this.#options.serverId).remove(volume);
    throw noWayTo(node, `Volume ${name} is on ${node.Description.Hostname}`, `docker volume rm ${name}`);
  }

  /** Waits until the containers of a removed service are gone; those of a node that is down are not waited for. */
  async #gone(service: Service, stopMs: number): Promise<void> {
    const grace = (service.Spec as InstanceService).TaskTemplate.ContainerSpec.StopGracePeriod ?? 0;
    const timeoutMs = Math.max(graceSeconds(stopMs) * 1000, grace / NANOSECONDS) + STOP_MARGIN_MS;
    const isGone = await poll(timeoutMs, undefined, async () => {
      const left = (await this.#managers.tasksOf(service.ID)).filter((task) => phaseOf(task) !== 'ended');
      if (left.length === 0) return true;
      const nodes = await this.#managers.nodes();
      return left.every(({ NodeID }) => isDown(nodes.find(({ ID }) => ID === NodeID)));
    });
    if (isGone) return;
    throw new DinpError('unavailable', `${service.Spec?.Name} has not stopped within ${seconds(timeoutMs)}.`, {
      hint: 'See its node: docker node ls; journalctl -u docker',
    });
  }

  async #node(id: string): Promise<SwarmNode> {
    const found = (await this.#managers.nodes()).find(({ ID }) => ID === id);
    if (found !== undefined) return found;
    throw new DinpError('unavailable', `The node ${id} is not in the swarm any more.`);
  }

  #machineOf(node: SwarmNode): { machine: Host; docker: string } | undefined {
    return this.#options.machineOf({ name: node.Description.Hostname, address: nodeAddress(node) });
  }
}

function tasksOf({ ID }: Service, tasks: SwarmTask[]): SwarmTask[] {
  return tasks.filter(({ ServiceID }) => ServiceID === ID);
}

function noWayTo(node: SwarmNode, what: string, command: string): DinpError {
  const { Hostname: name } = node.Description;
  const address = nodeAddress(node) ?? name;
  return new DinpError('refused', `${what}, to which this server has no way.`, {
    hint: `Take the node up as a host: dinp hosts add ${name.toLowerCase()} ssh://root@${address}\nOr type it there: ${command}`,
  });
}

/** Looks again and again, less and less often. @returns whether it came about in time; throws what `signal` was aborted with */
async function poll(
  timeoutMs: number,
  signal: AbortSignal | undefined,
  isIt: () => Promise<boolean>,
): Promise<boolean> {
  const begin = performance.now();
  for (let pauseMs = FIRST_POLL_MS; ; pauseMs = Math.min(pauseMs * 1.5, LAST_POLL_MS)) {
    signal?.throwIfAborted();
    if (await isIt()) return true;
    if (performance.now() - begin > timeoutMs) return false;
    await sleep(pauseMs, undefined, { signal });
  }
}

function seconds(milliseconds: number): string {
  return `${Math.round(milliseconds / 1000)} s`;
}

/** Waits for all, also when one fails, and then throws the first failure. */
async function allOf(work: Promise<unknown>[]): Promise<void> {
  const failed = (await Promise.allSettled(work)).find((result) => result.status === 'rejected');
  if (failed !== undefined) throw failed.reason;
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
