import type { App } from '../domain/app.ts';
import type { InstanceSpec } from '../domain/instance.ts';
import type { Release, ReleaseService } from '../domain/release.ts';
import type { Target } from '../run/target.ts';
import type { Store } from '../store/store.ts';
import type { Addresses } from './addresses.ts';
import { findProcess, formationOf, type InstanceSettings, planInstance, planInstances, WEB } from './instances.ts';
import { type Progress, SILENT } from './progress.ts';

export interface PlanParts {
  store: Store;
  addresses: Addresses;
  /** @throws DinpError config for a target this server does not have */
  target(name: string | undefined): Target;
  pullRepository(repository: string): string;
}

export interface PlanOptions {
  /** How many of each process; as the operator and the manifest want it where not given. */
  formation?: Record<string, number>;
  /** Instances that cannot stay where they are get another host. */
  moving?: boolean;
  progress?: Progress;
}

/** Which instances a release should run as, on which ports and hosts. */
export class InstancePlans {
  readonly #parts: PlanParts;

  constructor(parts: PlanParts) {
    this.#parts = parts;
  }

  /** The instances a release should have now, each with its port and, of a target with several hosts, its host. */
  async plan(app: App, release: Release, options: PlanOptions = {}): Promise<InstanceSpec[]> {
    const { moving = false, progress = SILENT } = options;
    const formation = options.formation ?? formationOf(release, this.#parts.store.formation.get(app.id));
    const draft = planInstances(
      release,
      formation,
      this.#settings(release, () => 0),
    );
    const target = this.#parts.target(release.target);
    const held = await target.place?.(draft, { moving, onProgress: (line) => progress.line(line) });
    const withPort = draft.filter(({ port }) => port !== undefined).map(({ name }) => name);
    await this.#parts.addresses.ensureInstancePorts(app, withPort, held);
    return planInstances(release, formation, this.#settings(release));
  }

  /** The instances of any release, as its unit files show them; takes no ports: those of a release that is gone read 0. */
  forDisplay(release: Release): InstanceSpec[] {
    const formation = formationOf(release, this.#parts.store.formation.get(release.appId));
    return planInstances(
      release,
      formation,
      this.#settings(release, (name) => this.#parts.store.ports.find(name) ?? 0),
    );
  }

  /** The first instance of a process, as one-off commands need it; holds no port. */
  one(release: Release, process: string | undefined): InstanceSpec {
    const found = findProcess(release, process);
    return planInstance(
      release,
      found.service,
      found.process,
      1,
      this.#settings(release, (name) => this.#parts.store.ports.find(name) ?? 0),
    );
  }

  /** What the release command of a service runs in: as its first process does, without its port. */
  forReleaseCommand(release: Release, service: ReleaseService): InstanceSpec {
    const first = service.processes.find((process) => process.name === WEB) ?? service.processes[0]!;
    const settings = this.#settings(release, () => 0);
    return planInstance(release, service, first, 1, settings);
  }

  #settings(
    release: Release,
    hostPort = (name: string): number => this.#parts.store.ports.find(name)!,
  ): InstanceSettings {
    const target = this.#parts.target(release.target);
    return { pullRepository: this.#parts.pullRepository, hostPort, placeOf: (name) => target.placeOf?.(name) };
  }
}
