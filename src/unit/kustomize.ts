import { DinpError } from '../domain/errors.ts';
import { type ImageRef, isLoopbackRepository } from '../domain/image-ref.ts';
import type { InstanceSpec } from '../domain/instance.ts';
import type { Release, ReleaseService } from '../domain/release.ts';
import type { Tree } from '../domain/tree.ts';
import type { UnitFile, UnitRenderer } from '../domain/unit-file.ts';
import {
  deployment,
  type KubernetesObject,
  releaseJob,
  secret,
  service,
  toYaml,
  volumeClaim,
  type Workload,
  workloadsOf,
} from './kubernetes.ts';
import { OWN_FOLDER, type OwnKustomization, readOwnKustomization } from './kustomize-folder.ts';

export interface KustomizeOptions {
  /** The files of the commit that a release was made of; undefined where it was made of something else. */
  openTree(release: Release): Promise<(Tree & AsyncDisposable) | undefined>;
}

/** One `images:` item of a kustomization. */
interface ImageSetting {
  name: string;
  newName: string;
  digest: string;
}

/**
 * Renders releases for Kubernetes: a kustomization with the objects of the release, or, where the repository has one of
 * its own in k8s/, an overlay of that in which only the images are set.
 */
export class KustomizeRenderer implements UnitRenderer {
  readonly #options: KustomizeOptions;

  constructor(options: KustomizeOptions) {
    this.#options = options;
  }

  async render(release: Release, specs: InstanceSpec[]): Promise<UnitFile[]> {
    const own = await this.#readOwn(release);
    const images = release.services.map((each) => ({ service: each, image: imageOf(each, specs) }));
    if (own !== undefined) {
      const settings = images.flatMap(({ service, image }) => ownSettings(own, service, image, release));
      return [kustomization(release, [OWN_FOLDER], settings), ...own.files];
    }
    const files = objectFiles(release, workloadsOf(release, specs));
    const settings = images.map(({ service, image }) => setting(service.service, image));
    const names = files.map(({ name }) => name);
    return [kustomization(release, names, settings), ...files];
  }

  secretFiles(release: Release): UnitFile[] {
    const object = secret(release);
    return object === undefined ? [] : [{ name: 'secret.yaml', text: toYaml(object) }];
  }

  async #readOwn(release: Release): Promise<OwnKustomization | undefined> {
    await using tree = await this.#options.openTree(release);
    return tree && (await readOwnKustomization(tree));
  }
}

/** The objects of a release, each in a file of its own. */
function objectFiles(release: Release, workloads: Workload[]): UnitFile[] {
  const volumes = new Set(workloads.flatMap(({ process }) => Object.keys(process.volumes)));
  const file = (name: string, object: KubernetesObject): UnitFile => ({ name: `${name}.yaml`, text: toYaml(object) });
  return [
    ...release.services.flatMap((each) => {
      const { releaseCommand } = each;
      const work = workloads.find((candidate) => candidate.service === each);
      if (releaseCommand === undefined || work === undefined) return [];
      return [file(`job-release-${each.service}`, releaseJob(work, releaseCommand))];
    }),
    ...workloads.flatMap((work) => [
      file(`deployment-${work.process.name}`, deployment(work)),
      ...(work.process.port === undefined ? [] : [file(`service-${work.process.name}`, service(work))]),
    ]),
    ...[...volumes].map((volume) => file(`volume-${volume}`, volumeClaim(release.app, volume))),
  ];
}

function kustomization(release: Release, resources: string[], images: ImageSetting[]): UnitFile {
  const object = { apiVersion: 'kustomize.config.k8s.io/v1beta1', kind: 'Kustomization', resources, images };
  const near = images.find(({ newName }) => isLoopbackRepository(newName));
  const head = [
    `# ${release.app} v${release.number}. Written by dinp; changes are lost at the next deploy.`,
    ...(near === undefined
      ? []
      : [`# No cluster reaches ${near.newName.split('/')[0]}: set registry.pull in the server's config.`]),
  ];
  return { name: 'kustomization.yaml', text: `${head.join('\n')}\n${toYaml(object)}` };
}

/** Where the instances pull an image from; a service that is scaled to 0 has none to ask. */
function imageOf({ service, image }: ReleaseService, specs: InstanceSpec[]): ImageRef {
  return specs.find((spec) => spec.service === service)?.image ?? image;
}

function setting(name: string, { repository, digest }: ImageRef): ImageSetting {
  return { name, newName: repository, digest };
}

/**
 * The images of the repository's own objects that a service is: those whose last part is its name, or the only one that
 * there is.
 * @throws DinpError refused where none of them is it
 */
function ownSettings(
  own: OwnKustomization,
  service: ReleaseService,
  image: ImageRef,
  release: Release,
): ImageSetting[] {
  const named = own.images.filter((name) => name.slice(name.lastIndexOf('/') + 1) === service.service);
  const isOnly = own.images.length === 1 && release.services.length === 1;
  const found = named.length > 0 ? named : isOnly ? own.images : [];
  if (found.length > 0) return found.map((name) => setting(name, image));
  const there = own.images.length === 0 ? 'no image' : own.images.join(', ');
  throw new DinpError('refused', `no container in ${OWN_FOLDER}/ has the image ${service.service}; found ${there}.`, {
    hint: `Name it there, without tag:  image: ${service.service}`,
  });
}
