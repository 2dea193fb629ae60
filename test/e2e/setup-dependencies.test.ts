import assert from 'node:assert/strict';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { after, test } from 'node:test';
import { ROOT, run, withPieces } from '../unit/scripts/bash.ts';

const scratch = mkdtempSync(join(tmpdir(), 'dinp-deps-'));
after(() => rmSync(scratch, { recursive: true, force: true }));

/** A folder with every program of the machine but compilers, Python and apt, and with the Node that runs this test. */
function pathWithoutCompiler(): string {
  const bin = join(scratch, 'bin');
  mkdirSync(bin);
  const left = /^(.*-)?(g\+\+|gcc|cc|c\+\+|clang|cpp|make|python[\d.]*|apt|apt-get)(-[\d.]+)?$/;
  for (const folder of ['/usr/bin', '/bin']) {
    for (const name of readdirSync(folder)) {
      if (left.test(name) || name === 'node') continue;
      try {
        symlinkSync(join(folder, name), join(bin, name));
      } catch {
        // /bin is /usr/bin on most machines
      }
    }
  }
  symlinkSync(realpathSync(process.execPath), join(bin, basename(process.execPath)));
  return bin;
}

test('without a compiler the packages are installed, the server can run, and what is lost is said', async () => {
  for (const name of ['package.json', 'package-lock.json', 'scripts']) {
    cpSync(join(ROOT, name), join(scratch, name), { recursive: true });
  }
  const env = { PATH: pathWithoutCompiler(), ROOT: scratch, LOG: join(scratch, 'log') };
  const pieces = ['say', 'apt', 'node', 'deps'];
  const install = 'node_find_dir; deps_install prod; echo "lost: $DEPS_LOST"';

  const first = await withPieces(pieces, install, { env });
  assert.equal(first.code, 0, `${first.stderr}\n${readFileSync(env.LOG, 'utf8')}`);
  assert.match(first.stdout, /installing npm packages/);
  assert.match(
    first.stdout,
    /lost: no native crypto for SSH \(g\+\+ make python3 missing\).*apt-get install g\+\+ make python3/,
  );

  const loads = `
    import { strict as assert } from 'node:assert';
    import { createRequire } from 'node:module';
    import Database from 'better-sqlite3';
    import ssh2 from 'ssh2';
    const database = new Database(':memory:');
    assert.equal(database.prepare('SELECT 6 * 7 AS n').get().n, 42);
    const key = ssh2.utils.generateKeyPairSync('ed25519');
    new ssh2.Server({ hostKeys: [key.private] }, () => {});
    for (const name of Object.keys(createRequire(import.meta.url)('./package.json').dependencies)) await import(name);
    console.log(createRequire(import.meta.url)('ssh2/lib/protocol/crypto.js').bindingAvailable);
  `;
  const loaded = await run('node', ['--input-type=module', '-e', loads], { env, cwd: scratch });
  assert.deepEqual([loaded.stdout, loaded.code], ['false\n', 0], loaded.stderr);

  const again = await withPieces(pieces, install, { env });
  assert.doesNotMatch(again.stdout, /installing/, 'a second time installs nothing');
});
