import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type FleetOptions, fleetProblem, spreads } from '../../../src/domain/fleet-options.ts';
import { optionsProblem } from '../../support/fleet-rules.ts';

const VALUES: Required<Omit<FleetOptions, 'spread'>> = {
  MachineID: '0123456789abcdef'.repeat(2),
  MachineOf: ['db.service'],
  MachineMetadata: ['zone=a'],
  Conflicts: ['batch*.service'],
  Global: true,
  Replaces: ['old.service'],
};
const KEYS = Object.keys(VALUES) as (keyof typeof VALUES)[];

/** The same options as lines of a unit. */
function lines(options: FleetOptions) {
  const text = (value: unknown) => (Array.isArray(value) ? value : [value]).map(String);
  const inSection = Object.entries(options).flatMap(([name, value]) =>
    text(value).map((word) => ({ name, value: word })),
  );
  return inSection.map((line) => ({ section: 'X-Fleet', ...line }));
}

test('every pair of options is refused exactly where fleet refuses it', () => {
  for (const one of KEYS) {
    for (const other of KEYS) {
      const options: FleetOptions = { [one]: VALUES[one], [other]: VALUES[other] };
      const theirs = optionsProblem(lines(options));
      assert.equal(fleetProblem(options) !== undefined, theirs !== undefined, `${one} and ${other}: ${theirs}`);
    }
  }
});

test('a unit cannot be beside one that it keeps away', () => {
  for (const key of ['Conflicts', 'Replaces'] as const) {
    const options = { MachineOf: ['db.service'], [key]: ['other', 'd?.*'] };
    assert.deepEqual(fleetProblem(options), {
      key,
      message: '"d?.*" is also db.service, which MachineOf wants on the same machine',
    });
    assert.ok(optionsProblem(lines(options)));
    assert.equal(fleetProblem({ MachineOf: ['db.service'], [key]: ['db', 'xdb.service'] }), undefined);
  }
});

test('instances are spread, but not where fleet would refuse a unit that says so', () => {
  const conflict = { section: 'X-Fleet', name: 'Conflicts', value: 'dinp-blog--web--v3--*.service' };
  for (const key of KEYS) {
    const options = { [key]: VALUES[key] };
    if (spreads(options)) assert.equal(optionsProblem([...lines(options), conflict]), undefined, key);
  }
  assert.ok(spreads({}) && spreads({ Conflicts: ['x'] }) && spreads({ MachineMetadata: ['zone=a'] }));
  assert.ok(!spreads({ spread: false }) && !spreads({ MachineOf: ['db.service'] }) && !spreads({ MachineID: 'a' }));
});
