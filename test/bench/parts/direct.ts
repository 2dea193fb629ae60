import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { dirname, join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { startRegistry } from '../../support/registry.ts';
import type { Bench, Part } from '../bench.ts';
import { runGit } from '../client.ts';
import { removeImages } from '../engine-images.ts';
import { type Files, freshFiles, ImageRivals, type Kind, pushBase, type Rival } from '../image-rivals.ts';
import { interleave, median, pairedRatio, type Timings } from '../pairs.ts';
import { compared, megabytes, type Row } from '../report.ts';

const AGAINST: Record<Exclude<Rival, 'direct'>, string> = {
  buildkit: "docker's BuildKit, then push",
  classic: "docker's classic builder, then push",
};
const MOST_MEMORY = 150e6;
const MEMORY = resolve(import.meta.dirname, '../direct-memory.mjs');

/** Images of prebuilt artifacts: written into the registry by dinp, against built and pushed by a Docker Engine. */
export const direct: Part = {
  name: 'direct',
  async run(bench) {
    await using registry = await startRegistry();
    await using elsewhere = await startRegistry();
    const scene = await Scene.make(bench, registry.address, elsewhere.address);
    try {
      return await scene.measure();
    } finally {
      await scene.rivals[Symbol.asyncDispose]();
      removeImages(registry.address);
    }
  },
};

type Rivals = Record<Rival, () => Promise<number>>;
/** How many times faster than BuildKit and than the classic builder. */
type Limits = Record<Exclude<Rival, 'direct'>, number>;

class Scene {
  readonly rivals: ImageRivals;
  readonly #bench: Bench;
  readonly #repository: string;
  readonly #registry: string;
  readonly #elsewhere: string;

  private constructor(bench: Bench, repository: string, registry: string, elsewhere: string, base: string) {
    this.#bench = bench;
    this.#repository = repository;
    this.#registry = registry;
    this.#elsewhere = elsewhere;
    this.rivals = new ImageRivals(bench.folder, registry, base);
  }

  static async make(bench: Bench, registry: string, elsewhere: string): Promise<Scene> {
    const repository = join(bench.folder, 'artifacts.git');
    await runGit(['init', '-q', '--bare', repository]);
    const scene = new Scene(bench, repository, registry, elsewhere, await pushBase(registry, 50));
    await scene.rivals.prepare();
    return scene;
  }

  async measure(): Promise<Row[]> {
    const { quick } = this.#bench;
    const large = quick ? 40 : 200;
    return [
      ...(await this.#first(20, 'compressible', quick ? 1 : 5, { buildkit: 2.5, classic: 3 })),
      ...(await this.#first(20, 'random', quick ? 1 : 5, { buildkit: 2.5, classic: 3 })),
      ...(await this.#first(large, 'compressible', quick ? 1 : 2, { buildkit: 2.5, classic: 2.5 })),
      ...(await this.#first(large, 'random', quick ? 1 : 2, { buildkit: 2.5, classic: 2.5 })),
      ...(await this.#again(20, { buildkit: 3, classic: 3 })),
      ...(await this.#again(large, { buildkit: 15, classic: 15 })),
      ...(await this.#changed(large)),
      ...(await this.#foreignBase(quick ? 40 : 400)),
      ...(await this.#together()),
      await this.#memory(large),
    ];
  }

  /** The first image of an artifact that nothing has seen. */
  async #first(size: number, kind: Kind, rounds: number, limits: Limits): Promise<Row[]> {
    this.#bench.progress(`direct: ${size} MB ${kind}`);
    const run = (rival: Rival) => async () => this.#build(rival, newApp(), freshFiles('src', size, kind));
    return rows(`${size} MB ${kind}: commit to tag`, await interleave(rounds, byRival(run), rounds > 2), limits);
  }

  /** Another commit of the same tree. */
  async #again(size: number, limits: Limits): Promise<Row[]> {
    this.#bench.progress(`direct: ${size} MB again`);
    const files = freshFiles('src', size, 'compressible');
    const app = newApp();
    const run = (rival: Rival) => () => this.#build(rival, app, files);
    return rows(`${size} MB: another commit of the same tree`, await interleave(2, byRival(run)), limits);
  }

  /** One small file changed beside dependencies. */
  async #changed(size: number): Promise<Row[]> {
    this.#bench.progress(`direct: one file beside ${size} MB`);
    const dependencies = freshFiles('node_modules', size, 'compressible');
    const app = newApp();
    const run = (rival: Rival) => () => this.#build(rival, app, { ...dependencies, 'src/run': randomBytes(2000) });
    const what = `one small file changed beside ${size} MB of dependencies`;
    return rows(what, await interleave(2, byRival(run)), { buildkit: 10, classic: 10 });
  }

  /** A base that is in another registry, and whose layers ours has not yet. */
  async #foreignBase(size: number): Promise<Row[]> {
    this.#bench.progress(`direct: foreign base of ${size} MB`);
    const base = await pushBase(this.#elsewhere, size);
    const files = { 'src/run': randomBytes(2000) };
    const run = (rival: Rival) => async () => {
      // A registry of its own for each run: what was copied once would not be copied again.
      await using registry = await startRegistry();
      await using rivals = new ImageRivals(this.#bench.folder, registry.address, base);
      await rivals.prepare();
      const sha = await rivals.commit(this.#repository, files);
      try {
        return await rivals.build(rival, { repository: this.#repository, sha, app: newApp() });
      } finally {
        removeImages(registry.address);
      }
    };
    const timings = await interleave(this.#bench.quick ? 1 : 2, byRival(run), false);
    removeImages(this.#elsewhere);
    return rows(`a base of ${size} MB in another registry`, timings, { buildkit: 10, classic: 10 });
  }

  async #together(): Promise<Row[]> {
    this.#bench.progress('direct: four at once');
    const run = (rival: Rival) => async () => {
      const works = [];
      for (let at = 0; at < 4; at++) works.push(await this.#commit(newApp(), freshFiles('src', 20, 'compressible')));
      const begin = performance.now();
      await Promise.all(works.map((work) => this.rivals.build(rival, work)));
      return performance.now() - begin;
    };
    const rounds = this.#bench.quick ? 1 : 2;
    const timings = await interleave(rounds, byRival(run), false);
    return rows('four of 20 MB at once', timings, { buildkit: 2, classic: 2 });
  }

  /** What a whole process needs that makes nothing but one image. */
  async #memory(size: number): Promise<Row> {
    // The program is `dist/cli/main.js`.
    const dist = dirname(dirname(this.#bench.main));
    let most = 0;
    for (const kind of ['compressible', 'random'] as const) {
      const { sha } = await this.#commit(newApp(), freshFiles('src', size, kind));
      const args = [MEMORY, dist, this.#registry, this.rivals.catalogue, this.#repository, sha];
      const { stdout } = await promisify(execFile)(process.execPath, args);
      most = Math.max(most, Number(stdout));
    }
    return {
      what: `memory of a process that makes an image of ${size} MB`,
      against: '',
      theirs: '',
      ours: megabytes(most),
      ratio: '',
      target: `≤ ${megabytes(MOST_MEMORY)}`,
      met: most <= MOST_MEMORY,
    };
  }

  async #build(rival: Rival, app: string, files: Files): Promise<number> {
    return this.rivals.build(rival, await this.#commit(app, files));
  }

  async #commit(app: string, files: Files) {
    return { repository: this.#repository, sha: await this.rivals.commit(this.#repository, files), app };
  }
}

function newApp(): string {
  return `t-${randomBytes(5).toString('hex')}`;
}

function byRival(run: (rival: Rival) => () => Promise<number>): Rivals {
  return { buildkit: run('buildkit'), direct: run('direct'), classic: run('classic') };
}

function rows(what: string, timings: Timings<Rival>, limits: Limits): Row[] {
  return (['buildkit', 'classic'] as const).map((rival) =>
    compared(what, AGAINST[rival], {
      theirs: median(timings[rival]),
      ours: median(timings.direct),
      ratio: pairedRatio(timings.direct, timings[rival]),
      limit: 1 / limits[rival],
    }),
  );
}
