import Docker from 'dockerode';
import type { Hosts } from '../deploy/hosts/hosts.ts';
import { DinpError } from '../domain/errors.ts';
import type { Registries } from '../image/registry/registries.ts';
import type { HostLink } from '../run/ssh/host-link.ts';
import { engineOver } from '../run/ssh/ssh-engine.ts';
import type { ManagerEngine } from '../run/swarm/swarm-managers.ts';
import { SwarmTarget } from '../run/swarm/swarm-target.ts';
import type { ServerConfig } from './config.ts';

/** The target of a Docker Swarm, whose managers are engines of hosts or of this machine. */
export function createSwarmTarget(parts: {
  config: ServerConfig;
  docker: Docker;
  serverId: string;
  registries: Registries;
  hosts: Hosts;
}): SwarmTarget {
  const { config, docker, serverId, registries, hosts } = parts;
  return new SwarmTarget({
    managers: managerEngines(config, docker, hosts),
    serverId,
    imageFor: async (image, nodes) => ({
      image: await hosts.imageOnAll(nodes, image),
      login: registries.credentialsFor(image.repository.split('/')[0]!),
    }),
    machineOf: ({ name, address }) => {
      const known = hosts.list();
      const host = known.find((each) => each.address === address) ?? known.find((each) => each.name === name);
      return host && { machine: hosts.link(host).host, docker: host.docker };
    },
  });
}

function managerEngines({ docker: { socket }, swarm }: ServerConfig, docker: Docker, hosts: Hosts): ManagerEngine[] {
  if (swarm.managers.length === 0) return [{ name: socket, docker: () => docker }];
  const opened = new WeakMap<HostLink, Docker>();
  return swarm.managers.map((manager) => {
    if (manager.startsWith('unix://')) {
      const engine = new Docker({ socketPath: manager.slice('unix://'.length) });
      return { name: manager, docker: () => engine };
    }
    return {
      name: manager,
      docker: () => {
        const known = hosts.list().find(({ name }) => name === manager);
        if (known === undefined) throw noManager(manager);
        const link = hosts.link(known);
        const engine = opened.get(link) ?? engineOver(link);
        opened.set(link, engine);
        return engine;
      },
    };
  });
}

function noManager(name: string): DinpError {
  return new DinpError('unavailable', `swarm.managers names ${name}, which is no host of this server.`, {
    hint: `Take it up: dinp hosts add ${name} ssh://root@ADDRESS`,
  });
}
