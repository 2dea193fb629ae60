import { join } from 'node:path';
import type Docker from 'dockerode';
import { Addresses } from '../deploy/addresses.ts';
import type { Hosts } from '../deploy/hosts.ts';
import { HostsTarget } from '../deploy/hosts-target.ts';
import { DinpError } from '../domain/errors.ts';
import type { UnitRenderer } from '../domain/unit-file.ts';
import type { Registries } from '../image/registries.ts';
import { CaddyRouter } from '../router/caddy.ts';
import { DockerTarget } from '../run/docker-target.ts';
import { EmitTarget } from '../run/emit-target.ts';
import { LocalHost } from '../run/local-host.ts';
import { SystemdTarget } from '../run/systemd-target.ts';
import type { Target } from '../run/target.ts';
import type { Store } from '../store/store.ts';
import { type RunUnitKind, RunUnits } from '../unit/run-unit.ts';
import { verifyUnits } from '../unit/verify.ts';
import { parsePortRange, type ServerConfig } from './config.ts';
import type { dataPaths } from './data-folder.ts';
import { findProgram } from './find-program.ts';
import { ReleaseUnits } from './release-units.ts';
import { PACKAGE } from './this-machine.ts';

/** Folder of config values on hosts, which only root may read. */
const HOST_ENVIRONMENT = '/etc/dinp/environment';

/** Everything that keeps instances running and leads visitors to them. */
export function createRunSide(parts: {
  config: ServerConfig;
  store: Store;
  docker: Docker;
  serverId: string;
  registries: Registries;
  hosts: Hosts;
  paths: ReturnType<typeof dataPaths>;
}) {
  const { config, store, serverId, paths } = parts;
  const { caddy, listen, bind } = config.router;
  const router = caddy === 'none' ? undefined : new CaddyRouter({ admin: caddy, listen, bind });
  const host = new LocalHost();
  const runUnits = new RunUnits(join(PACKAGE, 'unit-templates'), {
    docker: findProgram('docker', '/usr/bin/docker'),
    server: serverId,
    environmentFolder: paths.environment,
  });
  const units = new ReleaseUnits(
    {
      systemd: { ...rendererOf(runUnits, 'systemd'), verify: (files) => verifyUnits(files, host) },
      fleet: rendererOf(runUnits, 'fleet'),
    },
    paths.units,
  );
  const targets = createTargets({ ...parts, runUnits, host });
  const target = (name: string | undefined): Target => findTarget(targets, name ?? config.target);
  const addresses = new Addresses(store, {
    address: config.address,
    domain: config.domain,
    routerPort: router && portOf(listen),
    appPorts: parsePortRange(config.ports.apps),
    instancePorts: parsePortRange(config.ports.instances),
  });
  return { router, units, targets, target, addresses };
}

function createTargets(parts: {
  docker: Docker;
  serverId: string;
  registries: Registries;
  store: Store;
  hosts: Hosts;
  runUnits: RunUnits;
  host: LocalHost;
  paths: ReturnType<typeof dataPaths>;
}): Map<string, Target> {
  const { docker, serverId, registries, store, hosts, runUnits, host, paths } = parts;
  const all: Target[] = [
    new DockerTarget(docker, {
      serverId,
      findLogin: (repository) => registries.credentialsFor(repository.split('/')[0]!),
    }),
    new SystemdTarget(host, {
      renderer: runUnits,
      server: serverId,
      docker: findProgram('docker', '/usr/bin/docker'),
      environmentFolder: paths.environment,
      verify: (files) => verifyUnits(files, host),
    }),
    new HostsTarget({
      hosts,
      placements: store.placements,
      systemd: (known, machine) => {
        const options = { docker: known.docker, server: serverId, environmentFolder: HOST_ENVIRONMENT };
        const renderer = new RunUnits(join(PACKAGE, 'unit-templates'), options);
        return new SystemdTarget(machine, { ...options, renderer, verify: (files) => verifyUnits(files, machine) });
      },
    }),
    new EmitTarget(paths.units),
  ];
  return new Map(all.map((target) => [target.name, target]));
}

function rendererOf(runUnits: RunUnits, kind: RunUnitKind): UnitRenderer {
  return {
    render: async (_release, specs) => runUnits.render(specs, kind),
    secretFiles: (_release, specs) =>
      specs.flatMap((spec) => runUnits.environmentFiles(spec)).map(({ path, text }) => ({ name: path, text })),
  };
}

function findTarget(targets: Map<string, Target>, name: string): Target {
  const found = targets.get(name);
  if (found) return found;
  throw new DinpError('config', `there is no target ${name}.`, {
    hint: `This server has: ${[...targets.keys()].join(', ')}.`,
  });
}

/** The port of a listen address such as `:80` or `0.0.0.0:8080`. */
function portOf(listen: string): number {
  return Number(listen.slice(listen.lastIndexOf(':') + 1));
}
