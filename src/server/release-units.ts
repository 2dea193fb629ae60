import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { DinpError } from '../domain/errors.ts';
import type { InstanceSpec } from '../domain/instance.ts';
import type { Release } from '../domain/release.ts';
import type { UnitFile } from '../domain/unit-file.ts';
import { emitUnits } from '../unit/emit.ts';
import type { RunUnits, UnitKind } from '../unit/run-unit.ts';

const KINDS: UnitKind[] = ['systemd', 'fleet'];

/** The unit files of releases, kept under `<units>/APP/vN/KIND/` whatever target runs them. */
export class ReleaseUnits {
  readonly renderer: RunUnits;
  readonly #folder: string;
  readonly #verify: (files: UnitFile[]) => Promise<string[] | undefined>;

  /** @param verify says what systemd finds wrong with units; undefined where there is no systemd to ask */
  constructor(renderer: RunUnits, folder: string, verify: (files: UnitFile[]) => Promise<string[] | undefined>) {
    this.renderer = renderer;
    this.#folder = folder;
    this.#verify = verify;
  }

  render(specs: InstanceSpec[], kind: UnitKind): UnitFile[] {
    return this.renderer.render(specs, kind);
  }

  /** @throws DinpError refused for units that systemd would not take */
  async emit(release: Release, specs: InstanceSpec[]): Promise<void> {
    for (const kind of KINDS) {
      await emitUnits(join(this.#folder, release.app, `v${release.number}`, kind), this.renderer.render(specs, kind));
    }
    const problems = specs.length === 0 ? [] : ((await this.#verify(this.renderer.render(specs, 'systemd'))) ?? []);
    if (problems.length === 0) return;
    throw new DinpError('refused', `systemd would not take the unit files of ${release.app} v${release.number}.`, {
      detail: problems.join('\n'),
      hint: `To read them: dinp units show ${release.app} --release ${release.number}`,
    });
  }

  /** Numbers of the releases that have unit files. */
  async list(app: string): Promise<number[]> {
    const names = await readdir(join(this.#folder, app)).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return [];
      throw error;
    });
    return names.flatMap((name) => /^v(\d+)$/.exec(name)?.[1] ?? []).map(Number);
  }

  async removeRelease(app: string, release: number): Promise<void> {
    await rm(join(this.#folder, app, `v${release}`), { recursive: true, force: true });
  }

  async remove(app: string): Promise<void> {
    await rm(join(this.#folder, app), { recursive: true, force: true });
  }
}
