import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { DinpError } from '../../domain/errors.ts';
import type { InstanceSpec, RunningInstance } from '../../domain/instance.ts';
import { canceled } from '../canceled.ts';
import { labelOf } from '../health-failure.ts';
import type { ExecStreams, Listener, LogLine, LogOptions, Target } from '../target.ts';
import type { FleetClient, FleetMachine, FleetOption, FleetState, FleetUnit } from './fleet-client.ts';
import { type FleetAccess, FleetMachines } from './fleet-machines.ts';
import { type FleetFacts, factsOf, fleetInstance, machineOf, shortId, stateOf } from './fleet-state.ts';

/** A unit as the API takes it. */
interface ReadyUnit {
  name: string;
  options: FleetOption[];
}

/** How instances become units of fleet: RunUnits of src/unit. */
export interface FleetRenderer {
  unit(spec: InstanceSpec): ReadyUnit;
  once(spec: InstanceSpec, oneOff: { name: string; command: string[] }): ReadyUnit;
  environmentFiles(spec: InstanceSpec): { path: string; text: string }[];
}

export interface FleetTargetOptions {
  client: FleetClient;
  renderer: FleetRenderer;
  /** Tells units of servers that share a cluster apart. */
  server: string;
  /** How a machine is reached past fleet's API; undefined for one that is not. */
  access(address: string): FleetAccess | undefined;
  /** Where the renderer's environment files are. */
  environmentFolder: string;
  /** Whether config values may stand in units, for all to read who read the API. */
  configInUnits: boolean;
  /** How long fleet may look for a machine, milliseconds; 15,000 where not given. */
  scheduleMs?: number;
}

/** What fleet knows of one unit. */
interface Seen {
  unit: FleetUnit;
  state: FleetState | undefined;
  machine: FleetMachine | undefined;
}

const POLL_MS = 300;
/** fleet looks for machines every 2 s. */
const SCHEDULE_MS = 15_000;
/** From the choice of a machine until systemd there has begun; real clusters take up to 7 s. */
const LOAD_MS = 60_000;
const PULL_MS = 10 * 60_000;
const NOTE_MS = 10_000;
/** What fleet and systemd may take beyond the grace period. */
const STOP_MARGIN_MS = 60_000;
const UP = ['active', 'activating', 'deactivating', 'reloading'];

/**
 * Instances are units of a fleet cluster: fleet chooses the machine of each, and another one where that is lost. Where an
 * instance is can therefore change at any time; the last that fleet said is kept for placeOf().
 */
export class FleetTarget implements Target {
  readonly name = 'fleet';
  readonly runs = true;
  readonly schedules = true;
  readonly #client: FleetClient;
  readonly #options: FleetTargetOptions;
  readonly #machines: FleetMachines;
  readonly #places = new Map<string, { address: string }>();

  constructor(options: FleetTargetOptions) {
    this.#client = options.client;
    this.#options = options;
    this.#machines = new FleetMachines(options);
  }

  /** Looks where fleet has the instances: it alone decides. @throws DinpError unavailable */
  async place(specs: InstanceSpec[]): Promise<Map<string, ReadonlySet<number>>> {
    const there = await this.list();
    const machines = await this.#machines.list();
    // A machine that came later may be given an instance at any time.
    for (const spec of specs)
      if (there.some(({ name }) => name === spec.name))
        await this.#machines.putFiles(spec, this.#options.renderer.environmentFiles(spec), machines);
    // Which ports are taken there is known to nobody here: those of this server differ on all machines.
    return new Map();
  }

  placeOf(instance: string): { address: string } | undefined {
    return this.#places.get(instance);
  }

  async start(spec: InstanceSpec, options: { onProgress(line: string): void; signal: AbortSignal }): Promise<void> {
    const machines = await this.#machines.list();
    this.#checkPossible(spec, machines);
    const existing = await this.#findOwn(spec.name);
    if (existing !== undefined) {
      const { state } = await this.#instance(existing.unit, existing.facts);
      const isLeft = existing.unit.desiredState !== 'launched' || state === 'exited';
      if (!isLeft && (state === 'running' || state === 'restarting')) return;
      if (!isLeft) return await this.#waitUp(spec, options);
      await this.remove([spec]);
    }
    const { name, options: lines } = this.#options.renderer.unit(await this.#withConfig(spec, machines));
    await this.#client.putUnit(name, lines, 'launched');
    try {
      await this.#waitUp(spec, options);
    } catch (error) {
      await this.remove([spec]).catch(() => undefined);
      throw error;
    }
  }

  /**
   * Stops units, waits until they have stopped, and only then takes them from fleet: on a destroyed unit fleet gives no
   * word any more, while its container may still hold its port.
   */
  async remove(instances: { name: string; stopMs: number }[]): Promise<void> {
    if (instances.length === 0) return;
    await Promise.all(instances.map((instance) => this.#removeOne(instance)));
    for (const { name } of instances) this.#places.delete(name);
    await this.#machines.removeFiles(instances.map(({ name }) => name));
  }

  async list(app?: string): Promise<RunningInstance[]> {
    const { units, states, machines } = await this.#overview();
    const instances = units.flatMap((unit) => {
      const facts = factsOf(unit);
      const isOurs = facts?.server === this.#options.server && !facts.oneOff;
      return isOurs ? [fleetInstance(unit, facts, states, machines)] : [];
    });
    this.#places.clear();
    for (const instance of instances) this.#remember(instance);
    return instances
      .filter((instance) => app === undefined || instance.app === app)
      .sort((a, b) => a.release - b.release || (a.name < b.name ? -1 : 1));
  }

  /** With what systemd and the engine of its machine know beyond fleet, where that is reached. */
  async find(instance: string): Promise<RunningInstance | undefined> {
    const own = await this.#findOwn(instance);
    if (own === undefined) return undefined;
    const seen = await this.#instance(own.unit, own.facts);
    const access = seen.hostAddress === undefined ? undefined : this.#options.access(seen.hostAddress);
    if (access === undefined || seen.state === 'unreachable') return seen;
    const closer = await access.units.find?.(instance).catch(() => undefined);
    // A container's own address means something else from here.
    return closer === undefined
      ? seen
      : { ...closer, host: seen.host, hostAddress: seen.hostAddress, address: undefined };
  }

  async listeners(instance: string): Promise<Listener[] | undefined> {
    return await (await this.#accessTo(instance)).access?.units.listeners?.(instance);
  }

  /** fleet's API has no logs: they are read from the machines that are reached, and for others a line says where they are. */
  async *logs(instances: string[], options: LogOptions): AsyncGenerator<LogLine> {
    for (const instance of instances) {
      const { access, machine } = await this.#accessTo(instance);
      if (access !== undefined) {
        // Instances that are followed at once would each wait for the end of the one before.
        yield* access.units.logs([instance], { ...options, follow: options.follow && instances.length === 1 });
        continue;
      }
      const text = `(fleet's API has no logs. They are in the journal of ${nameOf(machine)}: journalctl -u ${instance})`;
      yield { instance, time: undefined, text };
    }
  }

  async exec(instance: string, command: string[], streams: ExecStreams): Promise<number> {
    const { access, machine } = await this.#accessTo(instance);
    if (access !== undefined) return await access.units.exec(instance, command, streams);
    throw new DinpError(
      'refused',
      `fleet's API runs no commands in instances, and ${nameOf(machine)} is no host here.`,
      {
        hint: takeUp(machine),
      },
    );
  }

  async runOnce(spec: InstanceSpec, command: string[], streams: ExecStreams): Promise<number> {
    const machines = await this.#machines.list();
    const access = this.#machines.reached(spec, machines);
    if (access !== undefined) return await access.units.runOnce(spec, command, streams);
    if (streams.stdin !== undefined)
      throw new DinpError('refused', 'fleet passes no input on, and none of its machines is a host of this server.', {
        hint: takeUp(machines[0]),
      });
    // No instance's Conflicts= fits this name: it may run beside all of them.
    const name = `dinp-${spec.app}--once-${randomBytes(4).toString('hex')}`;
    const unit = this.#options.renderer.once(await this.#withConfig({ ...spec, name }, machines), { name, command });
    try {
      await this.#client.putUnit(unit.name, unit.options, 'launched');
      return await this.#waitEnd(unit, streams);
    } finally {
      await this.remove([{ name, stopMs: spec.stopMs }]).catch(() => undefined);
    }
  }

  async restart(instances: { name: string; stopMs: number }[]): Promise<void> {
    for (const { name, stopMs } of instances) {
      if ((await this.#findOwn(name)) === undefined) throw new DinpError('not-found', `There is no instance ${name}.`);
      await this.#stop(name, stopMs);
      await this.#client.setState(unitName(name), 'launched');
      await this.#until(name, LOAD_MS, 'start again', ({ state }) => state?.systemdActiveState === 'active');
    }
  }

  /** Units of one-off commands of a server that died. */
  async removeLeftovers(): Promise<void> {
    const own = (await this.#client.units()).map(factsOf).filter((facts) => facts?.server === this.#options.server);
    await this.remove(own.flatMap((facts) => (facts?.oneOff ? [{ name: facts.name, stopMs: 10_000 }] : [])));
  }

  async removeVolume(volume: string): Promise<void> {
    const away: FleetMachine[] = [];
    for (const machine of await this.#machines.list()) {
      const access = this.#options.access(machine.primaryIP);
      if (access === undefined) away.push(machine);
      else await access.units.removeVolume(volume);
    }
    if (away.length === 0) return;
    throw new DinpError(
      'refused',
      `Volume ${volume} may be on ${away.map(nameOf).join(', ')}, no hosts of this server.`,
      {
        hint: `Remove it there: docker volume rm ${volume}`,
      },
    );
  }

  /** Refuses early what fleet could not carry out. */
  #checkPossible(spec: InstanceSpec, machines: FleetMachine[]): void {
    const { MachineID, MachineOf } = spec.fleet ?? {};
    if (Object.keys(spec.volumes).length > 0 && MachineID === undefined && MachineOf === undefined) {
      throw new DinpError('refused', `${labelOf(spec)} has a volume, and fleet may move it to another machine.`, {
        hint: 'Keep it where its data is: "fleet: {MachineID: …}" in dinp.yml, an id of fleetctl list-machines -l.',
      });
    }
    if (spec.health.kind !== 'command' || this.#machines.reached(spec, machines) !== undefined) return;
    throw new DinpError('refused', `${labelOf(spec)} has a health check by command, which fleet's API cannot run.`, {
      hint: `Check a port or a path, or let this server reach the machines: ${takeUp(machines[0])}`,
    });
  }

  /**
   * Brings config values to where the instance will find them: into files that only root reads, on each machine that it
   * may come to; or into the unit, where the operator allows that.
   * @returns the instance to make a unit of
   */
  async #withConfig(spec: InstanceSpec, machines: FleetMachine[]): Promise<InstanceSpec> {
    if (this.#options.configInUnits) {
      const open = { ...spec, env: { ...spec.env, ...spec.secrets }, secrets: {} };
      if (this.#options.renderer.environmentFiles(open).length === 0) return open;
    }
    await this.#machines.putFiles(spec, this.#options.renderer.environmentFiles(spec), machines, { all: true });
    return spec;
  }

  /** Waits until systemd runs the unit somewhere. @throws DinpError start-failed */
  async #waitUp(spec: InstanceSpec, options: { onProgress(line: string): void; signal: AbortSignal }): Promise<void> {
    const wait = new UpWait(spec, options.onProgress, this.#options.scheduleMs ?? SCHEDULE_MS);
    const end = Date.now() + PULL_MS;
    for (;;) {
      if (options.signal.aborted) throw canceled(options.signal);
      const seen = await this.#look(spec.name, end);
      if (seen === undefined) throw new DinpError('start-failed', `${spec.name} was removed from fleet meanwhile.`);
      const verdict = wait.judge(seen);
      if (verdict === 'up') return this.#rememberMachine(spec.name, seen.machine);
      if (verdict !== undefined) throw await this.#startFailure(spec, seen, verdict);
      await sleep(POLL_MS, undefined, { signal: options.signal }).catch(() => undefined);
    }
  }

  async #startFailure(spec: InstanceSpec, { unit, machine }: Seen, verdict: string): Promise<DinpError> {
    if (isHomeless(unit)) {
      const wishes = unit.options.filter(({ section }) => section === 'X-Fleet');
      const machines = await this.#machines.list();
      const hint =
        'Fewer instances, more machines, or "fleet: {spread: false}" in dinp.yml, so that they may share one.';
      return new DinpError('start-failed', `${verdict} There are ${machines.length}; the unit asks for:`, {
        detail: wishes.map(({ name, value }) => `${name}=${value}`).join('\n'),
        ...(wishes.some(({ name }) => name === 'Conflicts') && { hint }),
      });
    }
    const lines: string[] = [];
    const options = { tail: 20, follow: false, signal: AbortSignal.timeout(10_000) };
    this.#rememberMachine(spec.name, machine);
    for await (const { text } of this.logs([spec.name], options)) lines.push(text);
    return new DinpError('start-failed', verdict, { detail: lines.join('\n') });
  }

  /** The end of a unit that runs once: 0, or 1 where it failed; fleet says no more. */
  async #waitEnd({ name }: ReadyUnit, streams: ExecStreams): Promise<number> {
    const instance = name.replace(/\.service$/, '');
    const scheduled = Date.now() + (this.#options.scheduleMs ?? SCHEDULE_MS);
    for (;;) {
      if (streams.signal.aborted) throw canceled(streams.signal);
      const seen = await this.#look(instance, Date.now() + LOAD_MS);
      if (seen === undefined) throw new DinpError('start-failed', `${instance} was removed from fleet meanwhile.`);
      const { systemdActiveState: active } = seen.state ?? {};
      if (active === 'active' || active === 'failed') {
        const where = `fleet passes no output on: journalctl -u ${instance} on ${nameOf(seen.machine)} shows it.\n`;
        await streams.onStderr(Buffer.from(where));
        return active === 'active' ? 0 : 1;
      }
      if (seen.unit.machineID === undefined && Date.now() > scheduled)
        throw new DinpError('start-failed', `fleet finds no machine that ${instance} may run on.`);
      await sleep(POLL_MS, undefined, { signal: streams.signal }).catch(() => undefined);
    }
  }

  async #removeOne({ name, stopMs }: { name: string; stopMs: number }): Promise<void> {
    if ((await this.#findOwn(name)) !== undefined) {
      await this.#stop(name, stopMs);
      await this.#client.removeUnit(unitName(name));
    }
    const end = Date.now() + STOP_MARGIN_MS;
    // Until its state is gone too, one that is made again under this name would be taken for it.
    while ((await this.#client.unit(unitName(name))) || (await this.#isReported(name))) {
      if (Date.now() > end) throw new DinpError('unavailable', `fleet has not removed ${name} within a minute.`);
      await sleep(POLL_MS);
    }
  }

  /** Stops a unit and waits for its end, where its machine is there to tell it. */
  async #stop(name: string, stopMs: number): Promise<void> {
    await this.#client.setState(unitName(name), 'loaded');
    await this.#until(
      name,
      stopMs + STOP_MARGIN_MS,
      'stop',
      ({ state, machine }) => machine === undefined || state === undefined || !UP.includes(state.systemdActiveState),
    );
  }

  /** @throws DinpError unavailable where it does not come true in time */
  async #until(name: string, milliseconds: number, doing: string, isSo: (seen: Seen) => boolean): Promise<void> {
    const end = Date.now() + milliseconds;
    for (;;) {
      const seen = await this.#look(name, end);
      if (seen === undefined || isSo(seen)) return;
      if (Date.now() > end)
        throw new DinpError('unavailable', `${name} did not ${doing} within ${Math.round(milliseconds / 1000)} s.`, {
          hint: `On ${nameOf(seen.machine)}: systemctl status ${name}`,
        });
      await sleep(POLL_MS);
    }
  }

  /** What fleet knows of one unit; asks again until `end` where it does not answer. */
  async #look(name: string, end: number): Promise<Seen | undefined> {
    for (;;) {
      try {
        const full = unitName(name);
        const [unit, states, machines] = await Promise.all([
          this.#client.unit(full),
          this.#client.states(full),
          this.#machines.list(),
        ]);
        return unit && { unit, state: stateOf(unit, states), machine: machineOf(unit, states, machines) };
      } catch (error) {
        const mayCome = error instanceof DinpError && error.code === 'unavailable' && Date.now() < end;
        if (!mayCome) throw error;
        await sleep(POLL_MS);
      }
    }
  }

  /** Whether a machine that is there still tells of a unit. */
  async #isReported(name: string): Promise<boolean> {
    const states = await this.#client.states(unitName(name));
    if (states.length === 0) return false;
    const machines = await this.#machines.list();
    return states.some(({ machineID }) => machines.some(({ id }) => id === machineID));
  }

  async #overview() {
    const [units, states, machines] = await Promise.all([
      this.#client.units(),
      this.#client.states(),
      this.#machines.list(),
    ]);
    // fleet leaves units out of its list, without a word, whose record it cannot read.
    const listed = new Set(units.map(({ name }) => name));
    for (const { name } of states) if (name.startsWith('dinp-') && !listed.has(name)) await this.#client.unit(name);
    return { units, states, machines };
  }

  async #instance(unit: FleetUnit, facts: FleetFacts): Promise<RunningInstance> {
    const [states, machines] = await Promise.all([this.#client.states(unit.name), this.#machines.list()]);
    const instance = fleetInstance(unit, facts, states, machines);
    this.#remember(instance);
    return instance;
  }

  /** A unit of ours. @throws DinpError refused for one of somebody else's */
  async #findOwn(name: string): Promise<{ unit: FleetUnit; facts: FleetFacts } | undefined> {
    const unit = await this.#client.unit(unitName(name));
    if (unit === undefined) return undefined;
    const facts = factsOf(unit);
    if (facts?.server === this.#options.server) return { unit, facts };
    const owner = facts === undefined ? 'was not made by dinp' : `belongs to the dinp server ${facts.server}`;
    throw new DinpError('refused', `the unit ${unit.name} of this fleet cluster ${owner}.`, {
      hint: 'Rename the app here.',
    });
  }

  async #accessTo(instance: string) {
    const seen = await this.#look(instance, 0);
    if (seen === undefined) throw new DinpError('not-found', `There is no instance ${instance}.`);
    const { machine } = seen;
    return { machine, access: machine && this.#options.access(machine.primaryIP) };
  }

  #remember({ name, hostAddress }: RunningInstance): void {
    if (hostAddress === undefined) this.#places.delete(name);
    else this.#places.set(name, { address: hostAddress });
  }

  #rememberMachine(name: string, machine: FleetMachine | undefined): void {
    if (machine !== undefined) this.#places.set(name, { address: machine.primaryIP });
  }
}

/** Follows a unit from its making to its start, and says when there is no hope any more. */
class UpWait {
  readonly #spec: InstanceSpec;
  readonly #onProgress: (line: string) => void;
  readonly #scheduleMs: number;
  readonly #begin = Date.now();
  #machine: string | undefined;
  #since = Date.now();
  #told = false;

  constructor(spec: InstanceSpec, onProgress: (line: string) => void, scheduleMs: number) {
    this.#spec = spec;
    this.#onProgress = onProgress;
    this.#scheduleMs = scheduleMs;
  }

  /** `up`, why it failed, or undefined while it may still come. */
  judge({ unit, state, machine }: Seen): string | undefined {
    const label = labelOf(this.#spec);
    if (unit.machineID !== this.#machine) {
      this.#machine = unit.machineID;
      this.#since = Date.now();
      if (machine !== undefined) this.#onProgress(`${label} goes to ${nameOf(machine)}`);
    }
    const waited = Date.now() - this.#since;
    if (state === undefined || state.systemdActiveState === 'inactive') {
      if (state?.systemdLoadState && state.systemdLoadState !== 'loaded')
        return `systemd of ${nameOf(machine)} cannot load the unit of ${label}: ${state.systemdLoadState}.`;
      if (isHomeless(unit)) return waited > this.#scheduleMs ? `fleet finds no machine for ${label}.` : undefined;
      return waited > LOAD_MS ? `${nameOf(machine)} did not start ${label} within a minute.` : undefined;
    }
    const { systemdActiveState: active, systemdSubState: sub } = state;
    if (active === 'active') return 'up';
    if (active === 'failed' || sub === 'auto-restart') return `${label} ended at once on ${nameOf(machine)}.`;
    if (waited > NOTE_MS && !this.#told) {
      this.#told = true;
      this.#onProgress(`${label}: ${nameOf(machine)} pulls its image`);
    }
    return Date.now() - this.#begin > PULL_MS
      ? `${nameOf(machine)} did not pull the image of ${label} in time.`
      : undefined;
  }
}

/** Whether fleet has found no machine; a unit that runs on all of them has neither machine nor state of its own. */
function isHomeless({ machineID, currentState }: FleetUnit): boolean {
  return machineID === undefined && currentState !== undefined;
}

/** `machine 5f5f9ed7 (10.0.0.2)` */
function nameOf(machine: FleetMachine | undefined): string {
  return machine === undefined ? 'its machine' : `machine ${shortId(machine.id)} (${machine.primaryIP})`;
}

function takeUp(machine: FleetMachine | undefined): string {
  return `dinp hosts add NAME ssh://root@${machine?.primaryIP ?? 'ADDRESS'}`;
}

/** Names reach paths of the API: only those of instances do. @throws DinpError usage */
function unitName(instance: string): string {
  if (/^dinp-[a-z0-9]+(?:-{1,2}[a-z0-9]+)*$/.test(instance)) return `${instance}.service`;
  throw new DinpError('usage', `${JSON.stringify(instance)} is no instance.`);
}
