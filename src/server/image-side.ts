import { readFileSync } from 'node:fs';
import type Docker from 'dockerode';
import { openOutput } from '../artifact/output-tree.ts';
import { Compiler } from '../deploy/compile.ts';
import type { ImageRef } from '../domain/image-ref.ts';
import type { ImagePlan } from '../domain/plan.ts';
import { BaseCatalogue } from '../image/bases/bases.ts';
import { ToolchainImages } from '../image/bases/toolchain-images.ts';
import type { ImageBuilder } from '../image/builder.ts';
import { CompiledImages } from '../image/compiled-images.ts';
import { DirectImageBuilder } from '../image/direct/direct-builder.ts';
import { ImageEngine } from '../image/engine/engine.ts';
import { EngineImageBuilder } from '../image/engine/engine-builder.ts';
import { HostImageBuilder, type HostImageBuilderOptions } from '../image/host/host-builder.ts';
import { parseImageName } from '../image/image-name.ts';
import { ImageCopier } from '../image/registry/image-copier.ts';
import { type InspectedImage, inspectImage } from '../image/registry/inspect-image.ts';
import { Referrers } from '../image/registry/referrers.ts';
import { Registries } from '../image/registry/registries.ts';
import { Toolchains } from '../run/toolchain/toolchain.ts';
import type { ServerConfig } from './config.ts';
import { hostPlatform } from './this-machine.ts';

/**
 * Everything that makes images and keeps them.
 * @param parts.scratch folder for what builders leave
 * @param parts.place finds a host for a build, where the config wants Dockerfiles built on hosts
 */
export function createImageSide(parts: {
  config: ServerConfig;
  docker: Docker;
  serverId: string;
  scratch: string;
  place: HostImageBuilderOptions['place'];
}) {
  const { config, docker, serverId, scratch } = parts;
  const registries = createRegistries(config);
  const bases = new BaseCatalogue({ registries, file: config.bases.file, mirrors: config.bases.mirrors });
  const direct = { registries, bases, autoBases: config.bases.auto, platform: hostPlatform() };
  const engineSide = { engine: new ImageEngine(docker), registries, bases, autoBases: config.bases.auto };
  const compiledImages = new CompiledImages(direct);
  const builders: Record<ImagePlan['kind'], ImageBuilder> = {
    layers: new DirectImageBuilder(direct),
    image: new ImageCopier(direct),
    dockerfile:
      config.builds.on === 'hosts'
        ? new HostImageBuilder({ ...direct, server: serverId, place: parts.place })
        : new EngineImageBuilder({ ...engineSide, server: serverId }),
    kept: compiledImages,
  };
  const builder: ImageBuilder = { build: (request) => builders[request.plan.kind].build(request) };
  const toolchains = new Toolchains(docker, { serverId });
  const compiler = new Compiler({
    toolchainImages: new ToolchainImages(engineSide),
    toolchains,
    images: compiledImages,
    openOutput: (tar, what) => openOutput(tar, what, { scratch }),
  });
  const referrers = new Referrers(registries.own);
  return { registries, bases, builder, compiler, toolchains, referrers };
}

function createRegistries({ registry }: ServerConfig): Registries {
  return new Registries({
    own: {
      address: registry.push,
      credentials: registry.auth,
      ca: registry.ca === undefined ? undefined : readFileSync(registry.ca, 'utf8'),
    },
    pullAddress: registry.pull,
  });
}

/** What our registry has of a release's image, which names the repository by the address that hosts pull from. */
export async function inspectRelease(
  registries: Registries,
  image: ImageRef,
  signal: AbortSignal,
): Promise<InspectedImage | undefined> {
  const { repository } = parseImageName(image.repository, registries.own.address);
  return await inspectImage(registries.own, repository, image.digest, hostPlatform(), signal);
}
