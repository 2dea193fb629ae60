import type { RunningInstance } from '../../domain/instance.ts';
import type { UnitFacts } from '../systemd/systemd-state.ts';
import type { FleetMachine, FleetOption, FleetState, FleetUnit } from './fleet-client.ts';

/** What a unit says of the instance that it runs (its section X-Dinp). */
export interface FleetFacts extends UnitFacts {
  /** It runs one command, and is no instance. */
  oneOff: boolean;
}

/** Facts of a unit that a dinp server made; undefined for all others. */
export function factsOf({ name, options }: { name: string; options: FleetOption[] }): FleetFacts | undefined {
  const said = new Map(
    options.filter(({ section }) => section === 'X-Dinp').map(({ name: key, value }) => [key, value]),
  );
  const [server, app] = [said.get('Server'), said.get('App')];
  if (server === undefined || app === undefined) return undefined;
  const hostPort = said.get('HostPort');
  return {
    ...{ name: name.replace(/\.service$/, ''), server, app },
    release: Number(said.get('Release')),
    process: said.get('Process') ?? '',
    index: Number(said.get('Index')),
    hostPort: hostPort === undefined ? undefined : Number(hostPort),
    oneOff: said.get('OneOff') === 'true',
  };
}

/** The newest word on a unit: of the machine that it is scheduled to, or of any for one that runs on all of them. */
export function stateOf(unit: FleetUnit, states: readonly FleetState[]): FleetState | undefined {
  const own = states.filter(({ name }) => name === unit.name);
  if (unit.machineID !== undefined) return own.find(({ machineID }) => machineID === unit.machineID);
  // Where it fails on one machine, that is what has to be told.
  return own.find(({ systemdActiveState }) => systemdActiveState !== 'active') ?? own[0];
}

/** The machine that a unit runs on, or is to run on. */
export function machineOf(
  unit: FleetUnit,
  states: readonly FleetState[],
  machines: readonly FleetMachine[],
): FleetMachine | undefined {
  const id = unit.machineID ?? states.find(({ name }) => name === unit.name)?.machineID;
  return machines.find((machine) => machine.id === id);
}

/** What fleet knows of an instance: nothing of its exit status, its start or how often it was restarted. */
export function fleetInstance(
  unit: FleetUnit,
  facts: FleetFacts,
  states: readonly FleetState[],
  machines: readonly FleetMachine[],
): RunningInstance {
  const { name, app, release, process, index, hostPort } = facts;
  const machine = machineOf(unit, states, machines);
  const unknown = { exitCode: undefined, healthy: undefined, startedAt: undefined, restarts: 0 };
  return {
    ...{ name, app, release, process, index, hostPort, ...unknown },
    state: unit.machineID !== undefined && machine === undefined ? 'unreachable' : runState(stateOf(unit, states)),
    ...(machine && { host: shortId(machine.id), hostAddress: machine.primaryIP }),
  };
}

/** As fleetctl prints them. */
export function shortId(machine: string): string {
  return machine.slice(0, 8);
}

function runState(state: FleetState | undefined): RunningInstance['state'] {
  if (state === undefined) return 'starting';
  const { systemdActiveState: active, systemdSubState: sub } = state;
  if (sub === 'auto-restart') return 'restarting';
  if (active === 'active') return 'running';
  return active === 'activating' || active === 'reloading' ? 'starting' : 'exited';
}
