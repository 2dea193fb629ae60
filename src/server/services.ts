import type Docker from 'dockerode';
import type { ServiceStatus } from '../commands/context.ts';
import type { RegistryClient } from '../image/registry/registry.ts';
import type { Router } from '../router/router.ts';
import type { ServerConfig } from './config.ts';

/** Whether engine, registry and router answer, and where they are. */
export async function checkServices(parts: {
  config: ServerConfig;
  docker: Docker;
  registry: RegistryClient;
  router: Router | undefined;
}): Promise<ServiceStatus[]> {
  const { config, docker, registry, router } = parts;
  return await Promise.all([
    status('engine', config.docker.socket, async () => {
      const version = await docker.version().catch((error: unknown) => {
        if (needsEngine(config)) throw error;
      });
      if (version === undefined) return 'none here: Dockerfiles are built on hosts';
      return `Docker ${version.Version} at ${config.docker.socket}`;
    }),
    status('registry', config.registry.push, async () => {
      await registry.ping();
      return `at ${config.registry.push}`;
    }),
    checkRouters(router),
  ]).then((all) => all.flat());
}

/** A row for each router. */
async function checkRouters(router: Router | undefined): Promise<ServiceStatus[]> {
  if (!router) return [{ name: 'router', ok: true, detail: 'none: addresses change with every release' }];
  return (await router.check()).map(({ router: where, routes, error }) => ({
    name: 'router',
    ok: error === undefined,
    detail: error === undefined ? `Caddy at ${where}, ${routes} routes` : `${where}: ${error.message}`,
  }));
}

/** Whether a server so configured is broken without an engine. */
function needsEngine({ builds, target, swarm }: ServerConfig): boolean {
  if (builds.on === 'local' || target === 'docker' || target === 'systemd') return true;
  return target === 'swarm' && swarm.managers.length === 0;
}

async function status(name: string, where: string, look: () => Promise<string>): Promise<ServiceStatus> {
  try {
    return { name, ok: true, detail: await look() };
  } catch (error) {
    return { name, ok: false, detail: `${where}: ${(error as Error).message}` };
  }
}
