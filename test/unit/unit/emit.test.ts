import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { emitUnits } from '../../../src/unit/emit.ts';

test('the folder holds exactly the files given, also after a death half way', async () => {
  const root = await mkdtemp(join(tmpdir(), 'dinp-emit-'));
  try {
    const folder = join(root, 'blog', 'v3', 'systemd');
    const files = [
      { name: 'a.service', text: 'A\n' },
      { name: 'b.service', text: 'B\n' },
    ];
    await emitUnits(folder, files);
    assert.deepEqual((await readdir(folder)).sort(), ['a.service', 'b.service']);
    await emitUnits(folder, files.slice(1));
    assert.deepEqual(await readdir(folder), ['b.service']);
    assert.equal(await readFile(join(folder, 'b.service'), 'utf8'), 'B\n');

    // Dead between the two renames: the old files are aside, half of the new ones are there.
    await rename(folder, join(root, 'blog', 'v3', '.systemd.old'));
    await mkdir(join(root, 'blog', 'v3', '.systemd.new'));
    await writeFile(join(root, 'blog', 'v3', '.systemd.new', 'a.service'), 'half');
    await emitUnits(folder, files);
    assert.deepEqual((await readdir(folder)).sort(), ['a.service', 'b.service']);
    assert.deepEqual(await readdir(join(root, 'blog', 'v3')), ['systemd']);
  } finally {
    await rm(root, { recursive: true });
  }
});
