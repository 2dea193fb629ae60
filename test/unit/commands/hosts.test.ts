import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { deployer, Terminal } from './terminal.ts';

function withHost(context: TestContext): Terminal {
  const terminal = new Terminal(context);
  terminal.store.hosts.add({
    name: 'web1',
    ssh: { user: 'root', host: '10.0.0.7', port: 2222 },
    hostKey: { type: 'ssh-ed25519', fingerprint: 'SHA256:abc' },
    address: '10.0.0.7',
    labels: { zone: 'a' },
    docker: '/usr/bin/docker',
    registryPort: 5000,
  });
  return terminal;
}

test('hosts are listed and shown, with the host key that is pinned', async (context) => {
  const terminal = withHost(context);
  const { stdout } = await terminal.type('hosts list');
  assert.match(
    stdout,
    /^NAME +SSH +ADDRESS +LABELS +STATE +ADDED\nweb1 +ssh:\/\/root@10\.0\.0\.7:2222 +10\.0\.0\.7 +zone=a +in use/,
  );
  const shown = JSON.parse((await terminal.type('hosts show web1 --json')).stdout) as { createdAt: string };
  assert.deepEqual(
    { ...shown, createdAt: undefined },
    {
      ...{ name: 'web1', ssh: 'ssh://root@10.0.0.7:2222', address: '10.0.0.7', hostKey: 'SHA256:abc' },
      ...{ labels: { zone: 'a' }, drained: false, createdAt: undefined },
    },
  );
  assert.equal((await terminal.type('hosts key')).stdout, 'ssh-ed25519 AAAA dinp\n');
});

test('without hosts there is a line to type', async (context) => {
  const { stdout } = await new Terminal(context).type('hosts list');
  assert.match(stdout, /dinp hosts add NAME ssh:\/\/root@ADDRESS/);
});

test('what cannot be meant is refused before anything is asked of the network', async (context) => {
  const terminal = withHost(context);
  for (const [line, message] of [
    ['hosts add Web ssh://root@10.0.0.8', /"Web" cannot be a host's name/],
    ['hosts add web2 http://10.0.0.8', /is no address of a host/],
    ['hosts add web2 ssh://root@10.0.0.8:99999', /is no address of a host/],
    ['hosts add web2 ssh://-oProxyCommand=x', /is no address of a host/],
    ['hosts add web2 ssh://root@10.0.0.8 --label zone', /"zone" is no label/],
    ['hosts add web1 ssh://root@10.0.0.8', /there is a host web1 already/],
    ['hosts add web2 ssh://root@10.0.0.7:2222', /10\.0\.0\.7 is the host web1 already/],
    ['hosts show web2', /there is no host web2\.[\s\S]*Did you mean web1\?/],
  ] as const) {
    const { status, stderr } = await terminal.type(line);
    assert.notEqual(status, 0, line);
    assert.match(stderr, message, line);
  }
});

test('only admins see and change hosts', async (context) => {
  const { status, stderr } = await withHost(context).type('hosts list', { as: deployer('bob', 'blog') });
  assert.notEqual(status, 0);
  assert.match(stderr, /only admins may do that/);
});

test('a host that was removed is gone', async (context) => {
  const terminal = withHost(context);
  assert.equal((await terminal.type('hosts remove web1')).stdout, 'Removed web1.\n');
  assert.deepEqual(terminal.store.hosts.list(), []);
});

test('a host that has instances is removed only by force, and its apps get others', async (context) => {
  const terminal = withHost(context);
  const [host] = terminal.store.hosts.list();
  const place = { instance: 'dinp-blog--web--v1--1', app: 'blog', release: 1, process: 'web', index: 1 };
  terminal.store.placements.put({ ...place, hostId: host!.id });
  const { status, stderr } = await terminal.type('hosts remove web1');
  assert.equal(status, 1);
  assert.match(stderr, /web1 has instances of blog\.[\s\S]*dinp hosts drain web1\n.*dinp hosts remove web1 --force/);
  assert.equal((await terminal.type('hosts remove web1 --force')).status, 0);
  assert.deepEqual(terminal.lost, ['blog']);
  assert.equal(terminal.store.placements.find(place.instance), undefined);
});
