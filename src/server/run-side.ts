import type Docker from 'dockerode';
import { Addresses } from '../deploy/addresses.ts';
import type { Hosts } from '../deploy/hosts/hosts.ts';
import { HostsTarget } from '../deploy/hosts/hosts-target.ts';
import { DinpError } from '../domain/errors.ts';
import type { Repositories } from '../git/repositories.ts';
import type { Registries } from '../image/registry/registries.ts';
import { CaddyRouter } from '../router/caddy.ts';
import { RouterGroup } from '../router/router-group.ts';
import { hasHttps, portOf } from '../router/tls.ts';
import { DockerTarget } from '../run/docker/docker-target.ts';
import { EmitTarget } from '../run/emit-target.ts';
import { LocalHost } from '../run/local-host.ts';
import { SystemdTarget } from '../run/systemd/systemd-target.ts';
import { dockerEngine, podmanEngine } from '../run/systemd/unit-engine.ts';
import type { Target } from '../run/target.ts';
import type { Store } from '../store/store.ts';
import type { QuadletUnits } from '../unit/quadlet.ts';
import type { RunUnits } from '../unit/run-unit.ts';
import { verifyQuadlets, verifyUnits } from '../unit/verify.ts';
import { adminAddresses, parsePortRange, type ServerConfig } from './config.ts';
import type { dataPaths } from './data-folder.ts';
import { findProgram } from './find-program.ts';
import { createFleetTargets } from './fleet-side.ts';
import { HOST_ENVIRONMENT } from './host-side.ts';
import { readTls } from './read-tls.ts';
import { createSwarmTarget } from './swarm-side.ts';
import { createUnits, hostUnits } from './unit-side.ts';

/** Everything that keeps instances running and leads visitors to them. */
export function createRunSide(parts: {
  config: ServerConfig;
  store: Store;
  docker: Docker;
  serverId: string;
  repositories: Repositories;
  registries: Registries;
  hosts: Hosts;
  paths: ReturnType<typeof dataPaths>;
  /** Told once a router that had missed changes has them. */
  onRouterAnswer(router: string): void;
}) {
  const { config, store, serverId, paths } = parts;
  const { listen, bind } = config.router;
  const tls = readTls(config.router);
  const caddies = adminAddresses(config).map((admin) => new CaddyRouter({ admin, owner: serverId, listen, bind, tls }));
  const router = caddies.length === 0 ? undefined : new RouterGroup(caddies, parts.onRouterAnswer);
  const host = new LocalHost();
  const { units, runUnits, fleetUnits, quadlets } = createUnits({
    serverId,
    host,
    paths,
    repositories: parts.repositories,
    fleetMetadata: config.fleet.metadata,
  });
  const targets = createTargets({ ...parts, runUnits, fleetUnits, quadlets, host });
  const target = (name: string | undefined): Target => findTarget(targets, name ?? config.target);
  const addresses = new Addresses(store, {
    address: config.address,
    domain: config.domain,
    routerPort: router && portOf(listen),
    httpsPort: (host) => (tls && hasHttps(tls, host) ? portOf(tls.listen) : undefined),
    placeOf: (release, instance) => target(release.target).placeOf?.(instance)?.address,
    isReached: (name) => targets.get(name)?.runs !== false,
    appPorts: parsePortRange(config.ports.apps),
    instancePorts: parsePortRange(config.ports.instances),
  });
  return { router, units, targets, target, addresses };
}

function createTargets(parts: {
  config: ServerConfig;
  docker: Docker;
  serverId: string;
  registries: Registries;
  store: Store;
  hosts: Hosts;
  runUnits: RunUnits;
  quadlets: QuadletUnits;
  fleetUnits: RunUnits;
  host: LocalHost;
  paths: ReturnType<typeof dataPaths>;
}): Map<string, Target> {
  const { config, docker, serverId, registries, store, hosts, runUnits, quadlets, host, paths } = parts;
  const findLogin = (repository: string) => registries.credentialsFor(repository.split('/')[0]!);
  const all: Target[] = [
    new DockerTarget(docker, { serverId, findLogin }),
    new SystemdTarget(host, {
      renderer: runUnits,
      server: serverId,
      engine: dockerEngine(findProgram('docker', '/usr/bin/docker')),
      environmentFolder: paths.environment,
      verify: (files) => verifyUnits(files, host),
    }),
    new SystemdTarget(host, {
      renderer: quadlets,
      server: serverId,
      engine: podmanEngine({
        cli: findProgram('podman', '/usr/bin/podman'),
        folder: paths.environment,
        findLogin,
      }),
      environmentFolder: paths.environment,
      verify: (files) => verifyQuadlets(files, host),
    }),
    new HostsTarget({
      hosts,
      placements: store.placements,
      portOf: (instance) => store.ports.find(instance),
      systemd: (known, machine) =>
        new SystemdTarget(machine, {
          renderer: hostUnits(known.docker, serverId, HOST_ENVIRONMENT),
          server: serverId,
          engine: dockerEngine(known.docker),
          environmentFolder: HOST_ENVIRONMENT,
          verify: (files) => verifyUnits(files, machine),
        }),
    }),
    createSwarmTarget({ config, docker, serverId, registries, hosts }),
    ...createFleetTargets(parts),
    new EmitTarget('emit', paths.units),
    new EmitTarget('kustomize', paths.units),
  ];
  return new Map(all.map((target) => [target.name, target]));
}

function findTarget(targets: Map<string, Target>, name: string): Target {
  const found = targets.get(name);
  if (found) return found;
  throw new DinpError('config', `there is no target ${name}.`, {
    hint: `This server has: ${[...targets.keys()].join(', ')}.`,
  });
}
