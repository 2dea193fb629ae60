import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fleetSection, fleetUnit } from '../../../src/unit/fleet-section.ts';
import { RunUnits } from '../../../src/unit/run-unit.ts';
import { nameProblem, optionsProblem } from '../../support/fleet-rules.ts';
import { exampleSpec } from './example-spec.ts';

const OPTIONS = { docker: '/usr/bin/docker', server: 'local', environmentFolder: '/etc/dinp/instances' };

test('options of dinp.yml become lines of [X-Fleet]', () => {
  const units = new RunUnits('unit-templates', OPTIONS);
  const section = (fleet: NonNullable<Parameters<typeof exampleSpec>[0]>['fleet'] & object) =>
    units.render([exampleSpec({ fleet })], 'fleet')[0]!.text.split('[X-Fleet]\n')[1];
  assert.equal(
    section({ Conflicts: ['batch*.service'], MachineMetadata: ['zone=a', 'zone=b'] }),
    'Conflicts=dinp-blog--web--v3--*.service\nConflicts=batch*.service\nMachineMetadata="zone=a" "zone=b"\n',
  );
  assert.equal(section({ MachineID: 'ab'.repeat(16) }), `MachineID=${'ab'.repeat(16)}\n`);
  assert.equal(section({ MachineOf: ['db.service'], spread: false }), 'MachineOf=db.service\n');
  assert.equal(section({ Global: true, Conflicts: ['x.service'] }), 'Conflicts=x.service\nGlobal=true\n');
  assert.equal(section({ Replaces: ['old.service'] }), 'Replaces=old.service\n');
  assert.equal(section({ spread: false }), '');
});

test("dinp.yml chooses among the operator's machines, and never beyond them", () => {
  const metadata = (wanted: string[], allowed: string[]) =>
    fleetSection(exampleSpec({ fleet: { MachineMetadata: wanted } }), allowed).machineMetadata;
  assert.equal(metadata([], ['zone=a', 'zone=b', 'disk=ssd']), '"zone=a" "zone=b" "disk=ssd"');
  assert.equal(metadata(['zone=b'], ['zone=a', 'zone=b', 'disk=ssd']), '"disk=ssd" "zone=b"');
  assert.equal(metadata(['gpu=yes'], ['zone=a']), '"zone=a" "gpu=yes"');
  assert.throws(() => metadata(['zone=c'], ['zone=a', 'zone=b']), { code: 'refused', hint: /zone=a or zone=b/ });
  assert.throws(() => metadata(['zone=a=b'], []), { code: 'config' });
});

test("units are what fleet's API takes, also with lines as long as it allows", () => {
  const units = new RunUnits('unit-templates', OPTIONS);
  for (let length = 1900; length <= 2021; length++) {
    const spec = exampleSpec({ command: ['x'.repeat(length)] });
    const unit = fleetUnit(units.render([spec], 'fleet')[0]!);
    assert.equal(nameProblem(unit.name), undefined);
    assert.equal(optionsProblem(unit.options), undefined, String(length));
  }
  const long = exampleSpec({ command: ['x'.repeat(2022)] });
  assert.throws(() => units.render([long], 'fleet'), { code: 'refused' });
});

test('a command of its own runs once, wherever there is room, and without the port', () => {
  const units = new RunUnits('unit-templates', { ...OPTIONS, fleetMetadata: ['zone=a'] });
  const spec = exampleSpec({ fleet: { Global: true } });
  const { name, options } = fleetUnit(
    units.renderFleetOnce(spec, { name: 'dinp-blog--once-1', command: ['a', 'b c'] }),
  );
  assert.equal(name, 'dinp-blog--once-1.service');
  const values = (section: string, key: string) =>
    options.filter((option) => option.section === section && option.name === key).map(({ value }) => value);
  assert.deepEqual(values('Service', 'Type'), ['oneshot']);
  assert.match(values('Service', 'ExecStart')[0]!, /--name=dinp-blog--once-1 .* a "b c"$/);
  assert.ok(!values('Service', 'ExecStart')[0]!.includes('--publish'));
  assert.deepEqual(values('X-Dinp', 'OneOff'), ['true']);
  assert.deepEqual(
    options.filter(({ section }) => section === 'X-Fleet').map(({ name: key, value }) => `${key}=${value}`),
    ['MachineMetadata="zone=a"'],
  );
});
