import type { App } from '../domain/app.ts';
import { DinpError } from '../domain/errors.ts';
import { type InstanceSpec, instanceName } from '../domain/instance.ts';
import type { Process } from '../domain/process.ts';
import type { Release, ReleaseService } from '../domain/release.ts';

/** The process that gets the app's address. */
export const WEB = 'web';

/** How a release becomes instances on this server. */
export interface InstanceSettings {
  /** Turns the repository that images were pushed to into the one that hosts pull from. */
  pullRepository(repository: string): string;
  /** Port of the host that an instance holds. */
  hostPort(instance: string): number;
  /** Host that an instance was given, or only its address where the engine may move it; undefined: this machine. */
  placeOf?(instance: string): { host?: string; address: string } | undefined;
}

/** How many instances of each process are wanted: the operator's word, else the manifest's. */
export function formationOf(release: Release, scaled: Record<string, number>): Record<string, number> {
  const processes = release.services.flatMap((service) => service.processes);
  return Object.fromEntries(processes.map((process) => [process.name, scaled[process.name] ?? process.instances]));
}

/** The instances that a release should run as, in the order of its services and processes. */
export function planInstances(
  release: Release,
  formation: Record<string, number>,
  settings: InstanceSettings,
): InstanceSpec[] {
  return release.services.flatMap((service) =>
    service.processes.flatMap((process) =>
      Array.from({ length: formation[process.name] ?? process.instances }, (_, i) =>
        planInstance(release, service, process, i + 1, settings),
      ),
    ),
  );
}

export function planInstance(
  release: Release,
  service: ReleaseService,
  process: Process,
  index: number,
  settings: InstanceSettings,
): InstanceSpec {
  const name = instanceName(release.app, service.service, process.name, release.number, index);
  const place = settings.placeOf?.(name);
  const port =
    process.port === undefined
      ? undefined
      : { container: process.port, host: settings.hostPort(name), ...(place && { address: place.address }) };
  return {
    name,
    app: release.app,
    release: release.number,
    service: service.service,
    process: process.name,
    index,
    image: { ...service.image, repository: settings.pullRepository(service.image.repository) },
    command: process.command,
    env: {
      ...withoutKeys(service.env, release.config),
      ...(port === undefined ? {} : { PORT: String(port.container) }),
      DINP_APP: release.app,
      DINP_RELEASE: `v${release.number}`,
      ...(service.commit === undefined ? {} : { DINP_COMMIT: service.commit }),
    },
    secrets: release.config,
    memoryBytes: process.memoryBytes,
    port,
    ...(place?.host !== undefined && { host: place.host }),
    ...(release.hosts.length > 0 && { hosts: release.hosts }),
    ...(Object.keys(release.fleet).length > 0 && { fleet: release.fleet }),
    volumes: Object.fromEntries(
      Object.entries(process.volumes).map(([volume, path]) => [volumeName(release.app, volume), path]),
    ),
    health: process.health,
    stopMs: process.stopMs,
  };
}

/** The engine's name for a volume of an app. */
export function volumeName(app: string, volume: string): string {
  return `dinp-${app}--${volume}`;
}

/** The volumes of a release: as dinp.yml calls them, as the target does, and where a process has them. */
export function listVolumes(release: Release): { name: string; volume: string; path: string; process: string }[] {
  return release.services.flatMap((service) =>
    service.processes.flatMap((process) =>
      Object.entries(process.volumes).map(([name, path]) => ({
        name,
        volume: volumeName(release.app, name),
        path,
        process: process.name,
      })),
    ),
  );
}

/** The service and process of a release by process name; `web`, or the first one, where none is named. */
export function findProcess(release: Release, name: string | undefined): { service: ReleaseService; process: Process } {
  const all = release.services.flatMap((service) => service.processes.map((process) => ({ service, process })));
  const found =
    name === undefined
      ? (all.find(({ process }) => process.name === WEB) ?? all[0])
      : all.find(({ process }) => process.name === name);
  if (found) return found;
  throw new DinpError('not-found', `${release.app} v${release.number} has no process ${name}.`, {
    hint: `It has: ${all.map(({ process }) => process.name).join(', ')}.`,
  });
}

/** Checks a formation that an operator typed against what the live release has. @throws DinpError usage */
export function checkFormation(app: App, release: Release, formation: Record<string, number>): void {
  for (const [name, count] of Object.entries(formation)) {
    findProcess(release, name);
    if (Number.isInteger(count) && count >= 0 && count <= 100) continue;
    throw new DinpError('usage', `${name}=${count} is no number of instances.`, {
      hint: `Use 0 to 100: dinp scale ${app.name} ${name}=2`,
    });
  }
}

function withoutKeys(env: Record<string, string>, keys: Record<string, string>): Record<string, string> {
  return Object.fromEntries(Object.entries(env).filter(([name]) => !(name in keys)));
}
