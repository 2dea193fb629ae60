import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BuildUnits } from '../../../src/unit/build-unit.ts';
import { parseUnit } from '../../../src/unit/parser.ts';
import { valuesOf } from '../../../src/unit/unit-file.ts';
import { readArgv } from '../../../src/unit/words.ts';
import { exampleBuild } from './example-build.ts';
import { sameAsKept } from './kept-units.ts';

const units = new BuildUnits('unit-templates');

test('whole unit files of builds', () => {
  const plain = units.render(exampleBuild());
  assert.equal(plain.name, 'dinp-build-local-0a1b2c.service');
  sameAsKept('build.service', plain.text);
  const odd = exampleBuild({
    builder: 'classic',
    stage: 'final',
    noCache: true,
    args: { GREETING: 'say "hi" to 100% $HOME \\' },
  });
  sameAsKept('build-classic.service', units.render(odd).text);
});

test('arguments reach docker as they are, and what no unit can hold is refused', () => {
  for (const value of ['$(id)', '${HOME} %n', '"; rm -rf / #', '\\', "it's", '']) {
    const { text } = units.render(exampleBuild({ args: { A: value } }));
    const [, , build] = valuesOf(parseUnit(text), 'Service', 'ExecStart');
    assert.ok(readArgv(build!).includes(`--build-arg=A=${value}`), value);
  }
  assert.throws(() => units.render(exampleBuild({ args: { A: 'two\nlines' } })), { code: 'refused' });
});
