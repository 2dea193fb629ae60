import assert from 'node:assert/strict';
import { basename, join } from 'node:path';
import { after, before, beforeEach, test } from 'node:test';
import { Hosts } from '../../../src/deploy/hosts/hosts.ts';
import { HostsTarget } from '../../../src/deploy/hosts/hosts-target.ts';
import { DinpError } from '../../../src/domain/errors.ts';
import type { InstanceSpec, RunningInstance } from '../../../src/domain/instance.ts';
import type { RunHost } from '../../../src/domain/run-host.ts';
import type { Host } from '../../../src/run/host.ts';
import { HostLink } from '../../../src/run/ssh/host-link.ts';
import type { Target } from '../../../src/run/target.ts';
import { openDatabase } from '../../../src/store/database.ts';
import { Store } from '../../../src/store/store.ts';
import { TestSshd } from '../../support/sshd.ts';
import { tempFolder } from '../../support/temp-folder.ts';
import { exampleSpec } from '../../unit/unit/example-spec.ts';

/** Two hosts that are reached by real SSH; an instance there is a file in a folder of the host's own. */
let sshds: [TestSshd, TestSshd];
let folder: string;
let store: Store;
let hosts: Hosts;
let target: HostsTarget;
const never = new AbortController().signal;
const quiet = { onProgress: () => undefined, signal: never };

before(async () => {
  sshds = [await TestSshd.start(), await TestSshd.start()];
});
after(async () => {
  hosts?.close();
  for (const sshd of sshds ?? []) await sshd[Symbol.asyncDispose]();
});

beforeEach(async () => {
  hosts?.close();
  folder = tempFolder();
  store = new Store(openDatabase(join(folder, 'dinp.db')));
  const registryPort = 5000;
  sshds.forEach((sshd, i) => {
    const { address: ssh, hostKey } = sshd.login();
    const more = { labels: { zone: 'ab'[i]! }, docker: '/usr/bin/docker', registryPort };
    store.hosts.add({ name: `h${i + 1}`, ssh, hostKey, address: `10.0.0.${i + 1}`, ...more });
  });
  const unused = () => {
    throw new Error('not asked for here');
  };
  hosts = new Hosts({
    store,
    link: (known, onOpen) => {
      const { privateKey } = sshds[known.name === 'h1' ? 0 : 1];
      return new HostLink(known, { privateKey, server: 't', registry: undefined, onOpen });
    },
    registry: { push: '127.0.0.1:5000', pull: undefined },
    onAnswer: () => undefined,
    onLost: () => undefined,
    ...{ publicKey: unused, askHostKey: unused, pushCheckImage: unused, removeCheckImage: unused },
  });
  target = new HostsTarget({
    hosts,
    placements: store.placements,
    portOf: () => 22_000,
    systemd: (host, machine) => folderTarget(host, machine),
  });
});

function folderTarget(host: RunHost, machine: Host): Target {
  const at = (name: string) => join(folder, host.name, name);
  const part: Partial<Target> = {
    start: async (spec) => {
      await machine.putFile(at(spec.name), JSON.stringify(spec), 0o600);
    },
    remove: async (instances) => {
      for (const { name } of instances) await machine.removeFile(at(name));
    },
    list: async (app) => {
      const { stdout } = await machine.run(['sh', '-c', 'cat "$0"/* 2>/dev/null || true', at('')]);
      const specs = stdout === '' ? [] : (JSON.parse(`[${stdout.replaceAll('}{', '},{')}]`) as InstanceSpec[]);
      return specs.filter((spec) => app === undefined || spec.app === app).map(running);
    },
    async *logs(instances) {
      await machine.run(['true']);
      for (const instance of instances) yield { instance, time: Number(instance.at(-1)), text: `from ${host.name}` };
    },
  };
  return part as Target;
}

function running({ name, app, release, process, index, port }: InstanceSpec): RunningInstance {
  const state = { state: 'running' as const, exitCode: undefined, healthy: undefined, startedAt: 1, restarts: 0 };
  return { ...state, name, app, release, process, index, hostPort: port?.host };
}

function web(index: number, change: Partial<InstanceSpec> = {}): InstanceSpec {
  return exampleSpec({ name: `dinp-blog--web--v3--${index}`, index, memoryBytes: 1, ...change });
}

async function place(specs: InstanceSpec[], moving = false): Promise<string[]> {
  const said: string[] = [];
  await target.place(specs, { moving, onProgress: (line) => said.push(line) });
  return said;
}

/** Names of the hosts of instances, in their order. */
function places(...specs: InstanceSpec[]): (string | undefined)[] {
  return specs.map(({ name }) => target.placeOf(name)?.host);
}

async function listed(): Promise<string[]> {
  const all = await target.list('blog');
  return all.map(({ name, host, state }) => `${basename(name).at(-1)} ${host} ${state}`).sort();
}

test('instances are spread, stay where they are, and are told with the address of their host', async () => {
  const specs = [web(1), web(2)];
  assert.deepEqual(await place(specs), []);
  const first = places(...specs);
  assert.deepEqual([...first].sort(), ['h1', 'h2']);
  await place(specs, true);
  assert.deepEqual(places(...specs), first);
  for (const spec of specs) await target.start(spec, quiet);
  const all = await target.list('blog');
  assert.deepEqual(all.map(({ host, hostAddress }) => `${host} ${hostAddress}`).sort(), ['h1 10.0.0.1', 'h2 10.0.0.2']);
  const logs = await Array.fromAsync(
    target.logs(
      specs.map(({ name }) => name),
      { tail: 5, follow: false, signal: never },
    ),
  );
  assert.deepEqual(
    logs.map(({ text }) => text),
    first.map((host) => `from ${host}`),
  );
});

test('ports that somebody has on the host are told for instances that were given it now', async () => {
  const options = { moving: false, onProgress: () => undefined };
  const ports = (await target.place([web(1)], options)).get(web(1).name)!;
  for (const sshd of sshds) assert.ok(ports.has(sshd.port));
  assert.equal((await target.place([web(1)], options)).size, 0);
});

test('wishes of dinp.yml and drains count; without any host left it says so', async () => {
  await place([web(1, { hosts: ['zone=b'] }), web(2, { hosts: ['zone=b'] })]);
  assert.deepEqual(places(web(1), web(2)), ['h2', 'h2']);
  store.hosts.setDrained(hosts.get('h2').id, true);
  await assert.rejects(place([web(3, { hosts: ['h2'] })]), /there is no host of h2 that blog could run on/);
  await place([web(3)]);
  assert.deepEqual(places(web(3)), ['h1']);
  // Where it may not go elsewhere it stays; where it may, it moves, and what it left is remembered.
  await place([web(1, { hosts: ['zone=b'] })], true);
  assert.deepEqual(places(web(1)), ['h2']);
  await place([web(1)], true);
  assert.deepEqual(places(web(1)), ['h1']);
  assert.equal(store.placements.ofInstance(web(1).name).length, 2);
});

test('an instance stays with the data of its volume', async () => {
  const volumes = { 'dinp-blog--data': '/data' };
  await place([web(1, { volumes })]);
  const [home] = places(web(1));
  await place([web(2, { volumes }), web(3, { volumes })]);
  assert.deepEqual(places(web(2), web(3)), [home, home]);
  store.hosts.setDrained(hosts.get(home!).id, true);
  await place([web(1, { volumes })], true);
  assert.deepEqual(places(web(1)), [home]);
});

test('a move that came to nothing is undone', async () => {
  await place([web(1, { hosts: ['h1'] })]);
  await target.start(web(1), quiet);
  store.hosts.setDrained(hosts.get('h1').id, true);
  await place([web(1)], true);
  await target.start(web(1), quiet);
  assert.deepEqual(await listed(), ['1 h1 running', '1 h2 running']);
  await target.moveBack([web(1)]);
  assert.deepEqual(places(web(1)), ['h1']);
  assert.deepEqual(await listed(), ['1 h1 running']);
  await target.moveBack([web(1)]);
  assert.deepEqual(await listed(), ['1 h1 running']);
});

test('a host that does not answer gets nothing, is never taken for empty, and loses later what it should not have', async () => {
  const [first] = sshds;
  await place([web(1, { hosts: ['h1'] }), web(2, { hosts: ['h1'] })]);
  for (const spec of [web(1), web(2)]) await target.start(spec, quiet);
  await first.stop();
  try {
    assert.match((await place([web(3), web(4)])).join(), /^h1 cannot be reached .*\. Other hosts take its part\.$/);
    assert.deepEqual(places(web(3), web(4)), ['h2', 'h2']);
    assert.deepEqual(await listed(), ['1 h1 unreachable', '2 h1 unreachable']);
    await place([web(1)], true);
    await target.start(web(1), quiet);
    assert.deepEqual(await listed(), ['1 h1 unreachable', '1 h2 running', '2 h1 unreachable']);
    await target.remove([{ name: web(1).name, stopMs: 1, host: 'h1' }]);
    assert.deepEqual(await listed(), ['1 h2 running', '2 h1 unreachable']);
    const lines = await Array.fromAsync(target.logs([web(2).name], { tail: 1, follow: false, signal: never }));
    assert.match(lines[0]!.text, /the lines of h1 are missing: h1 cannot be reached/);
    await assert.rejects(target.place([web(9, { hosts: ['h1'] })], { moving: false, ...quiet }), (error: DinpError) => {
      assert.ok(error instanceof DinpError);
      assert.equal(error.message, 'no host of h1 answers that blog could run on.');
      return true;
    });
  } finally {
    await first.start();
  }
  hosts.link(hosts.get('h1')).hurry(0);
  assert.deepEqual(await listed(), ['1 h2 running', '2 h1 running']);
});

test('where no host answers, nobody says that nothing runs', async () => {
  await place([web(1)]);
  for (const sshd of sshds) await sshd.stop();
  try {
    await assert.rejects(target.list(), { code: 'unavailable' });
    await place([web(1)], true);
    assert.notEqual(target.placeOf(web(1).name), undefined);
  } finally {
    for (const sshd of sshds) await sshd.start();
  }
});
