import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { startServer, type TestServer } from '../support/dinp-server.ts';
import type { GitClient } from '../support/git-client.ts';
import { SystemdMachine } from '../support/systemd-host.ts';
import { until } from '../support/until.ts';

/**
 * Three machines, each with an engine of its own: the first becomes the manager of a swarm and runs nothing else, the
 * others are workers. The server reaches all of them over SSH alone, and they its registry.
 */
let server: TestServer;
let machines: SystemdMachine[] = [];
let app: GitClient;

before(async () => {
  [server, machines] = await Promise.all([
    startServer({ config: { target: 'swarm', swarm: { managers: ['n1', 'n2'] }, reconcile: { every: '2s' } } }),
    SystemdMachine.bootTogether(['n1', 'n2', 'n3']),
  ]);
  const key = await server.dinpOk('hosts', 'key');
  await Promise.all(
    machines.map(async (machine, i) => {
      await machine.authorize(key);
      await server.dinpOk('hosts', 'add', `n${i + 1}`, `ssh://root@${await machine.address()}`);
    }),
  );
  app = await server.client();
});
after(async () => {
  await server?.[Symbol.asyncDispose]();
  await Promise.all(machines.map((machine) => machine[Symbol.asyncDispose]()));
});

interface Row {
  name: string;
  state: string;
  host: string;
  port: number | null;
  desired: boolean;
  index: number;
  process: string;
}

async function rows(): Promise<Row[]> {
  return JSON.parse(await server.dinpOk('ps', app.app, '--json')) as Row[];
}

/** Asks the app again and again while something is done; @returns the answers that were not as they should be */
async function askOn(isRight: (body: string) => boolean, work: () => Promise<void>): Promise<string[]> {
  const wrong: string[] = [];
  const url = server.stableUrl(app.app);
  let isOver = false;
  const asking = (async () => {
    while (!isOver) {
      const answer = await fetch(url).then(
        async (response) => `${response.status} ${await response.text()}`,
        (error: Error) => `0 ${error.message}`,
      );
      if (!answer.startsWith('200 ') || !isRight(answer.slice(4))) wrong.push(answer);
      await sleep(20);
    }
  })();
  await work().finally(() => {
    isOver = true;
  });
  await asking;
  return wrong;
}

test('engines that are in no swarm are said to be so', async () => {
  await server.dinpOk('apps', 'create', app.app);
  const { status, output } = await server.dinp('ps', app.app);
  assert.equal(status, 1);
  assert.match(output, /n1: The engine n1 is no manager of a swarm/);
});

test('a push runs on nodes of the swarm and answers at its address', async () => {
  await makeSwarm();
  await app.commit({ ...server.quickApp('one'), 'dinp.yml': manifest('echo migrated to one') });
  const { status, output } = await app.push();
  assert.equal(status, 0, output);
  assert.match(output, /migrated to one/);
  assert.match(output, /worker\.1 passes its health command/);
  assert.equal((await server.curl(app.app)).body, 'one\n');
  const found = await rows();
  assert.deepEqual(
    found.map(({ process, index, state, desired }) => ({ process, index, state, desired })),
    [
      { process: 'web', index: 1, state: 'running', desired: true },
      { process: 'web', index: 2, state: 'running', desired: true },
      { process: 'worker', index: 1, state: 'running', desired: true },
    ],
  );
  // Not both on one node, and none on the manager, which was told to run nothing.
  assert.deepEqual(webHosts(found), ['n2', 'n3']);
  assert.match(await server.dinpOk('logs', app.app, '--process', 'worker'), /working/);
});

test('a one-off command gives its output and exit status; input is refused in words', async () => {
  const ended = await server.ssh(['run', app.app, '--', 'sh', '-c', '"echo out; echo err >&2; exit 7"']);
  assert.deepEqual([ended.status, ended.stdout, ended.stderr], [7, 'out\n', 'err\n']);
  const fed = await server.ssh(['run', app.app, '--', 'cat'], { stdin: 'words' });
  assert.notEqual(fed.status, 0);
  assert.match(fed.output, /a command on a swarm cannot read standard input/);
});

test('the next push and the way back lose no request, and what ran before is gone', async () => {
  await app.commit({ ...server.quickApp('two'), 'dinp.yml': manifest('echo migrated to two') });
  const wrong = await askOn(
    (body) => body === 'one\n' || body === 'two\n',
    async () => {
      const { status, output } = await app.push();
      assert.equal(status, 0, output);
      assert.equal((await server.curl(app.app)).body, 'two\n');
      await server.dinpOk('rollback', app.app);
      assert.equal((await server.curl(app.app)).body, 'one\n');
    },
  );
  assert.deepEqual(wrong, []);
  const services = await machines[0]!.exec("docker service ls --format '{{.Name}}'");
  assert.deepEqual(
    services.split('\n').sort(),
    ['web--v3--1', 'web--v3--2', 'worker--v3--1'].map((name) => `dinp-${app.app}--${name}`),
  );
});

test('a release that does not come up leaves the one before as it was', async () => {
  await app.commit({ ...server.quickApp('three'), 'dinp.yml': manifest('echo never', 'exit 3') });
  const { status, output } = await app.push();
  assert.equal(status, 1);
  assert.match(output, /worker\.1 exited with status 3/);
  assert.equal((await server.curl(app.app)).body, 'one\n');
  assert.deepEqual(webHosts(await rows()), ['n2', 'n3']);
});

test('what a dead node had starts elsewhere, and the address answers', async () => {
  await machines[2]!.kill();
  await until('the instance of n3 runs on n2', async () => webHosts(await rows()).join() === 'n2,n2');
  const address = await machines[1]!.address();
  const upstreams = (await rows()).filter(({ process }) => process === 'web').map(({ port }) => `${address}:${port}`);
  await until('the router leads to where they are now', async () => {
    const config = await (await fetch(`${server.caddy.admin}/config/`)).text();
    return upstreams.length === 2 && upstreams.every((upstream) => config.includes(`"${upstream}"`));
  });
  assert.equal((await server.curl(app.app)).body, 'one\n');
  const log = await server.dinpOk('logs', app.app, '--process', 'worker');
  assert.match(log, /working/);
});

test('a swarm that does not answer is not one on which nothing runs, and goes on', async () => {
  await machines[0]!.exec('systemctl stop docker.socket docker');
  const { status, output } = await server.dinp('ps', app.app);
  assert.equal(status, 1);
  assert.match(output, /No manager of the swarm answers/);
  assert.match(output, /n1: .*cannot be reached/);
  assert.equal((await server.curl(app.app)).body, 'one\n');
  await machines[0]!.exec('systemctl start docker');
});

/** The first becomes the manager, and is to run nothing itself; a node that is away is noticed within seconds. */
async function makeSwarm(): Promise<void> {
  const [manager, ...workers] = machines as [SystemdMachine, ...SystemdMachine[]];
  const address = await manager.address();
  const options = '--availability drain --dispatcher-heartbeat 1s';
  await manager.exec(`docker swarm init --advertise-addr ${address} ${options}`);
  const token = await manager.exec('docker swarm join-token -q worker');
  await Promise.all(workers.map((worker) => worker.exec(`docker swarm join --token ${token} ${address}:2377`)));
}

/** Two web instances, a worker, and a release command. */
function manifest(release: string, worker = 'while :; do sleep 1; done'): string {
  const web = 'web: {instances: 2, health: {path: /, contains: o}}';
  const loop = JSON.stringify(`trap "exit 0" TERM; echo working; touch /tmp/up; ${worker}`);
  const health = '{command: "test -e /tmp/up", interval: 1s}';
  return `processes:\n  ${web}\n  worker: {command: ${loop}, health: ${health}}\nrelease: ${release}\nstop: 3s\n`;
}

function webHosts(found: Row[]): string[] {
  return found
    .filter(({ process, state, desired }) => process === 'web' && state === 'running' && desired)
    .map(({ host }) => host)
    .sort();
}
