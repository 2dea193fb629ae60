import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { closeSync, openSync, readSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import Docker from 'dockerode';
import type { ImagePlan } from '../../src/domain/plan.ts';
import { type CommitTree, openCommitTree } from '../../src/git/commit-tree.ts';
import { BaseCatalogue } from '../../src/image/bases/bases.ts';
import { DirectImageBuilder } from '../../src/image/direct/direct-builder.ts';
import { uploadLayer } from '../../src/image/direct/layer-upload.ts';
import { contextTar, readContext } from '../../src/image/engine/context.ts';
import { type BuilderKind, ImageEngine } from '../../src/image/engine/engine.ts';
import { BuildOutput } from '../../src/image/engine/output.ts';
import { DOCKER_FORMAT, jsonBlob, makeManifest } from '../../src/image/image-format.ts';
import { Registries } from '../../src/image/registry/registries.ts';
import { GIT } from '../integration/git/commit-files.ts';
import { memoryTree } from '../support/memory-tree.ts';
import { runGit } from './client.ts';

const ARCHITECTURE = process.arch === 'x64' ? 'amd64' : process.arch;
const MEGABYTE = 1e6;
const SOCKET = '/var/run/docker.sock';

export type Kind = 'compressible' | 'random';
export type Rival = 'direct' | BuilderKind;
export type Files = Record<string, Buffer | string>;

/** One commit that is to become an image. */
export interface Work {
  /** Path of a bare repository. */
  repository: string;
  sha: string;
  app: string;
}

/**
 * The direct builder against a Docker Engine that builds and pushes: for the same commits, streamed from the same repository, into the same
 * registry.
 */
export class ImageRivals implements AsyncDisposable {
  /** Path of the catalogue that holds the base. */
  readonly catalogue: string;
  readonly #registries: Registries;
  readonly #direct: DirectImageBuilder;
  readonly #engine = new ImageEngine(new Docker({ socketPath: SOCKET }));
  readonly #registry: string;
  readonly #base: string;
  #builds = 0;

  /** @param registry `host:port`; @param base `host:port/repository:tag` */
  constructor(folder: string, registry: string, base: string) {
    this.#registry = registry;
    this.#base = base;
    this.#registries = new Registries({ own: { address: registry } });
    this.catalogue = join(folder, `bases-${randomBytes(4).toString('hex')}.yml`);
    writeFileSync(this.catalogue, `bench: {image: "${base}", for: plain}\n`);
    this.#direct = new DirectImageBuilder({
      registries: this.#registries,
      bases: new BaseCatalogue({ registries: this.#registries, file: this.catalogue }),
      autoBases: false,
      platform: `linux/${ARCHITECTURE}`,
    });
  }

  /** Has the engine fetch the base, as it would have it from an earlier build. */
  async prepare(): Promise<void> {
    await this.#engine.pull(this.#base, { signal: new AbortController().signal });
  }

  /** Adds a commit that both know how to make an image of: a Dockerfile with a layer for dependencies and one for the rest. */
  async commit(repository: string, files: Files): Promise<string> {
    const lines = ['node_modules', 'src'].map((folder) => `COPY ${folder} /app/${folder}`);
    const dockerfile = [`FROM ${this.#base}`, ...lines, 'CMD ["/app/src/run"]', ''].join('\n');
    return addCommit(repository, { Dockerfile: dockerfile, 'node_modules/.keep': '', 'src/.keep': '', ...files });
  }

  /** From a commit in a bare repository to its tag in the registry. @returns milliseconds */
  async build(rival: Rival, work: Work): Promise<number> {
    const name = `${rival}/${work.app}`;
    const begin = performance.now();
    {
      await using tree = await openCommitTree({ git: GIT, repository: work.repository, oid: `${work.sha}^{tree}` });
      if (rival === 'direct') await this.#buildDirect(tree, name, work);
      else await this.#buildWithEngine(tree, name, work.sha, rival);
    }
    const milliseconds = performance.now() - begin;
    if ((await this.#registries.own.findManifest(name, work.sha)) === undefined)
      throw new Error(`the registry has no ${name}:${work.sha}`);
    return milliseconds;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#registries.close();
  }

  async #buildDirect(tree: CommitTree, repository: string, work: Work): Promise<void> {
    await this.#direct.build({
      app: work.app,
      repository,
      tag: work.sha,
      revision: work.sha,
      branch: undefined,
      buildNumber: ++this.#builds,
      plan: layersPlan(tree),
      watch: [tree.oid],
      tree,
      noCache: false,
      onOutput: () => {},
      signal: new AbortController().signal,
    });
  }

  async #buildWithEngine(tree: CommitTree, name: string, tag: string, builder: BuilderKind): Promise<void> {
    const { signal } = new AbortController();
    const { files } = await readContext(tree, '.', 'Dockerfile', true);
    const output = new BuildOutput(() => {});
    const build = {
      context: contextTar(tree, files),
      dockerfile: 'Dockerfile',
      builder,
      stage: undefined,
      args: {},
      labels: {},
      noCache: false,
      memoryBytes: 4 * 1024 ** 3,
      cpus: 2,
      credentials: {},
      signal,
    };
    const id = await this.#engine.build(build, output);
    const repository = `${this.#registry}/${name}`;
    await this.#engine.tag(id, repository, tag);
    await this.#engine.push({ repository, tag, credentials: undefined }, () => {}, signal);
  }
}

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
  readSync(file, bytes, 0, MEGABYTE, (10 + (at % 60)) * MEGABYTE);
  closeSync(file);
  return bytes;
}

/** Adds a commit, packed as a receiving repository of ours keeps what is pushed. @returns its id */
async function addCommit(repository: string, files: Files): Promise<string> {
  const settings = ['-c', 'pack.compression=1', '-c', 'fastimport.unpackLimit=1'];
  const git = spawn(GIT, [...settings, 'fast-import', '--force', '--quiet'], {
    cwd: repository,
    stdio: ['pipe', 'ignore', 'inherit'],
  });
  const ended = once(git, 'close');
  const write = async (piece: string | Buffer): Promise<void> => {
    if (!git.stdin.write(piece)) await once(git.stdin, 'drain');
  };
  // A message of its own: the same tree again is another commit.
  const message = randomBytes(8).toString('hex');
  await write(`commit refs/heads/bench\ncommitter Bench <bench@example.org> 1700000000 +0000\ndata 16\n${message}\n`);
  for (const [path, content] of Object.entries(files)) {
    await write(`M 100755 inline ${path}\ndata ${content.length}\n`);
    await write(content);
    await write('\n');
  }
  git.stdin.end();
  const [status] = await ended;
  if (status !== 0) throw new Error(`git fast-import ended with ${status}`);
  return runGit(['rev-parse', 'refs/heads/bench'], repository);
}

/** Puts an image of one layer into a registry, for others to be built on. @returns its reference */
export async function pushBase(registry: string, megabytes: number): Promise<string> {
  const registries = new Registries({ own: { address: registry } });
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
  return `${registry}/${place.repository}:1`;
}
