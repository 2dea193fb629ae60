import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { startServer, type TestServer } from '../support/dinp-server.ts';
import { FleetApi } from '../support/fleet-api.ts';
import type { GitClient } from '../support/git-client.ts';
import { until } from '../support/until.ts';

/** A double of fleet's API whose two machines are this one: its units run `docker run` here. */
let fleet: FleetApi;
let server: TestServer;
let me: GitClient;

before(async () => {
  fleet = await FleetApi.start();
  server = await startServer({ config: { target: 'fleet', fleet: { endpoint: fleet.endpoint } } });
  me = await server.client();
});
after(async () => {
  await server?.[Symbol.asyncDispose]();
  await fleet?.[Symbol.asyncDispose]();
});

const units = () => [...fleet.cluster.units.keys()].map((name) => name.replace(me.app, 'shop')).sort();

test('a push runs on a machine that fleet chose, and answers', async () => {
  await me.commit({ ...server.quickApp('one'), 'dinp.yml': 'instances: 2\nstop: 1s\n' });
  const { status, output } = await me.push();
  assert.equal(status, 0, output);
  assert.match(output, /web\.1 goes to machine 11111111 \(127\.0\.0\.1\)/);
  assert.match(output, /web\.2 goes to machine 22222222 \(127\.0\.0\.2\)/);
  assert.deepEqual(units(), ['dinp-shop--web--v1--1.service', 'dinp-shop--web--v1--2.service']);
  assert.equal((await server.curl(me.app)).body, 'one\n');
});

test('the next release starts beside it and takes its place', async () => {
  await me.commit({ 'index.html': 'two\n' });
  const { status, output } = await me.push();
  assert.equal(status, 0, output);
  assert.deepEqual(units(), ['dinp-shop--web--v2--1.service', 'dinp-shop--web--v2--2.service']);
  assert.equal((await server.curl(me.app)).body, 'two\n');
});

test('config is not put where others read it, and the release before goes on', async () => {
  const { status, output } = await server.dinp('config', 'set', me.app, 'TOKEN=hush');
  assert.equal(status, 1, output);
  assert.match(output, /has config, and 127\.0\.0\.1, 127\.0\.0\.2 of fleet cannot be given it unseen/);
  assert.deepEqual(units(), ['dinp-shop--web--v2--1.service', 'dinp-shop--web--v2--2.service']);
  assert.ok(!JSON.stringify([...fleet.cluster.units.values()]).includes('hush'));
  await server.dinpOk('config', 'unset', me.app, 'TOKEN');
});

test('a lost machine: fleet starts its instance elsewhere, and the address follows', async () => {
  await me.commit({ 'dinp.yml': 'instances: 1\nstop: 1s\nfleet: {MachineMetadata: disk=ssd}\n' });
  const { status, output } = await me.push();
  assert.equal(status, 0, output);
  const [unit] = fleet.cluster.units.values();
  const before = fleet.cluster.machines.find(({ id }) => id === unit!.machineID)!;
  await fleet.cluster.lose(before.id);
  await until('it runs again', () => fleet.cluster.states.some(({ systemdActiveState: is }) => is === 'active'));
  // As after any outage: at its start the server brings addresses in line with what runs.
  await server.stop();
  await server.start();
  await until('it answers', async () => (await server.curl(me.app)).body === 'two\n');
  const other = before.primaryIP === '127.0.0.1' ? '127.0.0.2' : '127.0.0.1';
  assert.match(
    (await me.push()).output,
    new RegExp(`is live as v\\d+ .*\\nweb\\.1 at ${other.replaceAll('.', '\\.')}:\\d+`),
  );
  const ps = JSON.parse((await server.dinpOk('ps', me.app, '--json')) || '[]') as { state: string; host: string }[];
  assert.deepEqual(
    ps.map(({ state, host }) => `${state} ${host}`),
    [`running ${other.at(-1)!.repeat(8)}`],
  );
});

test('while fleet does not answer nothing is taken for gone', async () => {
  fleet.isDown = true;
  const { status, output } = await server.dinp('ps', me.app);
  assert.equal(status, 1);
  assert.match(output, /fleet server unable to communicate with etcd/);
  assert.equal((await server.curl(me.app)).body, 'two\n');
  fleet.isDown = false;
});

test('a removed app leaves nothing in fleet', async () => {
  await server.dinpOk('apps', 'destroy', me.app, '--confirm', me.app);
  assert.deepEqual(units(), []);
});
