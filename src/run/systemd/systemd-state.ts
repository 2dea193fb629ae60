import type { ContainerInspectInfo } from 'dockerode';
import type { RunningInstance } from '../../domain/instance.ts';
import { runningInstance } from '../docker/docker-container.ts';

/** What a unit file says about the instance that it runs (its section X-Dinp). */
export interface UnitFacts {
  name: string;
  server: string;
  app: string;
  release: number;
  process: string;
  index: number;
  hostPort: number | undefined;
}

/** The properties of a unit that say how its instance does, as `systemctl show` prints them. */
export type UnitState = Record<string, string>;

export const SHOWN = [
  'Id',
  'LoadState',
  'NeedDaemonReload',
  'ActiveState',
  'SubState',
  'Result',
  'NRestarts',
  'ExecMainCode',
  'ExecMainStatus',
];

/**
 * Reads the output of `grep -H` for the lines of X-Dinp sections: `/etc/…/NAME.service:App=blog`, or `.container`.
 */
export function parseFacts(output: string): UnitFacts[] {
  const units = new Map<string, Record<string, string>>();
  for (const line of output.split('\n')) {
    const found = /\/([a-z0-9-]+)\.(?:service|container):(\w+)=(.*)$/.exec(line);
    if (!found) continue;
    const [, name, key, value] = found as unknown as [string, string, string, string];
    units.set(name, { ...units.get(name), [key]: value });
  }
  return [...units]
    .filter(([, facts]) => facts.App !== undefined && facts.Server !== undefined)
    .map(([name, facts]) => ({
      name,
      server: facts.Server!,
      app: facts.App!,
      release: Number(facts.Release),
      process: facts.Process ?? '',
      index: Number(facts.Index),
      hostPort: facts.HostPort === undefined ? undefined : Number(facts.HostPort),
    }));
}

/** Reads `systemctl show` of several units, by unit name without `.service`. */
export function parseShow(output: string): Map<string, UnitState> {
  const blocks = output.split(/\n\n+/).map((block) =>
    Object.fromEntries(
      block.split('\n').map((line) => {
        const equals = line.indexOf('=');
        return [line.slice(0, equals), line.slice(equals + 1)];
      }),
    ),
  );
  return new Map(blocks.filter((block) => block.Id).map((block) => [block.Id!.replace(/\.service$/, ''), block]));
}

/** Puts together what the unit file, systemd and the engine know about an instance. */
export function instanceState(
  facts: UnitFacts,
  unit: UnitState,
  container: ContainerInspectInfo | undefined,
): RunningInstance {
  const { name, app, release, process, index, hostPort } = facts;
  const running = container?.State.Running === true && isUp(unit) ? runningInstance(container) : undefined;
  const state = running?.state ?? stateWithoutContainer(unit);
  const ended = state === 'exited' || state === 'restarting';
  return {
    ...(running ?? { healthy: undefined, startedAt: undefined }),
    ...{ name, app, release, process, index, hostPort, state },
    exitCode: ended ? exitCode(unit) : undefined,
    restarts: Number(unit.NRestarts ?? 0),
  };
}

/** True while systemd keeps the unit up, which includes stopping and starting it. */
function isUp(unit: UnitState): boolean {
  return unit.ActiveState === 'active' || unit.ActiveState === 'reloading';
}

function stateWithoutContainer(unit: UnitState): RunningInstance['state'] {
  if (unit.SubState === 'auto-restart') return 'restarting';
  // Between the start of the docker CLI and that of the container, or while the image is pulled.
  if (isUp(unit) || unit.ActiveState === 'activating') return 'starting';
  return 'exited';
}

/** As a shell says it: 128 and the number of the signal, where one ended the docker CLI. Code 1 is "exited". */
export function exitCode(unit: UnitState): number | undefined {
  const code = Number(unit.ExecMainCode);
  if (!(code > 0)) return undefined;
  return code === 1 ? Number(unit.ExecMainStatus) : 128 + Number(unit.ExecMainStatus);
}
