import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseUnit } from '../../../src/unit/parser.ts';
import { QuadletUnits } from '../../../src/unit/quadlet.ts';
import { valuesOf } from '../../../src/unit/unit-file.ts';
import { exampleSpec, ODD } from './example-spec.ts';
import { sameAsKept } from './kept-units.ts';

const OPTIONS = { podman: '/usr/bin/podman', server: 'local', environmentFolder: '/etc/dinp/instances' };
const units = new QuadletUnits('unit-templates', OPTIONS);
const only = (text: string, section: string, key: string) => valuesOf(parseUnit(text), section, key);

test('whole quadlets', () => {
  const cases = {
    plain: exampleSpec(),
    odd: exampleSpec(ODD),
    worker: exampleSpec({ process: 'worker', port: undefined, env: {}, command: ['./work'] }),
  };
  for (const [name, spec] of Object.entries(cases)) {
    const [unit] = units.render([spec]);
    assert.equal(unit!.name, 'dinp-blog--web--v3--1.container');
    sameAsKept(`${name}.container`, unit!.text);
    assert.doesNotMatch(unit!.text, /hush/);
  }
});

test('no value can add or swallow a line', () => {
  const plain = keysOf(units.render([exampleSpec({ command: ['x'] })])[0]!.text);
  for (const value of ['\\', 'a\\', '[Service]', 'Exec=evil', '%n', '${PATH}', '# x', '"', "'", ' ; evil']) {
    const [unit] = units.render([exampleSpec({ command: ['x', value], env: { PORT: value } })]);
    assert.deepEqual(keysOf(unit!.text), plain, value);
  }
  for (const value of ['a\nExec=evil', 'a\rb', 'a\0b'])
    assert.throws(() => units.render([exampleSpec({ command: ['x', value] })]), { code: 'refused' });
});

test('only a registry of the machine itself may speak plain HTTP', () => {
  const args = (repository: string) =>
    only(
      units.render([exampleSpec({ image: { repository, digest: 'sha256:0' } })])[0]!.text,
      'Container',
      'PodmanArgs',
    );
  for (const own of ['127.0.0.1:5000/blog', 'localhost/blog', '[::1]:5000/a/b'])
    assert.ok(args(own).includes('--tls-verify=false'), own);
  for (const other of ['registry.example.com/blog', '127.example.com/blog', 'localhost.example.com:5000/blog'])
    assert.ok(!args(other).includes('--tls-verify=false'), other);
});

test('a one-off command has no port; several lines in a value reach podman by systemd-run', () => {
  const oneOff = { name: 'dinp-blog--web--v3--1--run-1', command: ['sh', '-c', 'echo $A'], stdin: false };
  const simple = units.oneOff(exampleSpec({ volumes: { 'dinp-blog--data': '/data' } }), oneOff);
  assert.equal(simple.argv[0], '/usr/bin/podman');
  assert.ok(simple.argv.includes('--mount=type=volume,source=dinp-blog--data,target=/data'));
  assert.ok(!simple.argv.some((word) => word.startsWith('--publish')));
  assert.deepEqual(simple.argv.slice(-3), oneOff.command);
  const multiLine = units.oneOff(exampleSpec(ODD), oneOff);
  assert.equal(multiLine.argv[0], 'systemd-run');
  assert.deepEqual(
    multiLine.files.map(({ path }) => path),
    ['env', 'systemd-env'].map((ending) => `/etc/dinp/instances/${oneOff.name}.${ending}`),
  );
});

function keysOf(text: string): string[] {
  return parseUnit(text).sections.flatMap(({ name, entries }) => [name, ...entries.map(({ key }) => key)]);
}
