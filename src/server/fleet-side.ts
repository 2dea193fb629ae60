import { readFileSync } from 'node:fs';
import type { Hosts } from '../deploy/hosts/hosts.ts';
import { DinpError } from '../domain/errors.ts';
import { FleetClient } from '../run/fleet/fleet-client.ts';
import type { FleetAccess } from '../run/fleet/fleet-machines.ts';
import { FleetTarget } from '../run/fleet/fleet-target.ts';
import { SystemdTarget } from '../run/systemd/systemd-target.ts';
import { dockerEngine } from '../run/systemd/unit-engine.ts';
import { fleetUnit } from '../unit/fleet-section.ts';
import type { RunUnits } from '../unit/run-unit.ts';
import type { ServerConfig } from './config.ts';
import { HOST_ENVIRONMENT } from './host-side.ts';
import { hostUnits } from './unit-side.ts';

/** Where fleet's agents keep the units that they were given. */
const FLEET_UNITS = '/run/fleet/units';

/**
 * The target fleet; none where the config names no API.
 * @throws DinpError config where it is the server's own target then, or a file of it cannot be read
 */
export function createFleetTargets(parts: {
  config: ServerConfig;
  serverId: string;
  hosts: Hosts;
  fleetUnits: RunUnits;
}): FleetTarget[] {
  const { config, serverId: server, hosts, fleetUnits } = parts;
  const { endpoint, ca, cert, key, configInUnits } = config.fleet;
  if (endpoint === undefined) {
    if (config.target !== 'fleet') return [];
    throw new DinpError('config', 'the target is fleet, and fleet.endpoint does not say where its API is.', {
      hint: 'For example unix:///var/run/fleet.sock',
    });
  }
  const pem = (file: string | undefined) => (file === undefined ? undefined : readPem(file));
  const client = new FleetClient({ endpoint, tls: { ca: pem(ca), cert: pem(cert), key: pem(key) } });
  const renderer = {
    unit: (spec: Parameters<RunUnits['environmentFiles']>[0]) => fleetUnit(fleetUnits.render([spec], 'fleet')[0]!),
    once: (...args: Parameters<RunUnits['renderFleetOnce']>) => fleetUnit(fleetUnits.renderFleetOnce(...args)),
    environmentFiles: (spec: Parameters<RunUnits['environmentFiles']>[0]) => fleetUnits.environmentFiles(spec),
  };
  const access = machineAccess(hosts, server);
  return [new FleetTarget({ client, renderer, server, access, environmentFolder: HOST_ENVIRONMENT, configInUnits })];
}

/** A machine of fleet is known to us where `dinp hosts` has one of its address. */
function machineAccess(hosts: Hosts, server: string): (address: string) => FleetAccess | undefined {
  return (address) => {
    const known = hosts.list().find((host) => host.address === address || host.ssh.host === address);
    if (known === undefined) return undefined;
    const { host } = hosts.link(known);
    const engine = { ...dockerEngine(known.docker), unitFolder: FLEET_UNITS };
    const renderer = hostUnits(known.docker, server, HOST_ENVIRONMENT);
    const options = { renderer, server, engine, environmentFolder: HOST_ENVIRONMENT };
    const units = new SystemdTarget(host, { ...options, verify: async () => undefined });
    return { host, units };
  };
}

function readPem(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (cause) {
    throw new DinpError('config', `the file ${file} of fleet's TLS cannot be read: ${(cause as Error).message}.`, {
      cause,
    });
  }
}
