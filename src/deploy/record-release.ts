import type { Build } from '../domain/build.ts';
import { DinpError } from '../domain/errors.ts';
import type { DeployPlan, ServicePlan } from '../domain/plan.ts';
import type { Process } from '../domain/process.ts';
import type { Release, ReleaseService } from '../domain/release.ts';
import { commitOf, describeSource } from '../domain/source.ts';
import type { BuiltImage } from '../image/builder.ts';
import type { Store } from '../store/store.ts';
import type { Addresses } from './addresses.ts';
import type { BuildOutput } from './build-output.ts';

const DEFAULT_PORT = 8080;

export interface RecordParts {
  store: Store;
  addresses: Addresses;
  /** The name of a target, the server's own where none is named. @throws DinpError config for one that this server does not have */
  checkTarget(name: string | undefined): string;
  /** Keeps a release's commit from git's garbage collection. */
  keepCommit(app: string, release: number, sha: string): Promise<void>;
}

/** Writes down what is about to run: a release, pending. @throws DinpError refused where nothing can run, or not under its names */
export async function recordRelease(
  parts: RecordParts,
  build: Build,
  plan: DeployPlan,
  images: Map<ServicePlan, BuiltImage>,
  output: BuildOutput,
): Promise<Release> {
  const services = plan.services
    .filter((service) => service.deploys)
    .map((service) => releaseService(build, service, images.get(service)!));
  if (services.length === 0)
    throw new DinpError('refused', 'the manifest says "deploy: false": an image was made and there is nothing to run.');
  checkDomains(parts, build, plan);
  const release = parts.store.transaction(() => {
    const created = parts.store.releases.create({
      appId: build.appId,
      cause: 'deploy',
      source: build.source,
      note: build.note,
      fromNumber: undefined,
      buildId: build.id,
      target: parts.checkTarget(plan.target ?? parts.store.apps.findById(build.appId)!.target),
      domains: plan.domains,
      hosts: plan.hosts ?? [],
      fleet: plan.fleet ?? {},
      keep: plan.keep,
      services,
      config: parts.store.config.get(build.appId),
      by: build.by,
    });
    parts.store.builds.setRelease(build.id, created.number);
    return created;
  });
  const commit = commitOf(build.source);
  if (commit !== undefined) await parts.keepCommit(build.app, release.number, commit);
  output.line(
    `v${release.number} is ${describeSource(build.source)} with ${Object.keys(release.config).length} config values`,
  );
  return release;
}

function releaseService(build: Build, plan: ServicePlan, image: BuiltImage): ReleaseService {
  if (!image.hasCommand && plan.processes.some((process) => process.command === undefined)) {
    throw new DinpError(
      'refused',
      `the image of ${plan.name} has neither CMD nor ENTRYPOINT, so there is nothing to start.`,
      {
        hint: 'Add a CMD to the Dockerfile, or a Procfile with a line such as "web: ./server".',
      },
    );
  }
  return {
    service: plan.name,
    commit: commitOf(build.source),
    image: image.ref,
    contentKey: image.contentKey,
    processes: plan.processes.map((process) => withPort(process, image.exposedPort)),
    env: plan.env,
    releaseCommand: plan.releaseCommand,
  };
}

/** Only `web` listens without saying so: on the port its image EXPOSEs, or 8080. */
function withPort(process: Process, exposed: number | undefined): Process {
  return process.name === 'web' && process.port === undefined ? { ...process, port: exposed ?? DEFAULT_PORT } : process;
}

/** @throws DinpError refused when a domain of dinp.yml belongs to another app, or may come to */
function checkDomains(parts: RecordParts, build: Build, plan: DeployPlan): void {
  for (const name of plan.domains) {
    if (parts.addresses.isReserved(name)) {
      throw new DinpError(
        'refused',
        `the domain ${name} of dinp.yml is under the server's own, whose names are those of apps.`,
        {
          hint: `Take it out of dinp.yml; every app has APP.DOMAIN without being asked.`,
        },
      );
    }
    const owner = parts.store.domains.findOwner(name);
    if (owner === undefined || owner === build.appId) continue;
    throw new DinpError('refused', `the domain ${name} of dinp.yml belongs to another app.`, {
      hint: 'Take it out of dinp.yml, or have an admin take it from the other: dinp domains list',
    });
  }
}
