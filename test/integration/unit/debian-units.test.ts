import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseUnit } from '../../../src/unit/parser.ts';
import { type Unit, valuesOf } from '../../../src/unit/unit-file.ts';
import { expandSpecifiers, splitCommands, splitWords } from '../../../src/unit/words.ts';
import { writeUnit } from '../../../src/unit/writer.ts';
import { debianUnits } from '../../support/debian-units.ts';
import { lastOfEach, readBySystemd } from '../../support/systemd-reading.ts';

const EXEC_KEYS = [
  'ExecCondition',
  'ExecStartPre',
  'ExecStart',
  'ExecStartPost',
  'ExecReload',
  'ExecStop',
  'ExecStopPost',
];
const INSTANCE = 'inst';

test('units of Debian packages: written and parsed again they are the same, and nothing in them is odd', () => {
  for (const { name, text } of debianUnits()) {
    const { sections, problems } = parseUnit(text);
    assert.deepEqual(problems, [], name);
    assert.deepEqual(parseUnit(writeUnit({ sections })).sections, sections, name);
    assert.ok(sections.length > 0, name);
  }
});

test('units of Debian packages are read as systemd reads them', (t) => {
  const files = [...new Map(debianUnits().map((unit) => [unit.name, unit])).values()];
  const wanted = files.map(({ name }) => name.replace(/@\./, `@${INSTANCE}.`));
  const { units, runtimeFolder } = readBySystemd(files, wanted);
  const compared = { units: 0, commands: 0, variables: 0, settings: 0 };
  for (const [i, { name, text }] of files.entries()) {
    const reading = units.get(wanted[i]!);
    // Without a reading: an alias or a unit that this systemd refuses (one of another version, or for root only).
    if (reading === undefined || reading.properties['Unit Load State']?.[0] !== 'loaded') continue;
    const unit = parseUnit(text);
    const expand = (value: string) => expandSpecifiers(value, specifiersOf(wanted[i]!, runtimeFolder));
    const context = `${name} of ${files[i]!.package}`;
    compared.units++;
    const description = valuesOf(unit, 'Unit', 'Description').at(-1);
    if (description !== undefined) assert.equal(reading.description, expand(description), context);
    for (const key of EXEC_KEYS) {
      const ours = commandsOf(unit, key).map((words) => words.map(expand));
      assert.deepEqual(reading.commands[key] ?? [], ours, `${context}, ${key}`);
      compared.commands += ours.length;
    }
    const variables = afterReset(valuesOf(unit, 'Service', 'Environment'))
      .flatMap(splitWords)
      .map(expand);
    assert.deepEqual(reading.environment.toSorted(), lastOfEach(variables).toSorted(), context);
    compared.variables += variables.length;
    for (const [section, key] of [
      ['Service', 'User'],
      ['Service', 'Type'],
      ['Service', 'KillMode'],
      ['Service', 'UMask'],
    ] as const) {
      const value = valuesOf(unit, section, key).at(-1);
      if (value === undefined || reading.properties[key] === undefined) continue;
      assert.equal(
        reading.properties[key].at(-1),
        key === 'UMask' ? value.padStart(4, '0') : expand(value),
        `${context}, ${key}`,
      );
      compared.settings++;
    }
  }
  t.diagnostic(`${files.length} unit files; compared with systemd: ${JSON.stringify(compared)}`);
  assert.ok(compared.units > 150 && compared.commands > 150 && compared.variables > 10, JSON.stringify(compared));
});

/** As the dump has them: with `@`, the first argument is the name that the program is given. */
function commandsOf(unit: Unit, key: string): string[][] {
  return afterReset(valuesOf(unit, 'Service', key))
    .flatMap(splitCommands)
    .map(({ prefixes, words }) => (prefixes.includes('@') ? words.slice(1) : words));
}

/** An empty value takes back all values before it. */
function afterReset(values: string[]): string[] {
  return values.slice(values.lastIndexOf('') + 1);
}

function specifiersOf(name: string, runtimeFolder: string): Record<string, string> {
  const [, prefix = '', instance = ''] = /^([^@]*?)(?:@(.*))?\.\w+$/.exec(name) ?? [];
  return {
    n: name,
    N: name.replace(/\.\w+$/, ''),
    p: prefix,
    i: instance,
    I: instance,
    f: `/${instance || prefix}`,
    t: runtimeFolder,
  };
}
