import { randomBytes } from 'node:crypto';
import { closeSync, openSync, readSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import Docker from 'dockerode';
import type { ImagePlan } from '../../src/domain/plan.ts';
import { type CommitTree, openCommitTree } from '../../src/git/commit-tree.ts';
import { BaseCatalogue } from '../../src/image/bases.ts';
import type { ImageRequest } from '../../src/image/builder.ts';
import { uploadLayer } from '../../src/image/direct/layer-upload.ts';
import { DirectImageBuilder } from '../../src/image/direct-builder.ts';
import { ImageEngine } from '../../src/image/engine.ts';
import { EngineImageBuilder } from '../../src/image/engine-builder.ts';
import { DOCKER_FORMAT, jsonBlob, makeManifest } from '../../src/image/image-format.ts';
import { Registries } from '../../src/image/registries.ts';
import { commitFiles, GIT } from '../integration/git/commit-files.ts';
import { memoryTree } from '../support/memory-tree.ts';
import type { TestRegistry } from '../support/registry.ts';

const ARCHITECTURE = process.arch === 'x64' ? 'amd64' : process.arch;
const PLATFORM = `linux/${ARCHITECTURE}`;
const MEGABYTE = 1e6;

export type Kind = 'compressible' | 'random';
export type Rival = 'direct' | 'buildkit' | 'classic';

/** One commit that is to become an image. */
export interface Work {
  repository: string;
  sha: string;
  app: string;
}

/** Direct images against a Docker Engine's, for the same commits, into the same registry. */
export class ImageRivals implements AsyncDisposable {
  readonly #registries: Registries;
  readonly #own: string;
  readonly #builders: Record<Rival, DirectImageBuilder | EngineImageBuilder>;
  readonly #base: string;
  #builds = 0;

  /** @param base `host:port/repository:tag` */
  constructor(folder: string, registry: TestRegistry, base: string) {
    this.#own = registry.address;
    this.#base = base;
    this.#registries = new Registries({ own: { address: registry.address } });
    const file = join(folder, `bases-${randomBytes(4).toString('hex')}.yml`);
    writeFileSync(file, `bench: {image: "${base}", for: plain}\n`);
    const parts = {
      registries: this.#registries,
      bases: new BaseCatalogue({ registries: this.#registries, file }),
      autoBases: false,
    };
    const docker = new Docker({ socketPath: '/var/run/docker.sock' });
    const engine = new ImageEngine(docker);
    this.#builders = {
      direct: new DirectImageBuilder({ ...parts, platform: PLATFORM }),
      buildkit: new EngineImageBuilder({ ...parts, engine, server: 'bench', builder: 'buildkit' }),
      classic: new EngineImageBuilder({ ...parts, engine, server: 'bench', builder: 'classic' }),
    };
  }

  /** Adds a commit: files of 1 MB beside a small one, in `node_modules` where they are meant as dependencies. */
  commit(work: string, files: Record<string, Buffer | string>): string {
    const dockerfile = `FROM ${this.#base}\nCOPY node_modules* /app/node_modules/\nCOPY src /app/src\nCMD ["/app/src/run"]\n`;
    return commitFiles(work, { Dockerfile: dockerfile, 'node_modules/.keep': '', ...files });
  }

  /** From a commit in a bare repository to its tag in the registry. @returns milliseconds */
  async build(rival: Rival, work: Work): Promise<number> {
    const begin = performance.now();
    await using tree = await openCommitTree({ git: GIT, repository: work.repository, oid: `${work.sha}^{tree}` });
    const request: ImageRequest = {
      app: `t-${work.app}`,
      repository: `${rival}/${work.app}`,
      tag: work.sha,
      revision: work.sha,
      branch: 'main',
      buildNumber: ++this.#builds,
      plan: rival === 'direct' ? layersPlan(tree) : DOCKERFILE,
      watch: [tree.oid, rival],
      tree,
      noCache: false,
      onOutput: () => {},
      signal: new AbortController().signal,
    };
    await this.#builders[rival].build(request);
    const milliseconds = performance.now() - begin;
    if ((await this.#registries.own.findManifest(request.repository, work.sha)) === undefined)
      throw new Error(`${this.#own} has no ${request.repository}:${work.sha}`);
    return milliseconds;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#registries.close();
  }
}

const DOCKERFILE: ImagePlan = {
  kind: 'dockerfile',
  context: '.',
  dockerfile: 'Dockerfile',
  stage: undefined,
  args: {},
};

function layersPlan(tree: CommitTree): ImagePlan {
  return {
    kind: 'layers',
    artifact: 'plain',
    base: 'bench',
    files: tree.entries.map(({ path }) => ({ to: `/app/${path}`, from: path })),
    dependencies: ['/app/node_modules'],
    workdir: undefined,
    command: ['/app/src/run'],
    env: {},
    port: undefined,
  };
}

/** Files of 1 MB that nobody has seen. Machine code compresses as machine code does, so it is taken from Node's own. */
export function freshFiles(folder: string, megabytes: number, kind: Kind): Record<string, Buffer> {
  const files: Record<string, Buffer> = {};
  for (let at = 0; at < megabytes; at++) {
    const bytes = kind === 'random' ? randomBytes(MEGABYTE) : machineCode(at);
    randomBytes(64).copy(bytes, 1000);
    files[`${folder}/${at}.bin`] = bytes;
  }
  return files;
}

function machineCode(at: number): Buffer {
  const bytes = Buffer.alloc(MEGABYTE);
  const file = openSync(process.execPath, 'r');
  readSync(file, bytes, 0, MEGABYTE, 10 * MEGABYTE + (at % 60) * MEGABYTE);
  closeSync(file);
  return bytes;
}

/** Puts an image of one layer into a registry, for others to be built on. @returns its reference */
export async function pushBase(registry: TestRegistry, megabytes: number): Promise<string> {
  const registries = new Registries({ own: { address: registry.address } });
  const place = { registry: registries.own, repository: 'base/bench' };
  const tree = memoryTree(freshFiles('usr/share', megabytes, 'compressible'));
  const files = tree.entries.map((entry) => ({ path: entry.path, mode: entry.mode, entry }));
  const layout = { name: 'application' as const, files, bytes: megabytes * MEGABYTE, key: '' };
  const layer = await uploadLayer(place, tree, layout, new AbortController().signal, () => {});
  const config = jsonBlob({
    architecture: ARCHITECTURE,
    os: 'linux',
    config: {},
    rootfs: { type: 'layers', diff_ids: [layer.diffId] },
    history: [{ created_by: 'bench' }],
  });
  await place.registry.putBlob(place.repository, config.digest, config.bytes);
  const { digest, size } = layer;
  const layers = [{ mediaType: DOCKER_FORMAT.layer, digest, size }];
  await place.registry.putManifest(place.repository, '1', makeManifest(DOCKER_FORMAT, config, layers));
  await registries.close();
  return `${registry.address}/${place.repository}:1`;
}
