import { join } from 'node:path';
import type { InstanceSpec } from '../domain/instance.ts';
import type { UnitFile, UnitRenderer } from '../domain/unit-file.ts';
import type { Repositories } from '../git/repositories.ts';
import type { LocalHost } from '../run/local-host.ts';
import { renderServices } from '../run/swarm/swarm-service.ts';
import { KustomizeRenderer } from '../unit/kustomize.ts';
import { QuadletUnits } from '../unit/quadlet.ts';
import { RunUnits } from '../unit/run-unit.ts';
import { verifyQuadlets, verifyUnits } from '../unit/verify.ts';
import type { dataPaths } from './data-folder.ts';
import { findProgram } from './find-program.ts';
import { HOST_ENVIRONMENT } from './host-side.ts';
import { ReleaseUnits } from './release-units.ts';
import { PACKAGE } from './this-machine.ts';

const TEMPLATES = join(PACKAGE, 'unit-templates');

/** How instances become units on this machine, and the unit files that every release has. */
export function createUnits(parts: {
  serverId: string;
  host: LocalHost;
  repositories: Repositories;
  paths: ReturnType<typeof dataPaths>;
  fleetMetadata: readonly string[];
}) {
  const { serverId, host, repositories, paths, fleetMetadata } = parts;
  const options = { server: serverId, environmentFolder: paths.environment };
  const runUnits = new RunUnits(TEMPLATES, { ...options, docker: findProgram('docker', '/usr/bin/docker') });
  // fleet chooses the machine: all of them have the CLI where Debian and CoreOS put it.
  const machines = { server: serverId, environmentFolder: HOST_ENVIRONMENT, docker: '/usr/bin/docker' };
  const fleetUnits = new RunUnits(TEMPLATES, { ...machines, fleetMetadata });
  const quadlets = new QuadletUnits(TEMPLATES, { ...options, podman: findProgram('podman', '/usr/bin/podman') });
  const units = new ReleaseUnits(
    {
      systemd: {
        ...instanceRenderer(runUnits, (specs) => runUnits.render(specs, 'systemd')),
        verify: (files) => verifyUnits(files, host),
      },
      fleet: instanceRenderer(fleetUnits, (specs) => fleetUnits.render(specs, 'fleet')),
      quadlet: {
        ...instanceRenderer(quadlets, (specs) => quadlets.render(specs)),
        verify: (files) => verifyQuadlets(files, host),
      },
      swarm: {
        render: async (_release, specs) => renderServices(specs, serverId, { values: false }),
        // They are within the services, as the engine's API takes them.
        secretFiles: (_release, specs) => renderServices(specs, serverId, { values: true }),
      },
      kustomize: new KustomizeRenderer({
        openTree: async ({ app, source }) =>
          source.kind === 'commit' ? await repositories.openTree(app, source.sha) : undefined,
      }),
    },
    paths.units,
  );
  return { units, runUnits, fleetUnits, quadlets };
}

/** The units of machines that are reached over SSH. @param docker absolute path of the docker CLI there */
export function hostUnits(docker: string, serverId: string, environmentFolder: string): RunUnits {
  return new RunUnits(TEMPLATES, { docker, server: serverId, environmentFolder });
}

/** Of kinds that have a unit for each instance, and its config values in files. */
function instanceRenderer(
  units: RunUnits | QuadletUnits,
  render: (specs: InstanceSpec[]) => UnitFile[],
): Pick<UnitRenderer, 'render' | 'secretFiles'> {
  return {
    render: async (_release, specs) => render(specs),
    secretFiles: (_release, specs) =>
      specs.flatMap((spec) => units.environmentFiles(spec)).map(({ path, text }) => ({ name: path, text })),
  };
}
