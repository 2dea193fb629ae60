import assert from 'node:assert/strict';
import {
  accessSync,
  constants,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  symlinkSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { after, test } from 'node:test';
import { ROOT, run } from '../unit/scripts/bash.ts';

const scratch = mkdtempSync(join(tmpdir(), 'dinp-pack-'));
after(() => rmSync(scratch, { recursive: true, force: true }));

/** A copy of the checkout, so that nobody's dist/ is taken away while others use it. */
function copyCheckout(): string {
  const checkout = join(scratch, 'checkout');
  mkdirSync(checkout);
  for (const name of [
    'package.json',
    'package-lock.json',
    'tsconfig.json',
    'src',
    'hooks',
    'unit-templates',
    'scripts',
  ]) {
    cpSync(join(ROOT, name), join(checkout, name), { recursive: true });
  }
  symlinkSync(join(ROOT, 'node_modules'), join(checkout, 'node_modules'));
  return checkout;
}

test('npm pack makes a package whose dinp runs from compiled JavaScript, with all that it reads', async () => {
  const packed = await run('npm', ['pack', '--pack-destination', scratch], { cwd: copyCheckout() });
  assert.equal(packed.code, 0, packed.stdout + packed.stderr);
  const tarball = readdirSync(scratch).find((name) => name.endsWith('.tgz'));

  const there = join(scratch, 'there');
  mkdirSync(there);
  const args = ['install', '--prefix', there, '--ignore-scripts', '--no-audit', '--no-fund', join(scratch, tarball!)];
  const installed = await run('npm', args, { cwd: there });
  assert.equal(installed.code, 0, installed.stderr);

  const dinp = join(there, 'node_modules/.bin/dinp');
  const help = await run(dinp, ['--help']);
  assert.equal(help.code, 0, help.stderr);
  for (const command of ['apps', 'keys', 'builds', 'releases', 'serve'])
    assert.match(help.stdout, new RegExp(`\\b${command}\\b`));
  assert.match((await run(dinp, ['--version'])).stdout, /^dinp \d+\.\d+\.\d+\n$/);

  const home = join(there, 'node_modules/dinp');
  const files = readdirSync(home, { recursive: true, encoding: 'utf8' }).filter(
    (file) => !file.startsWith('node_modules'),
  );
  assert.deepEqual(
    files.filter((file) => /\.ts$/.test(file)),
    [],
    'sources in the package',
  );
  const besides = readdirSync(join(ROOT, 'src'), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && !entry.name.endsWith('.ts'))
    .map((entry) => relative(join(ROOT, 'src'), join(entry.parentPath, entry.name)));
  assert.ok(besides.some((file) => file.endsWith('.sql')));
  for (const file of besides) assert.ok(existsSync(join(home, 'dist', file)), `dist/${file}`);
  for (const hook of readdirSync(join(ROOT, 'hooks'))) accessSync(join(home, 'hooks', hook), constants.X_OK);
  for (const template of readdirSync(join(ROOT, 'unit-templates'))) {
    assert.ok(existsSync(join(home, 'unit-templates', template)), template);
  }
});
