import { rm } from 'node:fs/promises';
import { join } from 'node:path';
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

  constructor(renderer: RunUnits, folder: string) {
    this.renderer = renderer;
    this.#folder = folder;
  }

  render(specs: InstanceSpec[], kind: UnitKind): UnitFile[] {
    return this.renderer.render(specs, kind);
  }

  async emit(release: Release, specs: InstanceSpec[]): Promise<void> {
    for (const kind of KINDS) {
      await emitUnits(join(this.#folder, release.app, `v${release.number}`, kind), this.renderer.render(specs, kind));
    }
  }

  async remove(app: string): Promise<void> {
    await rm(join(this.#folder, app), { recursive: true, force: true });
  }
}
