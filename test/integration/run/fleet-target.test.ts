import assert from 'node:assert/strict';
import { after, before, beforeEach, test } from 'node:test';
import type { InstanceSpec } from '../../../src/domain/instance.ts';
import { FleetClient, type FleetOption } from '../../../src/run/fleet/fleet-client.ts';
import type { FleetAccess } from '../../../src/run/fleet/fleet-machines.ts';
import { FleetTarget, type FleetTargetOptions } from '../../../src/run/fleet/fleet-target.ts';
import { FleetApi } from '../../support/fleet-api.ts';
import { until } from '../../support/until.ts';
import { exampleSpec } from '../../unit/unit/example-spec.ts';
import { collect, quiet } from './engine.ts';

/** The double of fleet's API really runs units; what they run here needs no engine. */
let api: FleetApi;
let client: FleetClient;

before(async () => {
  api = await FleetApi.start();
  client = new FleetClient({ endpoint: api.endpoint });
});
beforeEach(async () => {
  for (const { name } of await client.units()) await client.removeUnit(name);
  await until('nothing is there', () => api.cluster.states.length === 0);
});
after(async () => {
  await client.close();
  await api[Symbol.asyncDispose]();
});

const section = (name: string, lines: Record<string, string>): FleetOption[] =>
  Object.entries(lines).map(([key, value]) => ({ section: name, name: key, value }));

function targetOf(change: Partial<FleetTargetOptions> = {}): FleetTarget {
  const { server = 's' } = change;
  const facts = ({ app, release, process, index, port }: InstanceSpec) =>
    section('X-Dinp', {
      ...{ Server: server, App: app, Release: `${release}`, Process: process, Index: `${index}` },
      ...(port && { HostPort: `${port.host}` }),
    });
  const words = (command: string[] | undefined) => (command ?? ['/bin/sleep', '1000']).join(' ');
  return new FleetTarget({
    client,
    server,
    renderer: {
      unit: (spec) => ({
        name: `${spec.name}.service`,
        options: [
          ...section('Service', { ExecStart: words(spec.command), Restart: 'always', RestartSec: '2' }),
          ...(spec.env.BEFORE ? section('Service', { ExecStartPre: spec.env.BEFORE }) : []),
          ...(spec.env.SEEN ? section('Service', { Environment: `SEEN=${spec.env.SEEN}` }) : []),
          ...facts(spec),
          ...section('X-Fleet', { Conflicts: spec.name.replace(/--\d+$/, '--*.service') }),
        ],
      }),
      once: (spec, { name, command }) => ({
        name: `${name}.service`,
        options: [
          ...section('Service', { ExecStart: words(command), Type: 'oneshot', RemainAfterExit: 'yes' }),
          ...facts(spec),
          ...section('X-Dinp', { OneOff: 'true' }),
        ],
      }),
      environmentFiles: ({ name, secrets }) =>
        Object.keys(secrets).length === 0 ? [] : [{ path: `/etc/dinp/${name}.env`, text: JSON.stringify(secrets) }],
    },
    access: () => undefined,
    environmentFolder: '/etc/dinp',
    configInUnits: false,
    scheduleMs: 500,
    ...change,
  });
}

const instance = (index: number, change: Partial<InstanceSpec> = {}) =>
  exampleSpec({ name: `dinp-blog--web--v3--${index}`, index, stopMs: 500, ...change });
const names = async (target: FleetTarget) =>
  (await target.list()).map(({ name, state, hostAddress }) => `${name} ${state} ${hostAddress}`);

test('instances are started, found where fleet put them, left as they are, restarted and removed', async () => {
  const target = targetOf();
  const lines: string[] = [];
  const options = { ...quiet, onProgress: (line: string) => void lines.push(line) };
  await target.start(instance(1), options);
  await target.start(instance(2), options);
  assert.deepEqual(lines, ['web.1 goes to machine 11111111 (127.0.0.1)', 'web.2 goes to machine 22222222 (127.0.0.2)']);
  assert.deepEqual(await names(target), [
    'dinp-blog--web--v3--1 running 127.0.0.1',
    'dinp-blog--web--v3--2 running 127.0.0.2',
  ]);
  assert.deepEqual(target.placeOf('dinp-blog--web--v3--2'), { address: '127.0.0.2' });
  assert.equal((await target.find('dinp-blog--web--v3--1'))?.hostPort, 20001);
  assert.equal(await target.find('dinp-blog--web--v3--9'), undefined);

  await target.start(instance(1), options);
  assert.equal(lines.length, 2);
  await target.restart([instance(1)]);
  await assert.rejects(target.restart([instance(9)]), { code: 'not-found' });
  assert.equal((await target.find('dinp-blog--web--v3--1'))?.state, 'running');

  // Another server of ours learns where they are when it asks.
  const fresh = targetOf();
  assert.equal(fresh.placeOf('dinp-blog--web--v3--1'), undefined);
  await fresh.place([instance(1)]);
  assert.deepEqual(fresh.placeOf('dinp-blog--web--v3--1'), { address: '127.0.0.1' });
  await fresh.remove([instance(1), instance(2), instance(9)]);
  assert.deepEqual(await names(target), []);
  assert.deepEqual(api.cluster.states, []);
});

test('one that cannot start fails and is removed; its last words are on its machine', async () => {
  const target = targetOf();
  await assert.rejects(target.start(instance(1, { env: { BEFORE: '/bin/false' } }), quiet), {
    code: 'start-failed',
    message: 'web.1 ended at once on machine 11111111 (127.0.0.1).',
    detail: /journalctl -u dinp-blog--web--v3--1/,
  });
  assert.equal(await target.find('dinp-blog--web--v3--1'), undefined);
  await target.start(instance(2, { command: ['/bin/sleep', '0.3'] }), quiet);
  await until('it waits', async () => (await target.find('dinp-blog--web--v3--2'))?.state === 'restarting');
});

test('where no machine is left, that is said with what the unit asks for, and nothing stays', async () => {
  const target = targetOf();
  await target.start(instance(1), quiet);
  await target.start(instance(2), quiet);
  await assert.rejects(target.start(instance(3), quiet), {
    message: 'fleet finds no machine for web.3. There are 2; the unit asks for:',
    detail: 'Conflicts=dinp-blog--web--v3--*.service',
    hint: /spread: false/,
  });
  assert.equal((await target.list()).length, 2);
});

test('what is to be canceled is taken back', async () => {
  const target = targetOf({ scheduleMs: 60_000 });
  await target.start(instance(1), quiet);
  await target.start(instance(2), quiet);
  const stop = new AbortController();
  const starting = target.start(instance(3), { ...quiet, signal: stop.signal });
  await until('it is wished for', () => api.cluster.units.size === 3);
  stop.abort();
  await assert.rejects(starting, { code: 'canceled' });
  assert.equal(api.cluster.units.size, 2);
});

test('units of others are not touched', async () => {
  await targetOf({ server: 'other' }).start(instance(1), quiet);
  await client.putUnit('dinp-blog--web--v3--2.service', section('Service', { ExecStart: '/bin/sleep 9' }), 'inactive');
  const target = targetOf();
  assert.deepEqual(await target.list(), []);
  await assert.rejects(target.start(instance(1), quiet), {
    code: 'refused',
    message: /belongs to the dinp server other/,
  });
  await assert.rejects(target.remove([instance(1)]), { code: 'refused' });
  await assert.rejects(target.remove([instance(2)]), { code: 'refused', message: /was not made by dinp/ });
  assert.equal(api.cluster.units.size, 2);
});

test('a list that is not whole is none', async () => {
  await using own = await FleetApi.start();
  const asked = new FleetClient({ endpoint: own.endpoint });
  const target = targetOf({ client: asked });
  await target.start(instance(1), quiet);
  await target.start(instance(2), quiet);
  own.cluster.freeze();
  // As somebody else's program might do; fleet then leaves the unit out.
  await asked.setState('dinp-blog--web--v3--1.service', 'bogus' as never);
  assert.equal((await asked.units()).length, 1);
  await assert.rejects(target.list(), { code: 'unavailable', message: /dinp-blog--web--v3--1\.service/ });
  await assert.rejects(target.start(instance(1), quiet), { code: 'unavailable' });
  own.cluster.machines = [];
  await assert.rejects(target.list(), { code: 'unavailable', message: /names no machine/ });
  await asked.close();
});

test('a command of its own: whether it went well, and a line that says where its output is', async () => {
  const target = targetOf();
  for (const [command, status] of [
    ['/bin/true', 0],
    ['/bin/false', 1],
  ] as const) {
    const { streams, stderr } = collect();
    assert.equal(await target.runOnce(instance(1), [command], streams), status);
    assert.match(stderr(), /^fleet passes no output on: journalctl -u dinp-blog--once-[0-9a-f]{8} on machine/);
  }
  const { streams } = collect({ stdin: (async function* () {})() });
  await assert.rejects(target.runOnce(instance(1), ['/bin/cat'], streams), { code: 'refused', hint: /dinp hosts add/ });
  assert.equal(api.cluster.units.size, 0);
});

test('what a server that died was running once is removed by the next', async () => {
  const once = section('X-Dinp', { Server: 's', App: 'blog', OneOff: 'true' });
  const run = section('Service', { ExecStart: '/bin/sleep 1000', Type: 'oneshot' });
  await client.putUnit('dinp-blog--once-1.service', [...run, ...once], 'launched');
  const target = targetOf();
  await target.start(instance(1), quiet);
  await target.removeLeftovers();
  assert.deepEqual([...api.cluster.units.keys()], ['dinp-blog--web--v3--1.service']);
});

test('config reaches files on every machine, or units where that is allowed, or nothing', async () => {
  const secret = instance(1, { secrets: { SEEN: 'hush' } });
  await assert.rejects(targetOf().start(secret, quiet), { code: 'refused', hint: /dinp hosts add .*configInUnits/s });
  assert.equal(api.cluster.units.size, 0);

  const files = new Map<string, string>();
  const access = (address: string): FleetAccess => ({
    host: {
      putFile: async (path: string, text: string, mode: number) =>
        void files.set(`${address}${path}`, `${mode} ${text}`),
      run: async (argv: string[]) => {
        for (const path of argv) files.delete(`${address}${path}`);
        return { code: 0, stdout: '', stderr: '' };
      },
    } as never,
    units: { find: async () => undefined } as never,
  });
  const target = targetOf({ access });
  await target.start(secret, quiet);
  assert.deepEqual(
    [...files],
    ['127.0.0.1', '127.0.0.2'].map((address) => [`${address}/etc/dinp/${secret.name}.env`, '384 {"SEEN":"hush"}']),
  );
  assert.ok(!JSON.stringify(await client.units()).includes('hush'));
  await target.remove([secret]);
  assert.equal(files.size, 0);

  await targetOf({ configInUnits: true }).start(secret, quiet);
  assert.ok(JSON.stringify(await client.units()).includes('SEEN=hush'));
});

test('what fleet could not do is refused before anything is made', async () => {
  const target = targetOf();
  const volume = instance(1, { volumes: { 'dinp-blog--data': '/data' } });
  await assert.rejects(target.start(volume, quiet), { code: 'refused', hint: /MachineID/ });
  const health = instance(1, { health: { ...instance(1).health, kind: 'command', command: 'true' } });
  await assert.rejects(target.start(health, quiet), { code: 'refused', message: /health check by command/ });
  await target.start(instance(1), quiet);
  await assert.rejects(target.exec('dinp-blog--web--v3--1', ['true'], collect().streams), { code: 'refused' });
  const lines: string[] = [];
  const options = { tail: 5, follow: false, signal: quiet.signal };
  for await (const { text } of target.logs(['dinp-blog--web--v3--1'], options)) lines.push(text);
  assert.deepEqual(lines, [
    "(fleet's API has no logs. They are in the journal of machine 11111111 (127.0.0.1): journalctl -u dinp-blog--web--v3--1)",
  ]);
});

test('where fleet is away for a while, what was begun goes on', async () => {
  const target = targetOf({ scheduleMs: 60_000 });
  const starting = target.start(instance(1), quiet);
  await until('it is wished for', () => api.cluster.units.size === 1);
  api.isDown = true;
  await assert.rejects(targetOf().list(), { code: 'unavailable' });
  api.isDown = false;
  await starting;
  assert.equal((await target.find('dinp-blog--web--v3--1'))?.state, 'running');
});
