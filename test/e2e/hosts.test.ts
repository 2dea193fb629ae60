import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { startServer, type TestServer } from '../support/dinp-server.ts';
import { SystemdMachine } from '../support/systemd-host.ts';

/** Two machines that systemd runs, each with an engine and an sshd, beside the server's. */
let server: TestServer;
let machines: SystemdMachine[] = [];

before(async () => {
  server = await startServer();
  machines = await Promise.all([SystemdMachine.boot(), SystemdMachine.boot()]);
});
after(async () => {
  await server?.[Symbol.asyncDispose]();
  await Promise.all(machines.map((machine) => machine[Symbol.asyncDispose]()));
});

test('a machine that does not know our key is not taken up', async () => {
  const { status, output } = await server.dinp('hosts', 'add', 'h1', `ssh://root@${await machines[0]!.address()}`);
  assert.equal(status, 1);
  assert.match(output, /h1 does not let us in as root/);
  assert.match(output, /hosts key/);
});

test('hosts are taken up with the key they show, or the one that must be shown', async () => {
  const key = await server.dinpOk('hosts', 'key');
  for (const machine of machines) await machine.authorize(key);
  const [first, second] = await Promise.all(machines.map((machine) => machine.address()));
  const said = await server.dinpOk('hosts', 'add', 'h1', `ssh://root@${first}`, '--label', 'zone=a');
  const fingerprint = /SHA256:\S+/.exec(said)![0];
  assert.match(said, /It is trusted from now on/);
  const wrong = await server.dinp('hosts', 'add', 'h2', `ssh://root@${second}`, '--fingerprint', 'SHA256:wrong');
  assert.match(wrong.output, /h2 shows another host key than the one you gave/);
  const real = (await machines[1]!.exec('ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub')).split(' ')[1]!;
  await server.dinpOk('hosts', 'add', 'h2', `ssh://root@${second}`, '--fingerprint', real);
  assert.equal(
    (await machines[0]!.exec('ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub')).split(' ')[1],
    fingerprint,
  );
});

test('check proves all that a host needs, a pull from our registry among it', async () => {
  const { status, output } = await server.dinp('hosts', 'check', '--json');
  const findings = JSON.parse(output) as { host: string; name: string; ok: boolean; detail: string }[];
  assert.deepEqual(
    findings.filter(({ ok }) => !ok),
    [],
  );
  assert.equal(status, 0);
  assert.deepEqual(
    findings.filter(({ host }) => host === 'h1').map(({ name }) => name),
    ['login', 'systemd', 'docker', 'disk', 'memory', 'clock', 'address', 'registry'],
  );
  assert.match(findings.at(-1)!.detail, /^pulled 127\.0\.0\.1:\d+\/dinp-check$/);
});

test('check says what is missing', async () => {
  await machines[1]!.exec('systemctl stop docker.socket docker');
  const stopped = await server.dinp('hosts', 'check', 'h2');
  assert.equal(stopped.status, 1);
  assert.match(stopped.output, /h2 +docker +NO +its engine does not answer/);
  await machines[1]!.exec('systemctl start docker');
});

test('a machine that shows another host key is not talked to until it is pinned', async () => {
  const machine = machines[1]!;
  await machine.exec('rm /etc/ssh/ssh_host_*; ssh-keygen -A; systemctl stop ssh; pkill -x sshd; systemctl start ssh');
  const changed = await server.dinp('hosts', 'check', 'h2');
  assert.equal(changed.status, 1);
  assert.match(changed.output, /h2 +login +NO +h2 .* shows another host key than the one that is pinned/);
  const real = (await machine.exec('ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub')).split(' ')[1]!;
  await server.dinpOk('hosts', 'pin', 'h2', '--fingerprint', real);
  assert.equal((await server.dinp('hosts', 'check', 'h2')).status, 0);
});
