import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { ROOT, run } from './bash.ts';

const dir = mkdtempSync(join(tmpdir(), 'dinp-units-'));
after(() => rmSync(dir, { recursive: true }));

/** Exposure as `systemd-analyze security` counts it, in tenths: 100 is the worst. Each is what the unit has now. */
const EXPOSURE = { dinp: 45, 'dinp-registry': 15, 'dinp-caddy': 20 };

for (const [name, threshold] of Object.entries(EXPOSURE)) {
  test(`${name}.service is right for systemd, and no more exposed than it must be`, async () => {
    // The programs are not installed on every machine that runs tests; verify would only complain about that.
    const text = readFileSync(join(ROOT, `scripts/${name}.service`), 'utf8').replace(
      /^ExecStart=\S+/m,
      'ExecStart=/bin/true',
    );
    const file = join(dir, `${name}.service`);
    writeFileSync(file, text);
    const verified = await run('systemd-analyze', ['verify', '--man=no', file]);
    const about = verified.stderr.split('\n').filter((line) => line.includes(`${name}.service`));
    assert.deepEqual([verified.code, about], [0, []], verified.stderr);
    const secure = await run('systemd-analyze', [
      'security',
      '--offline=yes',
      `--threshold=${threshold}`,
      '--no-pager',
      file,
    ]);
    assert.equal(secure.code, 0, secure.stdout.split('\n').slice(-4).join('\n'));
  });
}
