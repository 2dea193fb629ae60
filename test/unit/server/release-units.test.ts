import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { DinpError } from '../../../src/domain/errors.ts';
import type { Release } from '../../../src/domain/release.ts';
import { UNIT_KINDS, type UnitKind, type UnitRenderer } from '../../../src/domain/unit-file.ts';
import { ReleaseUnits } from '../../../src/server/release-units.ts';
import { tempFolder } from '../../support/temp-folder.ts';
import { exampleSpec } from '../unit/example-spec.ts';

const refusal = async (): Promise<never> => {
  throw new DinpError('refused', 'a line is too long.');
};
const renderer = (folder: string, change: Partial<UnitRenderer> = {}): UnitRenderer => ({
  render: async (release, specs) =>
    specs.map((spec) => ({ name: `${folder}${spec.name}`, text: `${release.number}\n` })),
  secretFiles: () => [],
  ...change,
});
const fine = Object.fromEntries(UNIT_KINDS.map((kind) => [kind, renderer('')])) as Record<UnitKind, UnitRenderer>;

test('every kind has its folder, and a kind that the target does not run only leaves a note', async () => {
  const root = tempFolder();
  const specs = [exampleSpec()];
  const kept = (path: string) => readFile(join(root, 'blog/v3', path), 'utf8');
  assert.deepEqual(
    await new ReleaseUnits({ ...fine, fleet: renderer('deep/') }, root).emit(releaseOn('docker'), specs),
    [],
  );
  assert.equal(await kept('fleet/deep/dinp-blog--web--v3--1'), '3\n');

  const units = new ReleaseUnits({ ...fine, fleet: renderer('', { render: refusal }) }, root);
  assert.deepEqual(await units.emit(releaseOn('docker'), specs), [
    'There are no unit files for fleet: a line is too long.',
  ]);
  assert.ok(!(await readdir(join(root, 'blog/v3'))).includes('fleet'));
  await assert.rejects(units.emit(releaseOn('fleet'), specs), { code: 'refused' });
});

test('units that their engine would not take are kept, to be read, and refused', async () => {
  const root = tempFolder();
  const bad = renderer('', { verify: async () => ['line 1: what?'] });
  const units = new ReleaseUnits({ ...fine, systemd: bad }, root);
  await assert.rejects(units.emit(releaseOn('docker'), [exampleSpec()]), {
    code: 'refused',
    detail: 'line 1: what?',
    hint: 'To read them: dinp units show blog --release 3 --target systemd',
  });
  assert.deepEqual(await readdir(join(root, 'blog/v3/systemd')), ['dinp-blog--web--v3--1']);
  assert.deepEqual(await units.emit(releaseOn('docker'), []), []);
});

function releaseOn(target: string): Release {
  return { app: 'blog', number: 3, target } as Release;
}
