import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { DinpError } from '../domain/errors.ts';
import type { InstanceSpec } from '../domain/instance.ts';
import type { Release } from '../domain/release.ts';
import { UNIT_KINDS, type UnitFile, type UnitKind, type UnitRenderer, unitKindOf } from '../domain/unit-file.ts';
import { emitUnits } from '../unit/emit.ts';

/** The unit files of releases, kept under `<units>/APP/vN/KIND/` whatever target runs them. */
export class ReleaseUnits {
  readonly #renderers: Record<UnitKind, UnitRenderer>;
  readonly #folder: string;

  constructor(renderers: Record<UnitKind, UnitRenderer>, folder: string) {
    this.#renderers = renderers;
    this.#folder = folder;
  }

  async render(kind: UnitKind, release: Release, specs: InstanceSpec[]): Promise<UnitFile[]> {
    return await this.#renderers[kind].render(release, specs);
  }

  /** The files with config values that those units name. */
  secretFiles(kind: UnitKind, release: Release, specs: InstanceSpec[]): UnitFile[] {
    return this.#renderers[kind].secretFiles(release, specs);
  }

  /**
   * Writes the files of every kind.
   * @returns what is to be said of kinds that this release does not need and that cannot carry it
   * @throws DinpError refused where that is so of the kind that its target runs, or where its engine would not take them
   */
  async emit(release: Release, specs: InstanceSpec[]): Promise<string[]> {
    const notes: string[] = [];
    for (const kind of UNIT_KINDS) {
      try {
        await this.#emitKind(kind, release, specs);
      } catch (error) {
        if (kind === unitKindOf(release.target) || !(error instanceof DinpError)) throw error;
        notes.push(`There are no unit files for ${kind}: ${error.message}`);
      }
    }
    return notes;
  }

  async #emitKind(kind: UnitKind, release: Release, specs: InstanceSpec[]): Promise<void> {
    const folder = join(this.#folder, release.app, `v${release.number}`, kind);
    const renderer = this.#renderers[kind];
    const files = await renderer.render(release, specs).catch(async (error: unknown) => {
      // Those of another formation, say, are not this release's any more.
      await rm(folder, { recursive: true, force: true });
      throw error;
    });
    await emitUnits(folder, files);
    if (files.length === 0) return;
    const problems = (await renderer.verify?.(files)) ?? [];
    if (problems.length === 0) return;
    throw new DinpError('refused', `${kind} would not take the unit files of ${release.app} v${release.number}.`, {
      detail: problems.join('\n'),
      hint: `To read them: dinp units show ${release.app} --release ${release.number} --target ${kind}`,
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
