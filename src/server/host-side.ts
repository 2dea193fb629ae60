import { join } from 'node:path';
import { BuildHosts } from '../deploy/hosts/build-hosts.ts';
import { Hosts } from '../deploy/hosts/hosts.ts';
import type { RunHost } from '../domain/run-host.ts';
import type { ContextDoor } from '../image/host/context-door.ts';
import { pushCheckImage } from '../image/registry/check-image.ts';
import type { Registries } from '../image/registry/registries.ts';
import { HostLink } from '../run/ssh/host-link.ts';
import { askHostKey } from '../run/ssh/ssh-connection.ts';
import { ensureHostKey } from '../ssh/host-key.ts';
import type { Store } from '../store/store.ts';
import { BuildUnits } from '../unit/build-unit.ts';
import type { ServerConfig } from './config.ts';
import type { dataPaths } from './data-folder.ts';
import { PACKAGE } from './this-machine.ts';

/** Folder of config values on hosts, which only root may read. */
export const HOST_ENVIRONMENT = '/etc/dinp/environment';

/** The machines that run instances over SSH. Our key to them is made when it is first asked for. */
export function createHosts(parts: {
  config: ServerConfig;
  store: Store;
  serverId: string;
  registries: Registries;
  paths: ReturnType<typeof dataPaths>;
  /** Where hosts fetch what they build. */
  door: ContextDoor;
  onAnswer(host: RunHost): void;
  onLost(apps: string[]): void;
}): Hosts {
  const { config, store, serverId, registries, paths } = parts;
  const { push, pull, auth } = config.registry;
  const [, host, port] = /^\[?([^\]]+?)\]?:(\d+)$/.exec(push) ?? [undefined, push, '443'];
  return new Hosts({
    store,
    publicKey: () => `${ensureHostKey(paths.hostsKey).publicKey} dinp`,
    onAnswer: parts.onAnswer,
    onLost: parts.onLost,
    link: (known, onOpen) =>
      new HostLink(known, {
        privateKey: ensureHostKey(paths.hostsKey).privateKey,
        server: serverId,
        onOpen,
        door: (connection) => parts.door.serve(connection),
        // Through the connection, unless hosts have an address of their own for the registry.
        registry: pull === undefined ? { host: host!, port: Number(port), login: auth } : undefined,
      }),
    askHostKey,
    pushCheckImage: async (mark, signal) => {
      const image = await pushCheckImage(registries.own, mark, signal);
      return { ...image, repository: image.repository.replace(push, pull ?? push) };
    },
    removeCheckImage: async ({ repository, digest }) => {
      await registries.own.deleteManifest(repository.slice(repository.indexOf('/') + 1), digest);
    },
    registry: { push, pull },
  });
}

/** The hosts that build for us. */
export function createBuildHosts(parts: {
  hosts: Hosts;
  serverId: string;
  registries: Registries;
  door: ContextDoor;
}): BuildHosts {
  const { hosts, serverId, registries, door } = parts;
  return new BuildHosts({
    hosts,
    server: serverId,
    units: new BuildUnits(join(PACKAGE, 'unit-templates')),
    door,
    credentials: () => {
      const { [registries.own.address]: own, ...others } = registries.credentials();
      return { own, others };
    },
  });
}
