import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { FleetMachine, FleetUnit } from '../../../../src/run/fleet/fleet-client.ts';
import { factsOf, fleetInstance } from '../../../../src/run/fleet/fleet-state.ts';

const MACHINES: FleetMachine[] = ['1', '2'].map((digit) => ({
  id: digit.repeat(32),
  primaryIP: `10.0.0.${digit}`,
  metadata: {},
}));
const [FIRST, SECOND] = MACHINES as [FleetMachine, FleetMachine];
const SAID = { Server: 's', App: 'blog', Release: '3', Process: 'web', Index: '2', HostPort: '22001' };
const unit: FleetUnit = {
  name: 'dinp-blog--web--v3--2.service',
  options: Object.entries(SAID).map(([name, value]) => ({ section: 'X-Dinp', name, value })),
  desiredState: 'launched',
  currentState: 'launched',
  machineID: FIRST.id,
};
const facts = factsOf(unit)!;
const state = (machineID: string, active: string, sub = '') => ({
  ...{ name: unit.name, machineID, systemdLoadState: 'loaded', systemdActiveState: active, systemdSubState: sub },
});
const seen = (change: Partial<FleetUnit>, ...states: ReturnType<typeof state>[]) => {
  const { state: is, hostAddress } = fleetInstance({ ...unit, ...change }, facts, states, MACHINES);
  return `${is} ${hostAddress}`;
};

test('a unit says itself whose instance it is', () => {
  assert.deepEqual(facts, {
    ...{ name: 'dinp-blog--web--v3--2', server: 's', app: 'blog', release: 3, process: 'web', index: 2 },
    ...{ hostPort: 22001, oneOff: false },
  });
  assert.equal(factsOf({ ...unit, options: [{ section: 'Service', name: 'App', value: 'x' }] }), undefined);
});

test('states of systemd, as fleet tells them', () => {
  assert.equal(seen({}, state(FIRST.id, 'active', 'running')), 'running 10.0.0.1');
  assert.equal(seen({}, state(FIRST.id, 'activating', 'start-pre')), 'starting 10.0.0.1');
  assert.equal(seen({}, state(FIRST.id, 'activating', 'auto-restart')), 'restarting 10.0.0.1');
  assert.equal(seen({}, state(FIRST.id, 'failed', 'failed')), 'exited 10.0.0.1');
  assert.equal(seen({}, state(FIRST.id, 'inactive', 'dead')), 'exited 10.0.0.1');
});

test('a unit that fleet moves is not where it was, whatever that machine said last', () => {
  assert.equal(seen({ machineID: SECOND.id }, state(FIRST.id, 'active')), 'starting 10.0.0.2');
  assert.equal(seen({ machineID: '9'.repeat(32) }, state('9'.repeat(32), 'active')), 'unreachable undefined');
});

test('of a unit on every machine, what fails is told', () => {
  const everywhere = { machineID: undefined as never, currentState: undefined as never };
  const both = [state(FIRST.id, 'active'), state(SECOND.id, 'failed')];
  assert.equal(seen(everywhere, ...both), 'exited 10.0.0.1');
  assert.equal(seen(everywhere, state(FIRST.id, 'active'), state(SECOND.id, 'active')), 'running 10.0.0.1');
});
