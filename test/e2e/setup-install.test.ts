import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { copyCheckout, docker } from '../support/bare-machine.ts';
import { layOutNode } from '../support/node-layout.ts';
import { SystemdMachine } from '../support/systemd-host.ts';

const CHECKOUT = '/root/dinp';
const CERTIFICATES = '/etc/test-certificates.crt';
/** A visitor's own clone: any repository, pushed with plain git. */
const PUSH = `cd /root/page && GIT_SSH_COMMAND="ssh -o StrictHostKeyChecking=accept-new" git push dinp master 2>&1`;

let machine: SystemdMachine;

before(async () => {
  machine = await SystemdMachine.boot();
  await copyCheckout(machine.name, CHECKOUT);
  await giveNode();
  // Where npm packages come from and whom it trusts is this machine's business: the same inside.
  if (process.env.NODE_EXTRA_CA_CERTS) await machine.copyIn(process.env.NODE_EXTRA_CA_CERTS, CERTIFICATES);
});
after(() => machine?.[Symbol.asyncDispose]());

/** A machine whose Node is new enough: the quickstart's test is the one where it is installed. */
async function giveNode(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'dinp-install-'));
  try {
    await layOutNode(folder);
    await docker(['cp', `${folder}/.`, `${machine.name}:/usr/local/`]);
    await machine.exec('ln -sf ../lib/node_modules/npm/bin/npm-cli.js /usr/local/bin/npm');
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Runs scripts/install in the machine; a minute the first time, for a compiler comes first. */
async function install(args = ''): Promise<string> {
  const trust = process.env.NODE_EXTRA_CA_CERTS ? `export NODE_EXTRA_CA_CERTS=${CERTIFICATES};` : '';
  return await docker([
    'exec',
    machine.name,
    'bash',
    '-c',
    `${trust} exec 2>&1; cd ${CHECKOUT} && ./scripts/install ${args}`,
  ]);
}

async function ended(line: string): Promise<{ code: number; stdout: string }> {
  return await machine.host.run(['sh', '-c', line], { timeoutMs: 300_000 });
}

test('scripts/install on a systemd machine', async (t) => {
  await t.test('dinp becomes a service; a key is let in and a push deploys', async () => {
    const output = await install();
    assert.match(output, /server +started +dinp\.service, SSH on port 2222/);
    assert.equal(await machine.exec('systemctl is-enabled dinp; systemctl is-active dinp'), 'enabled\nactive');
    await machine.exec(`ssh-keygen -q -t ed25519 -N '' -f ~/.ssh/id_ed25519 && dinp keys add me --role admin < ~/.ssh/id_ed25519.pub
      mkdir /root/page && cd /root/page && git init -q -b master . && echo first > index.html && git add .
      git -c user.name=me -c user.email=me@example.com commit -qm one && git remote add dinp ssh://dinp@127.0.0.1:2222/page`);
    const { code, stdout } = await ended(PUSH);
    assert.equal(code, 0, stdout);
    assert.match(stdout, /Released v1/);
    assert.equal(await machine.exec('curl -fsS http://127.0.0.1:21000/'), 'first');
  });

  await t.test('the unit is what systemd runs: hardened, with nothing writable but its data', async () => {
    const pid = await machine.exec('systemctl show -p MainPID --value dinp');
    assert.match(await machine.exec(`grep NoNewPrivs /proc/${pid}/status`), /1$/);
    const writes = (path: string) => ended(`nsenter -t ${pid} -m sh -c 'touch ${path}/probe && rm ${path}/probe'`);
    for (const path of ['/usr', '/opt/dinp', '/etc', '/root', '/boot'])
      assert.notEqual((await writes(path)).code, 0, path);
    for (const path of ['/var/lib/dinp', '/etc/systemd/system']) assert.equal((await writes(path)).code, 0, path);
  });

  await t.test(
    'again is the upgrade: the app serves all the time, its instance is not touched, the data is there',
    async () => {
      const instances = await machine.exec('docker ps --no-trunc --format "{{.ID}} {{.CreatedAt}}"');
      await machine.exec(`(while sleep 0.1; do curl -fsS -m 2 http://127.0.0.1:21000/ >/dev/null || echo failed; done) >/tmp/visits 2>&1 &
      echo $! > /tmp/visitor`);
      await machine.exec(`cd ${CHECKOUT} && sed -i 's/"version": "[^"]*"/"version": "99.0.0"/' package.json`);
      const output = await install();
      await machine.exec('kill $(cat /tmp/visitor)');
      assert.match(output, /upgrade +ok +from \S+ to 99\.0\.0-/);
      assert.equal(await machine.exec('cat /tmp/visits'), '', 'visits that failed during the upgrade');
      assert.equal(await machine.exec('docker ps --no-trunc --format "{{.ID}} {{.CreatedAt}}"'), instances);
      assert.equal(await machine.exec('dinp --version'), 'dinp 99.0.0');
      assert.match((await ended(PUSH)).stdout, /is live as v1/);
    },
  );

  await t.test('--back is the release before', async () => {
    const output = await install('--back');
    assert.match(output, /release +back/);
    assert.notEqual(await machine.exec('dinp --version'), 'dinp 99.0.0');
    assert.match((await ended(PUSH)).stdout, /is live as v1/);
  });

  await t.test('a release that does not come up is switched back by itself', async () => {
    const before = await machine.exec('readlink /opt/dinp/current');
    await machine.exec(
      `cd ${CHECKOUT} && sed -i '1,/^import/s/^import/process.argv.includes("serve") \\&\\& process.exit(3);\\nimport/' src/cli/main.ts`,
    );
    await assert.rejects(install(), /the new release does not come up; the one before it runs again/);
    assert.equal(await machine.exec('readlink /opt/dinp/current'), before);
    assert.match((await ended(PUSH)).stdout, /is live as v1/);
  });

  await t.test('after a boot everything is back', async () => {
    await machine.reboot();
    await machine.exec(
      'for n in $(seq 100); do dinp apps list >/dev/null 2>&1 && break; sleep 0.2; done; dinp apps list',
    );
    const answer = await machine.exec(
      'curl -fsS --retry 20 --retry-delay 1 --retry-connrefused --retry-all-errors http://127.0.0.1:21000/',
    );
    assert.equal(answer, 'first');
  });
});
