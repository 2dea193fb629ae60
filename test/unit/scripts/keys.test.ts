import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { run, withPieces } from './bash.ts';

const dir = mkdtempSync(join(tmpdir(), 'dinp keys-'));
after(() => rmSync(dir, { recursive: true }));

const SETTINGS = `STATE="${dir}/state dir"; SSH_USER=dinp; SSH_PORT=2345; OWN_KEY="$STATE/ssh/id_ed25519"; ENROLLED_PRIVATE=$OWN_KEY\n`;
const bash = (script: string) => withPieces(['say', 'background', 'keys'], SETTINGS + script);

/** What OpenSSH itself makes of a config file for one destination. */
async function sshReads(config: string, destination: string): Promise<Map<string, string>> {
  const { stdout, code, stderr } = await run('ssh', ['-G', '-F', config, destination]);
  assert.equal(code, 0, stderr);
  return new Map(
    stdout.split('\n').map((line) => [line.slice(0, line.indexOf(' ')), line.slice(line.indexOf(' ') + 1)]),
  );
}

test("the block in ~/.ssh/config is for dinp's server only, and OpenSSH reads it", async () => {
  const config = join(dir, 'config');
  await bash(`write_user_ssh_config "${config}"`);
  const ours = await sshReads(config, 'ssh://dinp@127.0.0.1:2345');
  assert.equal(ours.get('identityfile'), join(dir, 'state dir/ssh/id_ed25519'));
  assert.equal(ours.get('userknownhostsfile'), join(dir, 'state dir/ssh/known_hosts'));
  assert.equal(ours.get('stricthostkeychecking'), 'true');
  for (const other of ['me@127.0.0.1', 'dinp@example.com']) {
    assert.doesNotMatch((await sshReads(config, other)).get('identityfile') ?? '', /state dir/);
  }
  assert.equal(statSync(config).mode & 0o777, 0o600);
});

test('what was in ~/.ssh/config stays, and a second time changes nothing', async () => {
  const config = join(dir, 'config2');
  const mine = 'User me\nHost build\n    Port 2200\n\n# the end';
  writeFileSync(config, `${mine}\n`);
  await bash(`write_user_ssh_config "${config}"`);
  const once = readFileSync(config, 'utf8');
  assert.ok(once.startsWith(`${mine}\n\n# dinp quickstart: begin\n`));
  await bash(`write_user_ssh_config "${config}"`);
  assert.equal(readFileSync(config, 'utf8'), once);
  await bash(`SSH_USER=other; write_user_ssh_config "${config}"`);
  const changed = readFileSync(config, 'utf8');
  assert.ok(changed.startsWith(`${mine}\n\n# dinp quickstart: begin\nMatch originalhost 127.0.0.1 user other\n`));
  assert.equal(changed.match(/quickstart: begin/g)?.length, 1);
  assert.equal((await sshReads(config, 'build')).get('port'), '2200');
});
