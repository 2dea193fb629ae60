import { randomBytes } from 'node:crypto';
import Docker from 'dockerode';
import type { Tree } from '../../../src/domain/tree.ts';
import { BaseCatalogue } from '../../../src/image/bases/bases.ts';
import type { BuiltImage, ImageBuilder, ImageRequest } from '../../../src/image/builder.ts';
import { DirectImageBuilder } from '../../../src/image/direct/direct-builder.ts';
import type { BuilderKind } from '../../../src/image/engine/engine.ts';
import { ImageEngine } from '../../../src/image/engine/engine.ts';
import { EngineImageBuilder } from '../../../src/image/engine/engine-builder.ts';
import { Registries } from '../../../src/image/registry/registries.ts';
import { fillWithBases } from '../../support/base-cache.ts';
import type { TestRegistry } from '../../support/registry.ts';
import { startRegistry } from '../../support/registry.ts';

export const SOCKET = '/var/run/docker.sock';
const ARCHITECTURE = process.arch === 'x64' ? 'amd64' : process.arch;
export const HOST_PLATFORM = `linux/${ARCHITECTURE}`;

/** What a build gave, and what the pusher read meanwhile. */
export interface Built extends BuiltImage {
  output: string;
}

/** A registry with a busybox base, and builders over the machine's engine. */
export class ImageFixture implements AsyncDisposable {
  readonly registry: TestRegistry;
  readonly registries: Registries;
  readonly bases: BaseCatalogue;
  readonly docker = new Docker({ socketPath: SOCKET });
  readonly engine = new ImageEngine(this.docker);
  /** Unique to this fixture, so that other tests' build cache and images never meet ours. */
  readonly id = randomBytes(6).toString('hex');
  readonly #containers: Docker.Container[] = [];

  private constructor(registry: TestRegistry, password: boolean) {
    this.registry = registry;
    const credentials = password ? { username: 'pusher', password: 'secret' } : undefined;
    this.registries = new Registries({ own: { address: registry.address, credentials } });
    this.bases = new BaseCatalogue({ registries: this.registries });
  }

  static async start(options: { password?: boolean; bases?: string[] } = {}): Promise<ImageFixture> {
    const fill = (root: string): Promise<void> => fillWithBases(root, options.bases ?? ['busybox']);
    return new ImageFixture(await startRegistry({ ...options, fill }), options.password ?? false);
  }

  /** Reference of a base, for FROM. */
  base(name = 'busybox'): string {
    return `${this.registry.address}/base/${name}:1`;
  }

  builder(kind: BuilderKind | 'auto' = 'auto', docker = this.docker): EngineImageBuilder {
    const engine = new ImageEngine(docker);
    return new EngineImageBuilder({
      engine,
      registries: this.registries,
      bases: this.bases,
      server: 'test',
      autoBases: true,
      builder: kind,
    });
  }

  direct(autoBases = true): DirectImageBuilder {
    const { registries, bases } = this;
    return new DirectImageBuilder({ registries, bases, autoBases, platform: HOST_PLATFORM });
  }

  /** Builds a tree, as a Dockerfile unless the changes say otherwise. */
  async build(
    tree: Tree,
    changes: Partial<ImageRequest> = {},
    builder: ImageBuilder = changes.plan?.kind === 'layers' ? this.direct() : this.builder(),
  ): Promise<Built> {
    let output = '';
    const request: ImageRequest = {
      app: `t-${this.id}`,
      repository: `t-${this.id}`,
      tag: tree.oid.padEnd(40, '0').slice(0, 40),
      revision: tree.oid,
      branch: 'main',
      buildNumber: 1,
      plan: { kind: 'dockerfile', context: '.', dockerfile: 'Dockerfile', stage: undefined, args: {} },
      watch: [tree.oid],
      tree,
      noCache: false,
      onOutput(text) {
        output += text;
        changes.onOutput?.(text);
      },
      signal: changes.signal ?? new AbortController().signal,
      ...Object.fromEntries(Object.entries(changes).filter(([name]) => name !== 'onOutput')),
    };
    try {
      return { ...(await builder.build(request)), output };
    } catch (error) {
      if (error instanceof Error) Object.assign(error, { output });
      throw error;
    }
  }

  /** Runs a command in an image to its end. @returns its output */
  async run(image: { ref: { repository: string; digest: string } }, command: string[]): Promise<string> {
    const reference = `${image.ref.repository}@${image.ref.digest}`;
    if ((await this.engine.findImage(reference)) === undefined) await this.#pull(reference);
    const container = await this.docker.createContainer({
      Image: reference,
      Cmd: command,
      Tty: true,
    });
    this.#containers.push(container);
    const stream = await container.attach({ stream: true, stdout: true, stderr: true });
    await container.start();
    const chunks: Buffer[] = [];
    for await (const chunk of stream as unknown as AsyncIterable<Buffer>) chunks.push(chunk);
    return Buffer.concat(chunks).toString().replaceAll('\r\n', '\n');
  }

  /** Starts an image in the background with a port of the host bound to its own. @returns its address */
  async serve(
    repository: string,
    digest: string,
    extra: Docker.ContainerCreateOptions = {},
    port = 8080,
  ): Promise<string> {
    await this.#pull(`${repository}@${digest}`);
    const container = await this.docker.createContainer({
      Image: `${repository}@${digest}`,
      ExposedPorts: { [`${port}/tcp`]: {} },
      ...extra,
      HostConfig: { PortBindings: { [`${port}/tcp`]: [{ HostIp: '127.0.0.1', HostPort: '' }] }, ...extra.HostConfig },
    });
    this.#containers.push(container);
    await container.start();
    const { NetworkSettings } = await container.inspect();
    return `http://127.0.0.1:${NetworkSettings.Ports[`${port}/tcp`]?.[0]?.HostPort}`;
  }

  async #pull(reference: string): Promise<void> {
    const credentials = this.registries.credentialsFor(this.registry.address);
    await this.engine.pull(reference, { credentials, signal: new AbortController().signal });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const container of this.#containers) await container.remove({ force: true, v: true });
    const filters = { label: [`dinp.image.app=t-${this.id}`] };
    const images = await this.docker.listImages();
    const ours = images
      .flatMap((image) => [...(image.RepoTags ?? []), ...(image.RepoDigests ?? [])])
      .filter((name) => name.startsWith(`${this.registry.address}/`));
    for (const name of ours)
      await this.docker
        .getImage(name)
        .remove({ force: true })
        .catch(() => {});
    for (const { Id } of await this.docker.listImages({ filters }))
      await this.docker
        .getImage(Id)
        .remove({ force: true })
        .catch(() => {});
    await this.registries.close();
    await this.registry[Symbol.asyncDispose]();
  }
}
