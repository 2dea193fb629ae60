import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { BareMachine } from '../support/bare-machine.ts';

/** What quickstart and the pushes print, without colours. */
const plain = (text: string) => text.replace(/\x1b\[[0-9;]*m/g, '');
const EXAMPLE = "busybox wget -qO- --header 'Host: hello.localhost' http://127.0.0.1:8080/";

let machine: BareMachine;

before(async () => {
  machine = await BareMachine.start();
  await machine.copyCheckout('/root/dinp');
});
after(() => machine?.[Symbol.asyncDispose]());

async function quickstart(args = '', environment = ''): Promise<{ code: number; output: string }> {
  const { code, output } = await machine.run(`cd /root/dinp && ${environment} ./scripts/quickstart ${args}`);
  return { code, output: plain(output) };
}

test('quickstart, on a Debian machine that has nothing', async (t) => {
  await t.test('an ordinary user is told exactly what to install', async () => {
    await machine.exec('useradd -m visitor && cp -r /root/dinp /home/visitor/ && chown -R visitor /home/visitor/dinp');
    const { code, output } = await machine.run('su visitor -c "cd ~/dinp && ./scripts/quickstart"');
    assert.equal(code, 1);
    assert.match(output, /npm is missing \(node: none\)/);
    assert.match(output, /install Node 24\.7 or later together with npm/);
    assert.match(output, /on Debian as root: apt-get install npm/);
  });

  await t.test('root types one command and the example app answers', async () => {
    const { code, output } = await quickstart();
    assert.equal(code, 0, output);
    for (const line of [
      'node +ok',
      'engine +started',
      'registry +started',
      'router +started',
      'config +wrote',
      'server +started',
    ]) {
      assert.match(output, new RegExp(`^  ${line} `, 'm'));
    }
    assert.match(output, /packages +ok +npm packages, native SSH crypto/);
    assert.match(output, /-----> Released v1 {2}http:\/\/hello\.localhost:8080/);
    assert.match(output, /git remote add dinp ssh:\/\/dinp@127\.0\.0\.1:2222\/my-app/);
    assert.match(output, /Stop +\.\/scripts\/quickstart stop/);
    assert.match(await machine.exec(EXAMPLE), /It runs\./);
    const listening = await machine.exec('cat /proc/net/tcp /proc/net/tcp6 | awk \'$4 == "0A" { print $2 }\'');
    assert.doesNotMatch(listening, /:0050$/m, "Debian's own Caddy was started on port 80");
  });

  await t.test('again is harmless: everything is used as it is, nothing is released twice', async () => {
    const pid = await machine.exec('cut -d" " -f1 /root/dinp/.dinp/run/server.pid');
    const { code, output } = await quickstart();
    assert.equal(code, 0, output);
    assert.doesNotMatch(output, / started /);
    assert.match(output, /is live as v1/);
    assert.equal(await machine.exec('cut -d" " -f1 /root/dinp/.dinp/run/server.pid'), pid);
  });

  await t.test('with the ssh config block, plain git push works from any repository', async () => {
    assert.doesNotMatch((await machine.run('cat ~/.ssh/config')).output, /dinp/, 'written without being asked');
    const { code, output } = await quickstart('--write-ssh-config');
    assert.equal(code, 0, output);
    const pushed = await machine.exec(`
      mkdir /tmp/mine && cd /tmp/mine && git init -q -b main . && echo '<h1>mine</h1>' > index.html
      git add . && git -c user.name=me -c user.email=me@example.com commit -qm one
      git remote add dinp ssh://dinp@127.0.0.1:2222/mine && git push dinp main`);
    assert.match(plain(pushed), /Released v1 {2}http:\/\/mine\.localhost:8080/);
    assert.match(await machine.exec(EXAMPLE.replace('hello', 'mine')), /<h1>mine<\/h1>/);
  });

  await t.test('stop ends what it started, and nothing else', async () => {
    const stranger = await machine.exec('sleep 1000 >/dev/null 2>&1 & echo $!');
    const { code, output } = await quickstart('stop');
    assert.equal(code, 0, output);
    for (const name of ['server', 'caddy', 'registry', 'dockerd'])
      assert.match(output, new RegExp(`^  ${name} +stopped`, 'm'));
    await machine.exec(`kill -0 ${stranger}`);
    assert.match((await quickstart('stop')).output, /Nothing that quickstart started is running/);
    assert.equal((await quickstart('status')).code, 1);
  });

  await t.test('started again, what was deployed is there as it was', async () => {
    const { code, output } = await quickstart();
    assert.equal(code, 0, output);
    assert.match(output, /is live as v1/);
    assert.match(await machine.exec(EXAMPLE.replace('hello', 'mine')), /<h1>mine<\/h1>/);
  });

  await t.test(
    'an engine and a registry that answer are used, and outlive stop; taken ports are passed over',
    async () => {
      await machine.exec('cd /root/dinp && docker rm -f $(docker ps -aq) && ./scripts/quickstart stop');
      await machine.exec(`
      (dockerd >/tmp/dockerd.log 2>&1 & docker-registry serve /root/dinp/.dinp/registry.yml >/tmp/registry.log 2>&1 &)
      for n in $(seq 100); do docker info >/dev/null 2>&1 && break; sleep 0.2; done; docker info >/dev/null
      busybox httpd -p 8080 -h /tmp; busybox nc -l -p 2222 </dev/null >/dev/null 2>&1 & sleep 0.5`);
      const { code, output } = await quickstart('', 'DINP_STATE=/root/other');
      assert.equal(code, 0, output);
      assert.match(output, /engine +using/);
      assert.match(output, /registry +using/);
      assert.match(output, /router +started/);
      assert.match(output, /SSH on 127\.0\.0\.1:2223/);
      assert.match(output, /Released v1 {2}http:\/\/hello\.localhost:8081/);
      const stopped = await quickstart('stop', 'DINP_STATE=/root/other');
      assert.doesNotMatch(stopped.output, /dockerd|registry/);
      await machine.exec('docker info >/dev/null && busybox wget -qO- http://127.0.0.1:5000/v2/');
    },
  );
});
