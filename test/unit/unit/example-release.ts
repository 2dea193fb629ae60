import type { InstanceSpec } from '../../../src/domain/instance.ts';
import { DEFAULT_HEALTH, type Process } from '../../../src/domain/process.ts';
import type { Release, ReleaseService } from '../../../src/domain/release.ts';
import { exampleSpec } from './example-spec.ts';

const IMAGE = exampleSpec().image;

/** A process as a manifest would give it. */
export function exampleProcess(name: string, change: Partial<Process> = {}): Process {
  return {
    ...{ name, command: undefined, instances: 1, memoryBytes: 256 * 1024 * 1024, health: DEFAULT_HEALTH },
    ...{ port: name === 'web' ? 8080 : undefined, stopMs: 30_000, volumes: {} },
    ...change,
  };
}

/** A release of an app with one service, and config where it is given. */
export function exampleRelease(
  app: string,
  service: Partial<ReleaseService> = {},
  change: Partial<Release> = {},
): Release {
  return {
    ...{ id: 7, appId: 1, app, number: 3, state: 'pending', cause: 'deploy', note: undefined, fromNumber: undefined },
    source: { kind: 'commit', sha: 'a31ac71'.padEnd(40, '0'), ref: 'refs/heads/main' },
    ...{
      buildId: 5,
      target: 'kustomize',
      domains: [],
      hosts: [],
      fleet: {},
      keep: {},
      config: {},
      by: 'alice',
      createdAt: 0,
    },
    services: [
      {
        ...{ service: app, commit: undefined, contentKey: 'k', env: {}, releaseCommand: undefined },
        image: { ...IMAGE, repository: `127.0.0.1:5000/${app}` },
        processes: [exampleProcess('web')],
        ...service,
      },
    ],
    ...change,
  };
}

/** The instances of such a release: `count` of each process. */
export function exampleInstances(release: Release, count: Record<string, number>): InstanceSpec[] {
  return release.services.flatMap(({ service, processes, env, image }) =>
    processes.flatMap((process) =>
      Array.from({ length: count[process.name] ?? 0 }, (_, i) =>
        exampleSpec({
          ...{ app: release.app, release: release.number, service, process: process.name, index: i + 1 },
          name: `dinp-${release.app}--${process.name}--v${release.number}--${i + 1}`,
          image: { ...image, repository: image.repository.replace('127.0.0.1:5000', 'registry.example.com') },
          env: { ...env, ...(process.port === undefined ? {} : { PORT: String(process.port) }) },
          ...{ command: process.command, secrets: release.config },
        }),
      ),
    ),
  );
}
