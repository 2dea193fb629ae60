import assert from 'node:assert/strict';
import { after, before, beforeEach, test } from 'node:test';
import { listOneshots, removeOneshot, runOneshot } from '../../src/run/systemd/oneshot-unit.ts';
import { startServer, type TestServer } from '../support/dinp-server.ts';
import { type Gate, makeGate } from '../support/gate.ts';
import type { GitClient } from '../support/git-client.ts';
import { SystemdMachine } from '../support/systemd-host.ts';

/** A server that has no engine at all, and a host that systemd runs, which builds and runs what is pushed. */
let server: TestServer;
let machine: SystemdMachine;
let gate: Gate;
let client: GitClient;

before(async () => {
  const docker = { socket: '/nonexistent/docker.sock' };
  [server, machine] = await Promise.all([
    startServer({ config: { target: 'hosts', docker, builds: { on: 'hosts' } } }),
    SystemdMachine.boot(),
  ]);
  gate = await makeGate(await machine.gateway());
  await machine.authorize(await server.dinpOk('hosts', 'key'));
  await server.dinpOk('hosts', 'add', 'h1', `ssh://root@${await machine.address()}`);
  client = await server.client();
});
after(async () => {
  await server?.[Symbol.asyncDispose]();
  await machine?.[Symbol.asyncDispose]();
  await gate?.[Symbol.asyncDispose]();
});
beforeEach(() => gate.shut());

/** What builds have on the host: units, folders, contexts, and the image under the name that it is pushed by. */
async function left(): Promise<string> {
  return await machine.exec(`ls -d /run/systemd/system/dinp-build-* /run/dinp-build/* 2>/dev/null
    systemctl list-units --all --plain --no-legend 'dinp-build-*'
    find /var/tmp -name context.tar
    docker image ls --format '{{.Repository}}:{{.Tag}}' | grep ':${client.commits.at(-1)}'; :`);
}

/** Commits an app whose build waits at the gate, and pushes it until it does. */
async function pushToGate(page: string, ...more: string[]) {
  await client.commit(server.quickApp(page, ...more, `RUN ${gate.wait}`));
  const push = client.startPush();
  await gate.reached(push);
  return push;
}

test('a push builds on the host, its lines come as they are printed, and what it made runs', async () => {
  await client.commit({ '.dockerignore': 'hidden.txt\n', 'hidden.txt': 'hidden from the image' });
  const push = await pushToGate('hello', 'RUN echo "before the gate"', 'COPY . /all', 'RUN ls -A /all');
  assert.match(push.output(), /On the build host h1\n/);
  assert.match(push.output(), /\[3\/\d\] RUN echo "before the gate"\n +before the gate\n/);
  assert.doesNotMatch(push.output(), / hidden\.txt\n/);

  const unit = await machine.exec('cat /run/systemd/system/dinp-build-*.service');
  const [folder] = /\/run\/dinp-build\/dinp-build-[0-9a-f-]+/.exec(unit)!;
  assert.match(unit, /^Type=oneshot$/m);
  // The token went as soon as the commit was there.
  assert.equal(
    await machine.exec(`stat -c '%a %U' ${folder} ${folder}/*; ls ${folder}`),
    '700 root\n600 root\nconfig.json',
  );

  gate.open();
  const { status, output } = client.pushed(await push.ended);
  assert.equal(status, 0, output);
  assert.match(output, /Pushing to 127\.0\.0\.1:PORT\/shop\n/);
  assert.match(output, /Released v1/);
  assert.equal((await server.curl(client.app)).body, 'hello\n');
  assert.equal(await left(), '');
  const ports = `ss -ltnH 'src 127.0.0.1' | awk '{sub(/.*:/, "", $4); print $4}'`;
  const asked = `for port in $(${ports}); do curl -s -o /dev/null -w '%{http_code}\\n' "127.0.0.1:$port/contexts/${client.app}/${client.commits.at(-1)}.tar"; done`;
  assert.match(await machine.exec(asked), /^401$/m, 'the door is shut without a token');
});

test('the same content is not built again', async () => {
  // Whoever builds all the same shall not wait.
  gate.open();
  const { status, output } = await client.push('master:refs/deploy/now');
  assert.equal(status, 0, output);
  assert.match(output, /Unchanged, reusing/);
  assert.doesNotMatch(output, /\[1\/6\]/);
});

test('a build that fails says where, with its last lines, and leaves nothing', async () => {
  // From here on only unit files are made: to start instances takes longer than to build.
  await client.commit({
    'dinp.yml': 'target: emit\n',
    ...server.quickApp('broken', 'RUN echo "cannot find it"; exit 3'),
  });
  const { status, output } = await client.push();
  assert.equal(status, 1);
  assert.match(output, /RUN echo "cannot find it"; exit 3 ended with exit status 3\.\n\n +cannot find it\n/);
  assert.equal(await left(), '');
});

test('a host that lacks what builds need is not given one, and the push says so', async () => {
  await machine.exec('mv /usr/bin/curl /usr/bin/curl.away');
  await client.commit(server.quickApp('no curl'));
  const { status, output } = await client.push();
  await machine.exec('mv /usr/bin/curl.away /usr/bin/curl');
  assert.equal(status, 1);
  assert.match(output, /no build host can be used\.\n\n +h1 has no curl to fetch commits with/);
});

test('a build is canceled on the host', async () => {
  const push = await pushToGate('canceled');
  await server.dinpOk('builds', 'cancel', client.app);
  await gate.left();
  assert.equal((await push.ended).status, 1);
  assert.equal(await left(), '');
});

test('a build goes on where the connection to the host is lost', async () => {
  const push = await pushToGate('cut');
  await machine.exec('systemctl stop ssh; pkill -x sshd; systemctl start ssh');
  gate.open();
  const { status, output } = client.pushed(await push.ended);
  assert.equal(status, 0, output);
  assert.equal(await left(), '');
});

test('a unit ends by itself at its time limit, and says which command that was', async () => {
  const text = (command: string) =>
    `[Service]\nType=oneshot\nRemainAfterExit=yes\nTimeoutStartSec=1\nKillSignal=SIGKILL\nExecStart=/bin/echo begun\nExecStart=${command}\n`;
  const lines: string[] = [];
  const options = { onLine: (line: string) => void lines.push(line), signal: AbortSignal.timeout(30_000) };
  const run = (name: string, command: string) =>
    runOneshot(machine.host, { name: `${name}.service`, text: text(command) }, options);
  assert.deepEqual(await run('t-late', '/bin/sleep 60'), { result: 'timeout', command: 1, how: 'signal 9/KILL' });
  assert.deepEqual(await run('t-bad', '/bin/sh -c "echo bad >&2; exit 9"'), {
    ...{ result: 'exit-code', command: 1, how: 'exit status 9' },
  });
  assert.equal((await run('t-good', '/bin/true')).result, 'success');
  assert.deepEqual(lines, ['begun', 'begun', 'bad', 'begun']);
  for (const name of ['t-late', 't-bad', 't-good']) await removeOneshot(machine.host, name);
  assert.deepEqual(await listOneshots(machine.host, 't-', '/run/dinp-build'), []);
});

test('what a server left that was killed in the middle ends at its next start, and its build starts over', async () => {
  const push = await pushToGate('again');
  const unit = await machine.exec('ls /run/systemd/system | grep dinp-build');
  await server.kill();
  await push.ended;
  await server.start();
  await gate.reached();
  assert.notEqual(await machine.exec('ls /run/systemd/system | grep dinp-build'), unit);
  gate.open();
  const { status, output } = await client.push();
  assert.equal(status, 0, output);
  assert.equal(await left(), '');
});
