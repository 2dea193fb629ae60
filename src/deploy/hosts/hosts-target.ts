import { DinpError } from '../../domain/errors.ts';
import type { InstanceSpec, RunningInstance } from '../../domain/instance.ts';
import type { RunHost } from '../../domain/run-host.ts';
import type { Host } from '../../run/host.ts';
import { readHostFacts } from '../../run/host-facts.ts';
import type { HostLink } from '../../run/ssh/host-link.ts';
import type { ExecStreams, Listener, LogLine, LogOptions, PlaceOptions, Target } from '../../run/target.ts';
import type { Placement, Placements } from '../../store/placements.ts';
import { type Candidate, chooseHost, kindOf, mayRunOn } from './choose-host.ts';
import type { Hosts } from './hosts.ts';

export interface HostsTargetParts {
  hosts: Hosts;
  placements: Placements;
  /** The port of its host that an instance holds. */
  portOf(instance: string): number | undefined;
  /** Runs units on one host. */
  systemd(host: RunHost, machine: Host): Target;
}

/** A host that could not be reached is asked again for a new instance after so long. */
const RETRY_MS = 3_000;

/** A named instance, where it was found. */
interface Named {
  name: string;
  stopMs: number;
  host?: string | undefined;
}

/**
 * Instances are systemd units on hosts that are reached over SSH. Where each one is was decided once and is recorded, so
 * that a host that does not answer is never taken for one on which nothing runs.
 */
export class HostsTarget implements Target {
  readonly name = 'hosts';
  readonly runs = true;
  readonly #parts: HostsTargetParts;
  readonly #targets = new WeakMap<HostLink, Target>();

  constructor(parts: HostsTargetParts) {
    this.#parts = parts;
  }

  /**
   * Gives instances without a host one; with `moving` also those whose host is drained, not allowed any more, or does not
   * answer. An instance with a volume stays where the volume's data is.
   * @throws DinpError unavailable where no allowed host answers
   */
  async place(specs: InstanceSpec[], options: PlaceOptions): Promise<Map<string, ReadonlySet<number>>> {
    const { placements } = this.#parts;
    const given = new Map<string, ReadonlySet<number>>();
    const homeless = specs.filter((spec) => placements.find(spec.name) === undefined);
    const settled = options.moving ? specs.filter((spec) => !homeless.includes(spec)) : [];
    if (homeless.length === 0 && settled.length === 0) return given;
    const { candidates, problems } = await this.#candidates(specs[0]!.hosts ?? []);
    const leaving = settled.filter((spec) => {
      const placed = placements.find(spec.name)!;
      return !candidates.some(({ host }) => host.id === placed.hostId) && this.#pinned(spec) === undefined;
    });
    // Where nobody answers, those that have a host keep it.
    if (homeless.length > 0 && candidates.length === 0) throw noHost(specs[0]!, problems);
    if (candidates.length === 0 || homeless.length + leaving.length === 0) return given;
    for (const problem of problems) options.onProgress(`${problem} Other hosts take its part.`);
    for (const spec of [...homeless, ...leaving]) {
      const host = this.#pinned(spec) ?? chooseHost(spec, candidates);
      this.#put(spec, host);
      given.set(spec.name, candidates.find((candidate) => candidate.host.id === host.id)?.ports ?? new Set());
    }
    return given;
  }

  /** Where an instance should be; undefined before it was placed. */
  placeOf(instance: string): { host: string; address: string } | undefined {
    const host = this.#hostOf(instance);
    return host && { host: host.name, address: host.address };
  }

  async moveBack(instances: Named[]): Promise<void> {
    const { placements } = this.#parts;
    for (const { name, stopMs } of instances) {
      const places = placements.ofInstance(name);
      const now = places.find(({ wanted }) => wanted);
      const before = places.find(({ wanted, removing }) => !wanted && !removing);
      if (now === undefined || before === undefined) continue;
      placements.put(before);
      await this.remove([{ name, stopMs, host: this.#nameOf(now.hostId) }]);
    }
  }

  forgetPlaces(app: string, keep: string[]): void {
    this.#parts.placements.forget(app, keep);
  }

  async start(spec: InstanceSpec, options: { onProgress(line: string): void; signal: AbortSignal }): Promise<void> {
    const host = this.#needHost(spec.name);
    await this.#removeLeft(host);
    const image = await this.#parts.hosts.imageOn(host, spec.image);
    await this.#on(host).start({ ...spec, image }, options);
  }

  /** What a host that does not answer has is removed as soon as it answers. */
  async remove(instances: Named[]): Promise<void> {
    const { hosts, placements } = this.#parts;
    const work = hosts.list().map(async (host) => {
      const here = instances.filter(({ name, host: on }) =>
        on === undefined ? placements.ofInstance(name).some(({ hostId }) => hostId === host.id) : on === host.name,
      );
      if (here.length === 0) return;
      try {
        await this.#on(host).remove(here);
        for (const { name } of here) placements.remove(name, host.id);
      } catch (error) {
        if (!isAway(error)) throw error;
        for (const { name } of here) placements.setRemoving(name, host.id);
      }
    });
    await allOf(work);
  }

  /** Instances on a host that does not answer are `unreachable`. @throws DinpError unavailable where no host answers */
  async list(app?: string): Promise<RunningInstance[]> {
    const hosts = this.#parts.hosts.list();
    const away: unknown[] = [];
    const lists = await Promise.all(
      hosts.map(async (host) => {
        try {
          await this.#removeLeft(host);
          return (await this.#on(host).list(app)).map((instance) => seenFrom(host, instance));
        } catch (error) {
          if (!isAway(error)) throw error;
          away.push(error);
          const placed = this.#parts.placements.onHost(host.id);
          return placed
            .filter((each) => !each.removing && (app === undefined || each.app === app))
            .map((each) => unreachable(host, each, this.#parts.portOf(each.instance)));
        }
      }),
    );
    if (hosts.length > 0 && away.length === hosts.length) throw away[0];
    return lists.flat();
  }

  async find(instance: string): Promise<RunningInstance | undefined> {
    const host = this.#hostOf(instance);
    if (host === undefined) return undefined;
    const found = await this.#on(host).find?.(instance);
    return found && seenFrom(host, found);
  }

  async listeners(instance: string): Promise<Listener[] | undefined> {
    const host = this.#hostOf(instance);
    return host && (await this.#on(host).listeners?.(instance));
  }

  async *logs(instances: string[], options: LogOptions): AsyncGenerator<LogLine> {
    const groups = new Map<RunHost, string[]>();
    for (const instance of instances) {
      const host = this.#hostOf(instance);
      if (host === undefined) continue;
      const key = [...groups.keys()].find(({ id }) => id === host.id) ?? host;
      groups.set(key, [...(groups.get(key) ?? []), instance]);
    }
    const stop = new AbortController();
    const signal = AbortSignal.any([options.signal, stop.signal]);
    const sources = [...groups].map(([host, names]) => this.#logsOn(host, names, { ...options, signal }));
    try {
      yield* options.follow ? asTheyCome(sources) : inOrderOfTime(sources);
    } finally {
      stop.abort();
    }
  }

  async exec(instance: string, command: string[], streams: ExecStreams): Promise<number> {
    return await this.#on(this.#needHost(instance)).exec(instance, command, streams);
  }

  async runOnce(spec: InstanceSpec, command: string[], streams: ExecStreams): Promise<number> {
    const host = await this.#hostForOnce(spec);
    const image = await this.#parts.hosts.imageOn(host, spec.image);
    return await this.#on(host).runOnce({ ...spec, image }, command, streams);
  }

  async restart(instances: { name: string; stopMs: number }[]): Promise<void> {
    for (const instance of instances) await this.#on(this.#needHost(instance.name)).restart([instance]);
  }

  async removeVolume(volume: string): Promise<void> {
    const { hosts, placements } = this.#parts;
    const id = placements.volumeHost(volume);
    const host = hosts.list().find((each) => each.id === id);
    if (host === undefined) return;
    await this.#on(host).removeVolume(volume);
    placements.removeVolume(volume);
  }

  /** What is read of one host; where it does not answer, a line says so and the others go on. */
  async *#logsOn(host: RunHost, instances: string[], options: LogOptions): AsyncGenerator<LogLine> {
    try {
      yield* this.#on(host).logs(instances, options);
    } catch (error) {
      if (!isAway(error)) throw error;
      const text = `(the lines of ${host.name} are missing: ${error.message})`;
      yield { instance: instances[0]!, time: undefined, text };
    }
  }

  /** Hosts that an app may run on and that answer, with what they have left; and why the others do not. */
  async #candidates(wishes: readonly string[]): Promise<{ candidates: Candidate[]; problems: string[] }> {
    const { hosts, placements } = this.#parts;
    const allowed = hosts.list().filter((host) => !host.drained && mayRunOn(host, wishes));
    const problems: string[] = [];
    const asked = await Promise.all(
      allowed.map(async (host): Promise<Candidate | undefined> => {
        try {
          const link = hosts.link(host);
          // One that is back shall not be left out because it was away a moment ago.
          link.hurry(RETRY_MS);
          const { engine, memoryAvailable, ports } = await readHostFacts(link.host);
          if (engine === undefined)
            throw new DinpError('unavailable', `the Docker Engine of ${host.name} does not answer.`);
          const instances = new Map<string, number>();
          for (const each of placements.onHost(host.id)) {
            if (each.wanted && !each.removing) instances.set(kindOf(each), (instances.get(kindOf(each)) ?? 0) + 1);
          }
          return { host, memoryAvailable, ports, instances };
        } catch (error) {
          if (!isAway(error)) throw error;
          problems.push(error.message);
          return undefined;
        }
      }),
    );
    return { candidates: asked.filter((each) => each !== undefined), problems };
  }

  async #hostForOnce(spec: InstanceSpec): Promise<RunHost> {
    const pinned = this.#pinned(spec);
    if (pinned !== undefined) return pinned;
    const { candidates, problems } = await this.#candidates(spec.hosts ?? []);
    if (candidates.length === 0) throw noHost(spec, problems);
    const placed = this.#hostOf(spec.name);
    const found = candidates.find(({ host }) => host.id === placed?.id)?.host ?? chooseHost(spec, candidates);
    for (const volume of Object.keys(spec.volumes)) this.#parts.placements.putVolume(volume, found.id);
    return found;
  }

  #put(spec: InstanceSpec, host: RunHost): void {
    const { placements } = this.#parts;
    const { name: instance, app, release, process, index } = spec;
    placements.put({ instance, hostId: host.id, app, release, process, index });
    for (const volume of Object.keys(spec.volumes)) placements.putVolume(volume, host.id);
  }

  /** The host that has the data of an instance's volumes, where there is data. */
  #pinned(spec: InstanceSpec): RunHost | undefined {
    const ids = Object.keys(spec.volumes).map((volume) => this.#parts.placements.volumeHost(volume));
    return this.#parts.hosts.list().find(({ id }) => ids.includes(id));
  }

  /** Removes what had to stay while the host did not answer. */
  async #removeLeft(host: RunHost): Promise<void> {
    const { placements } = this.#parts;
    const left = placements.onHost(host.id).filter(({ removing }) => removing);
    if (left.length === 0) return;
    await this.#on(host).remove(left.map(({ instance }) => ({ name: instance, stopMs: 10_000 })));
    for (const { instance } of left) placements.remove(instance, host.id);
  }

  #hostOf(instance: string): RunHost | undefined {
    const placed = this.#parts.placements.find(instance);
    return placed && this.#parts.hosts.list().find(({ id }) => id === placed.hostId);
  }

  #nameOf(hostId: number): string | undefined {
    return this.#parts.hosts.list().find(({ id }) => id === hostId)?.name;
  }

  #needHost(instance: string): RunHost {
    const host = this.#hostOf(instance);
    if (host !== undefined) return host;
    throw new DinpError('not-found', `There is no instance ${instance}.`);
  }

  #on(host: RunHost): Target {
    const link = this.#parts.hosts.link(host);
    const found = this.#targets.get(link) ?? this.#parts.systemd(host, link.host);
    this.#targets.set(link, found);
    return found;
  }
}

/** A container's own address means something else from here. */
function seenFrom(host: RunHost, instance: RunningInstance): RunningInstance {
  return { ...instance, host: host.name, hostAddress: host.address, address: undefined };
}

function unreachable(host: RunHost, placement: Placement, hostPort: number | undefined): RunningInstance {
  const { instance, app, release, process, index } = placement;
  return {
    ...{ name: instance, app, release, process, index, hostPort, host: host.name, hostAddress: host.address },
    ...{ state: 'unreachable', exitCode: undefined, healthy: undefined, startedAt: undefined, restarts: 0 },
  };
}

/** Whether an error says that a host cannot be asked, so that nothing is known of it. */
function isAway(error: unknown): error is DinpError {
  return error instanceof DinpError && ['unavailable', 'denied', 'timeout'].includes(error.code);
}

function noHost({ app, hosts = [] }: InstanceSpec, problems: string[]): DinpError {
  const which = hosts.length === 0 ? 'host' : `host of ${hosts.join(', ')}`;
  if (problems.length > 0)
    return new DinpError('unavailable', `no ${which} answers that ${app} could run on.`, {
      detail: problems.join('\n'),
    });
  return new DinpError('unavailable', `there is no ${which} that ${app} could run on.`, {
    hint: 'Hosts, their labels and which are drained: dinp hosts list',
  });
}

/** Waits for all, also when one fails, and then throws the first failure. */
async function allOf(work: Promise<unknown>[]): Promise<void> {
  const failed = (await Promise.allSettled(work)).find((result) => result.status === 'rejected');
  if (failed !== undefined) throw failed.reason;
}

/** The last lines of several hosts: whose clocks agree, or `hosts check` says so. */
async function* inOrderOfTime(sources: AsyncGenerator<LogLine>[]): AsyncGenerator<LogLine> {
  const all = (await Promise.all(sources.map((source) => Array.fromAsync(source)))).flat();
  yield* all.sort((a, b) => (a.time ?? 0) - (b.time ?? 0));
}

async function* asTheyCome(sources: AsyncGenerator<LogLine>[]): AsyncGenerator<LogLine> {
  const pull = (source: AsyncGenerator<LogLine>) => source.next().then((result) => ({ source, result }));
  const next = new Map(sources.map((source) => [source, pull(source)]));
  while (next.size > 0) {
    const { source, result } = await Promise.race(next.values());
    if (result.done) {
      next.delete(source);
      continue;
    }
    next.set(source, pull(source));
    yield result.value;
  }
}
