import assert from 'node:assert/strict';
import { get } from 'node:http';
import { after, before, test } from 'node:test';
import { type CutPath, openCutPath } from '../support/cut-path.ts';
import { startServer, type TestServer } from '../support/dinp-server.ts';
import type { Files, GitClient } from '../support/git-client.ts';
import type { Ended, Program } from '../support/program.ts';
import { SystemdMachine } from '../support/systemd-host.ts';
import { until } from '../support/until.ts';

const SECRET = 'tok$en "of" 100%';
/** Says that it begins, fails on a host whose resolv.conf has a certain name in it, and serves. */
const RUN = `echo "$DINP_RELEASE begins"
if grep -q bad-host.test /etc/resolv.conf && [ -e /www/picky ]; then echo "no database on this host"; exit 3; fi
while [ -e /www/hold ] && ! [ -e /tmp/go ]; do sleep 0.1; done
exec busybox httpd -f -p "$PORT" -h /www
`;

/** Two machines that systemd runs, each with an engine and an sshd, beside the server's. */
let server: TestServer;
let machines: SystemdMachine[] = [];
let addresses: string[] = [];
/** SSH to the first of them goes through this. */
let path: CutPath;
/** Its app has an instance on each host. */
let me: GitClient;

before(async () => {
  const starting = startServer({ config: { target: 'hosts' } });
  machines = await Promise.all([SystemdMachine.boot(), SystemdMachine.boot()]);
  server = await starting;
  addresses = await Promise.all(machines.map((machine) => machine.address()));
  path = await openCutPath({ host: addresses[0]!, port: 22 });
  me = await server.client();
});
after(async () => {
  await server?.[Symbol.asyncDispose]();
  await path?.[Symbol.asyncDispose]();
  await Promise.all(machines.map((machine) => machine[Symbol.asyncDispose]()));
});

interface Row {
  process: string;
  index: number;
  name: string;
  release: number;
  state: string;
  desired: boolean;
  host: string;
  port: number;
}

function files(page: string, more: Files = {}): Files {
  return {
    Dockerfile: `FROM ${server.registry.address}/base/busybox:1\nCOPY . /www/\nCMD ["sh", "/www/run"]\n`,
    'dinp.yml': 'instances: 2\nmemory: 32M\nstop: 2s\n',
    'index.html': page,
    run: RUN,
    ...more,
  };
}

async function ps(app: string): Promise<Row[]> {
  return JSON.parse(await server.dinpOk('ps', app, '--json')) as Row[];
}

/** `h1 running v2`, … */
async function where(app: string): Promise<string[]> {
  const rows = await ps(app);
  return rows.map(({ host, state, release, desired }) => `${host} ${state} v${release}${desired ? '' : ', a stray'}`);
}

/** Where the router sends visitors of an app. */
async function upstreams(app: string): Promise<string[]> {
  const answer = await fetch(`${server.caddy.admin}/config/apps/http/servers/dinp-${app}`);
  return [...(await answer.text()).matchAll(/"dial":"([^"]+)"/g)].map(([, dial]) => dial!).sort();
}

/** Names of the units of an app on a host. */
async function unitsOn(machine: SystemdMachine, app: string): Promise<string[]> {
  return (await machine.exec(`cd /etc/systemd/system && ls | grep '^dinp-${app}-' || true`))
    .split('\n')
    .filter(Boolean);
}

/** Waits until a push has started an instance of a release on a host, and gives the name of its container. */
async function runsOn(machine: SystemdMachine, push: Program, app: string, release: number): Promise<string> {
  return await until(`v${release} runs`, async () => {
    if (push.child.exitCode !== null) throw new Error(`the push ended:\n${push.output()}`);
    const names = await machine.exec('docker ps --format "{{.Names}}"');
    return names.split('\n').find((name) => name.startsWith(`dinp-${app}--web--v${release}--`));
  });
}

/** Lets instances of a push go on that wait, also one that was started anew, until the push has ended. */
async function letGo(machine: SystemdMachine, push: Program, app: string, release: number): Promise<Ended> {
  const touch = `for name in $(docker ps -q --filter name=dinp-${app}--web--v${release}-); do docker exec $name touch /tmp/go; done`;
  await until('the push ends', async () => {
    if (push.child.exitCode === null) await machine.exec(`${touch} || true`);
    return push.child.exitCode !== null;
  });
  return await push.ended;
}

/** Asks an app again and again until stopped, and gives what was no 200. */
function askOnAndOn(url: string): { stop(): Promise<{ asked: number; failed: string[] }> } {
  let isOver = false;
  const result = { asked: 0, failed: [] as string[] };
  const ask = () =>
    new Promise<string | undefined>((resolve) => {
      get(url, { agent: false }, (response) => {
        response.resume();
        response.once('end', () => resolve(response.statusCode === 200 ? undefined : `status ${response.statusCode}`));
      }).once('error', (error) => resolve(error.message));
    });
  const one = async () => {
    while (!isOver) {
      const failure = await ask();
      result.asked++;
      if (failure !== undefined) result.failed.push(failure);
    }
  };
  const all = [one(), one()];
  return {
    async stop() {
      isOver = true;
      await Promise.all(all);
      return result;
    },
  };
}

test('a machine that does not know our key is not taken up', async () => {
  const { status, output } = await server.dinp('hosts', 'add', 'h1', `ssh://root@${addresses[0]}`);
  assert.equal(status, 1);
  assert.match(output, /h1 does not let us in as root/);
  assert.match(output, /hosts key/);
});

test('hosts are taken up with the key they show, or the one that must be shown', async () => {
  const key = await server.dinpOk('hosts', 'key');
  for (const machine of machines) await machine.authorize(key);
  const [first, second] = addresses as [string, string];
  const reach = [`ssh://root@127.0.0.1:${path.port}`, '--address', first];
  const said = await server.dinpOk('hosts', 'add', 'h1', ...reach, '--label', 'zone=a');
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

test('a push starts its instances on both hosts, at their own addresses, and the secrets are in no unit', async () => {
  await server.dinpOk('apps', 'create', me.app);
  const set = server.startDinp(['config', 'set', me.app, 'TOKEN'], SECRET);
  assert.equal((await set.ended).status, 0);
  // Somebody else has the port that would be taken.
  const low = server.instancePorts.first;
  for (const machine of machines) await machine.exec(`systemd-run -q busybox nc -ll -p ${low} -e true`);
  await me.commit(files('one'));
  const pushed = await me.push();
  assert.equal(pushed.status, 0, pushed.raw);
  const rows = await ps(me.app);
  assert.deepEqual(rows.map(({ host }) => host).sort(), ['h1', 'h2']);
  const at = new Map(rows.map(({ host, port }) => [host, `${addresses[host === 'h1' ? 0 : 1]}:${port}`]));
  assert.ok(rows.every(({ state, port }) => state === 'running' && port > low));
  assert.deepEqual(await upstreams(me.app), [...at.values()].sort());
  assert.equal((await server.curl(me.app)).body, 'one');
  const again = await me.push();
  for (const { process, index, host } of rows) {
    assert.match(again.raw, new RegExp(`^${process}\\.${index} at ${at.get(host)} on ${host}$`, 'm'));
  }
  assert.match(await server.dinpOk('ps', me.app), /^INSTANCE +RELEASE +STATE +HOST [\s\S]*running +h[12] /);
  const lines = await server.dinpOk('logs', me.app);
  assert.equal(lines.match(/v1 begins/g)?.length, 2);
  for (const machine of machines) {
    const visible = await machine.exec(
      'cat /etc/systemd/system/dinp-*; systemctl show "dinp-*"; ps axww -o args; journalctl -o cat',
    );
    assert.ok(!visible.includes(SECRET.slice(0, 6)));
    assert.equal(await machine.exec('stat -c "%a %U" /etc/dinp/environment/* | sort -u'), '600 root');
    assert.match(await machine.exec('cat /etc/dinp/environment/*'), /tok\$en/);
  }
});

test('an instance that fails on one host shows its own last lines and changes nothing', async () => {
  await machines[1]!.exec('echo "search bad-host.test" >> /etc/resolv.conf');
  await me.commit({ ...files('two'), picky: '' });
  const failed = await me.push();
  assert.equal(failed.status, 1, failed.raw);
  assert.match(failed.output, /web\.[12] .*exited with status 3|ended at once with exit status 3/);
  assert.match(failed.output, /no database on this host/);
  assert.equal((await server.curl(me.app)).body, 'one');
  assert.deepEqual((await where(me.app)).sort(), ['h1 running v1', 'h2 running v1']);
  for (const machine of machines) assert.equal((await unitsOn(machine, me.app)).length, 1);
});

test('a connection that breaks in the middle of a rollout is made again; one that stays broken changes nothing', async () => {
  const [first] = machines as [SystemdMachine];
  const one = await server.client();
  await one.commit(files('one', { 'dinp.yml': 'hosts: [zone=a]\nmemory: 32M\n' }));
  assert.equal((await one.push()).status, 0);

  await one.commit({ ...files('two', { 'dinp.yml': 'hosts: [zone=a]\nmemory: 32M\n' }), hold: '' });
  const pushing = one.startPush();
  await runsOn(first, pushing, one.app, 2);
  path.cut();
  const healed = await letGo(first, pushing, one.app, 2);
  assert.equal(healed.status, 0, healed.output);
  assert.equal((await server.curl(one.app)).body, 'two');

  await one.commit({ 'index.html': 'three' });
  const doomed = one.startPush();
  await runsOn(first, doomed, one.app, 3);
  path.cut('stay');
  const failed = await doomed.ended;
  assert.equal(failed.status, 1);
  assert.match(failed.output, /h1 (cannot be reached|closed the connection)/);
  assert.equal((await server.curl(one.app)).body, 'two');
  path.restore();
  assert.equal((await server.dinp('hosts', 'check', 'h1')).status, 0);
  const retry = one.startPush('master:refs/deploy/now');
  const retried = await letGo(first, retry, one.app, 4);
  assert.equal(retried.status, 0, retried.output);
  assert.equal((await server.curl(one.app)).body, 'three');
  await until('nothing of the lost release is left', async () => (await unitsOn(first, one.app)).length === 1);
  await server.dinpOk('apps', 'destroy', one.app, '--confirm', one.app);
  assert.deepEqual(await unitsOn(first, one.app), []);
});

test('a host that dies takes nothing down; pushes go on with the other and say so, and what it has left goes when it is back', async () => {
  const [, second] = machines as [SystemdMachine, SystemdMachine];
  await second.kill();
  for (let i = 0; i < 4; i++) assert.equal((await server.curl(me.app)).body, 'one');
  await me.commit(files('three', { picky: undefined }));
  const pushed = await me.push();
  assert.equal(pushed.status, 0, pushed.raw);
  assert.match(pushed.raw, /h2 .*\. Other hosts take its part\./);
  assert.equal((await server.curl(me.app)).body, 'three');
  const live = server.releases(me.app).at(-1)!.number;
  assert.deepEqual(await where(me.app), [`h1 running v${live}`, `h1 running v${live}`]);
  await second.start();
  await until('what h2 had is gone', async () => (await unitsOn(second, me.app)).length === 0);
  assert.equal(await second.exec('docker ps -aq'), '');
  assert.equal(await second.exec('ls /etc/dinp/environment'), '');
});

test('a drained host passes on what it runs, with no request lost, and can be removed then', async () => {
  const used = await server.dinp('hosts', 'remove', 'h1');
  assert.equal(used.status, 1);
  assert.match(used.output, new RegExp(`h1 has instances of ${me.app}`));
  const load = askOnAndOn(server.stableUrl(me.app));
  const { status, output } = await server.dinp('hosts', 'drain', 'h1');
  const { asked, failed } = await load.stop();
  assert.equal(status, 0, output);
  assert.deepEqual(failed, []);
  assert.ok(asked > 20);
  const rows = await where(me.app);
  assert.ok(rows.length === 2 && rows.every((row) => row.startsWith('h2 running')), rows.join('\n'));
  assert.deepEqual(await unitsOn(machines[0]!, me.app), []);
  assert.equal((await server.curl(me.app)).body, 'three');
  await server.dinpOk('hosts', 'remove', 'h1');
  assert.doesNotMatch(await server.dinpOk('hosts', 'list'), /h1/);
});
