import type { FleetMachine, FleetOption, FleetState } from '../../src/run/fleet/fleet-client.ts';
import { globMatches, unitHash, type Wishes, wishesOf } from './fleet-rules.ts';
import { UnitRunner } from './unit-runner.ts';

/** What is recorded of a unit. */
export interface Recorded {
  name: string;
  options: FleetOption[];
  /** As it was written, right or wrong. */
  desired: string;
  machineID: string | undefined;
}

interface Loaded {
  hash: string;
  machineID: string;
  runner: UnitRunner;
  isStopping: boolean;
}

/** Milliseconds between two looks of the engine and of the agents: fleetd has 2 s and 5 s, and hears of changes earlier. */
export interface ClusterPace {
  engine: number;
  agent: number;
}

/** What fleetd's engine and agents do with recorded units: choose machines, load, launch, stop, report. Units really run here. */
export class FleetCluster {
  readonly units = new Map<string, Recorded>();
  machines: FleetMachine[];
  #states: FleetState[] = [];
  readonly #loaded = new Map<string, Loaded>();
  readonly #timers: NodeJS.Timeout[];

  constructor(machines: FleetMachine[], pace: ClusterPace) {
    this.machines = machines;
    this.#timers = [
      setInterval(() => this.#schedule(), pace.engine),
      setInterval(() => this.#reconcile(), pace.agent),
      // What systemd knows is published a little later.
      setInterval(() => this.#publish(), pace.agent),
    ];
  }

  /** Sorted by name and machine, as they are in etcd. */
  get states(): FleetState[] {
    return this.#states;
  }

  currentState(unit: Recorded): string {
    const loaded = this.#loaded.get(`${unit.name} ${unit.machineID}`);
    if (loaded === undefined) return 'inactive';
    return loaded.runner.properties.active === 'inactive' ? 'loaded' : 'launched';
  }

  /** Takes a machine from the cluster with all that it runs, as a power cut does. */
  async lose(id: string): Promise<void> {
    this.machines = this.machines.filter((machine) => machine.id !== id);
    for (const unit of this.units.values()) if (unit.machineID === id) unit.machineID = undefined;
    const lost = [...this.#loaded].filter(([, { machineID }]) => machineID === id);
    for (const [key] of lost) this.#loaded.delete(key);
    this.#publish();
    await Promise.all(lost.map(([, { runner }]) => runner.stop()));
  }

  /** Engine and agents look at nothing any more. */
  freeze(): void {
    for (const timer of this.#timers) clearInterval(timer);
  }

  async close(): Promise<void> {
    this.freeze();
    await Promise.all([...this.#loaded.values()].map(({ runner }) => runner.stop()));
  }

  #schedule(): void {
    for (const unit of [...this.units.values()].sort((a, b) => (a.name < b.name ? -1 : 1))) {
      const wishes = wishesOf(unit.name, unit.options);
      if (wishes.isGlobal) continue;
      if (unit.desired !== 'launched' && unit.desired !== 'loaded') unit.machineID = undefined;
      else if (unit.machineID === undefined) unit.machineID = this.#choose(unit, wishes)?.id;
    }
  }

  /** The machine with the fewest units of those that may run it. */
  #choose(unit: Recorded, wishes: Wishes): FleetMachine | undefined {
    const on = (machine: FleetMachine) => [...this.units.values()].filter(({ machineID }) => machineID === machine.id);
    return this.machines
      .filter((machine) => fits(machine, wishes))
      .filter((machine) => wishes.machineOf.every((peer) => on(machine).some(({ name }) => name === peer)))
      .filter((machine) => !on(machine).some((other) => collide(unit, wishes, other)))
      .sort((a, b) => on(a).length - on(b).length || (a.id < b.id ? -1 : 1))[0];
  }

  #reconcile(): void {
    const wanted = new Map<string, { unit: Recorded; machineID: string }>();
    for (const unit of this.units.values()) {
      const wishes = wishesOf(unit.name, unit.options);
      const all = this.machines.filter((machine) => fits(machine, wishes)).map(({ id }) => id);
      const ids = wishes.isGlobal ? all : unit.machineID === undefined ? [] : [unit.machineID];
      for (const machineID of ids) wanted.set(`${unit.name} ${machineID}`, { unit, machineID });
    }
    for (const [key, loaded] of this.#loaded) {
      const unit = wanted.get(key)?.unit;
      // Other options: unloaded now, and loaded anew at the next look.
      if (unit === undefined || unitHash(unit.options) !== loaded.hash) {
        this.#loaded.delete(key);
        void loaded.runner.stop();
      } else if (unit.desired === 'launched' && !loaded.isStopping) loaded.runner.start();
      else if (unit.desired === 'loaded' && loaded.runner.properties.active !== 'inactive' && !loaded.isStopping) {
        loaded.isStopping = true;
        void loaded.runner.stop().then(() => (loaded.isStopping = false));
      }
      wanted.delete(key);
    }
    for (const [key, { unit, machineID }] of wanted) {
      const runner = new UnitRunner(unit.options);
      this.#loaded.set(key, { hash: unitHash(unit.options), machineID, runner, isStopping: false });
    }
  }

  #publish(): void {
    this.#states = [...this.#loaded]
      .map(([key, { hash, machineID, runner }]) => ({
        name: key.slice(0, key.lastIndexOf(' ')),
        hash,
        machineID,
        systemdLoadState: runner.properties.load,
        systemdActiveState: runner.properties.active,
        systemdSubState: runner.properties.sub,
      }))
      .sort((a, b) => (`${a.name} ${a.machineID}` < `${b.name} ${b.machineID}` ? -1 : 1));
  }
}

function fits(machine: FleetMachine, { machineId, metadata }: Wishes): boolean {
  if (machineId !== undefined && machineId !== machine.id) return false;
  return [...metadata].every(([key, values]) => values.includes(machine.metadata[key] ?? ''));
}

function collide(unit: Recorded, wishes: Wishes, other: Recorded): boolean {
  if (other.name === unit.name) return false;
  const theirs = wishesOf(other.name, other.options).conflicts;
  return (
    wishes.conflicts.some((pattern) => globMatches(pattern, other.name)) ||
    theirs.some((pattern) => globMatches(pattern, unit.name))
  );
}
