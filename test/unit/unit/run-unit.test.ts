import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseUnit } from '../../../src/unit/parser.ts';
import { RunUnits } from '../../../src/unit/run-unit.ts';
import { valuesOf } from '../../../src/unit/unit-file.ts';
import { type ExecWord, readArgv, splitWords } from '../../../src/unit/words.ts';
import { exampleSpec, ODD } from './example-spec.ts';
import { sameAsKept } from './kept-units.ts';

const OPTIONS = { docker: '/usr/bin/docker', server: 'local', environmentFolder: '/etc/dinp/instances' };
const FLEET = { ...OPTIONS, fleetMetadata: ['zone=a', 'disk=ssd'] };
const units = new RunUnits('unit-templates', OPTIONS);

test('whole unit files, for systemd and fleet', () => {
  const cases = {
    plain: exampleSpec(),
    odd: exampleSpec(ODD),
    worker: exampleSpec({ process: 'worker', port: undefined, env: {}, command: ['./work'] }),
  };
  const withMetadata = new RunUnits('unit-templates', FLEET);
  for (const [name, spec] of Object.entries(cases)) {
    for (const kind of ['systemd', 'fleet'] as const) {
      const [unit] = withMetadata.render([spec], kind);
      assert.equal(unit!.name, 'dinp-blog--web--v3--1.service');
      sameAsKept(`${name}.${kind}.service`, unit!.text);
    }
  }
});

test('no config value stands in a unit', () => {
  for (const kind of ['systemd', 'fleet'] as const)
    assert.ok(!units.render([exampleSpec(ODD)], kind)[0]!.text.includes('hush'));
  assert.ok(units.environmentFiles(exampleSpec(ODD)).every(({ text }) => text.includes('hush')));
  assert.deepEqual(units.environmentFiles(exampleSpec()), []);
});

test('no value can add or swallow a line', () => {
  const plain = keysOf(units.render([exampleSpec({ command: ['x'] })], 'systemd')[0]!.text);
  for (const value of [
    '\\',
    'a\\',
    '[Service]',
    'ExecStart=/bin/evil',
    '%n',
    '${PATH}',
    '# x',
    '"',
    "'",
    '"; /bin/evil',
    ' ; /bin/evil',
  ]) {
    const [unit] = units.render([exampleSpec({ command: ['x', value], env: { PORT: value } })], 'systemd');
    assert.deepEqual(keysOf(unit!.text), plain, value);
    const words = readArgv(valuesOf(parseUnit(unit!.text), 'Service', 'ExecStart')[0]!);
    assert.equal(words.at(-1), value);
    assert.ok(words.includes(`--env=PORT=${value}`));
  }
  for (const value of ['a\nExecStart=/bin/evil', 'a\rb', 'a\0b']) {
    assert.throws(() => units.render([exampleSpec({ command: ['x', value] })], 'systemd'), { code: 'refused' });
  }
});

test('fleet: a long command is cut into lines of at most 2047 bytes, and says the same', () => {
  const spec = exampleSpec({
    command: ['run', 'x'.repeat(1900), 'y z'.repeat(600), '', 'é%$"\\'.repeat(150)],
    env: { A: 'b'.repeat(1900) },
  });
  const [fleet] = units.render([spec], 'fleet');
  assert.ok(fleet!.text.split('\n').every((line) => Buffer.byteLength(line) <= 2047));
  const anywhere = { ...spec, port: { ...spec.port!, address: '0.0.0.0' } };
  const [systemd] = units.render([anywhere], 'systemd');
  assert.deepEqual(resolved(fleet!.text), resolved(systemd!.text));
  const tooLong = exampleSpec({ command: ['x'.repeat(2100)] });
  assert.throws(() => units.render([tooLong], 'fleet'), /Environment line of \d+ bytes; fleet takes 2047/);
});

test('a one-off command has no port; several lines in a value reach docker by systemd-run', () => {
  const oneOff = { name: 'dinp-blog--web--v3--1--run-1', command: ['sh', '-c', 'echo $A'], stdin: true };
  const simple = units.oneOff(exampleSpec(), oneOff);
  assert.equal(simple.argv[0], '/usr/bin/docker');
  assert.ok(simple.argv.includes('--interactive') && !simple.argv.some((word) => word.startsWith('--publish')));
  assert.deepEqual(simple.argv.slice(-3), oneOff.command);
  assert.deepEqual(simple.files, []);
  const multiLine = units.oneOff(exampleSpec(ODD), oneOff);
  assert.deepEqual(
    multiLine.files.map(({ path }) => path),
    [
      '/etc/dinp/instances/dinp-blog--web--v3--1--run-1.env',
      '/etc/dinp/instances/dinp-blog--web--v3--1--run-1.systemd-env',
    ],
  );
  assert.equal(multiLine.argv[0], 'systemd-run');
  assert.equal(multiLine.argv.at(-1), 'echo $$A');
});

test('options that would need quoting somewhere are refused at start', () => {
  for (const change of [{ server: 'a b' }, { server: '' }, { docker: 'docker' }, { environmentFolder: '/a b' }]) {
    assert.throws(() => new RunUnits('unit-templates', { ...OPTIONS, ...change }), { code: 'config' });
  }
});

function keysOf(text: string): string[] {
  return parseUnit(text).sections.flatMap(({ name, entries }) => [name, ...entries.map(({ key }) => key)]);
}

/** The words of ExecStart, with the unit's own variables put in. */
function resolved(text: string): ExecWord[] {
  const unit = parseUnit(text);
  const words = valuesOf(unit, 'Service', 'Environment')
    .flatMap(splitWords)
    .map((word) => word.replaceAll('%%', '%'));
  const variables = new Map(words.map((word) => [word.slice(0, word.indexOf('=')), word.slice(word.indexOf('=') + 1)]));
  return readArgv(valuesOf(unit, 'Service', 'ExecStart')[0]!).map((word) =>
    typeof word === 'string' ? word : variables.get(word.variable)!,
  );
}
