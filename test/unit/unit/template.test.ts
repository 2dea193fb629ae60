import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { loadTemplate, templateProblems } from '../../../src/unit/template.ts';

test('in every template of ours, each value passes a typed helper', () => {
  const files = readdirSync('unit-templates').filter((file) => file.endsWith('.hbs'));
  assert.ok(files.length >= 3);
  for (const file of files)
    assert.deepEqual(templateProblems(readFileSync(`unit-templates/${file}`, 'utf8')), [], file);
});

test('a bare value, a raw one and an unknown helper are found, with their line', () => {
  assert.match(templateProblems('[A]\nB={{x}}')[0]!, /^line 2: \{\{x\}\} passes no typed helper/);
  for (const text of [
    '{{{x}}}',
    '{{&x}}',
    '{{shell x}}',
    '{{text}}',
    '{{text a b}}',
    '{{env a}}',
    '{{#if a}}{{b}}{{/if}}',
    '{{this.x}}',
  ]) {
    assert.equal(templateProblems(text).length, 1, text);
    assert.throws(() => loadTemplate('t', text), /^Error: Template t: line 1/, text);
  }
  assert.throws(() => loadTemplate('t', '{{> p}}', { p: 'A={{x}}' }), /no typed helper/);
});

test('a value must be the whole value of its line', () => {
  assert.throws(
    () => loadTemplate('t', '[A]\nB=x{{text v}}')({ v: 'y' }),
    /does not say what was meant: the value of B/,
  );
  assert.throws(() => loadTemplate('t', '[{{text v}}]\nB=1')({ v: 'y' }), /does not say what was meant/);
});

test('a missing value is an error, not an empty line', () => {
  assert.throws(() => loadTemplate('t', '[A]\nB={{text v}}')({}));
});

test('values come out as they went in', () => {
  const render = loadTemplate(
    't',
    '[A]\nB={{text v}}\n{{#each list}}\nC={{env name value}}\n{{/each}}\nD={{argv w}}\nE={{number n}}\n',
  );
  const text = render({ v: '100% [x]', list: [{ name: 'X', value: '#"' }], w: ['/bin/x', '$HOME', '<value 0>'], n: 3 });
  assert.equal(text, '[A]\nB=100%% [x]\nC="X=#\\""\nD=/bin/x "$$HOME" "<value 0>"\nE=3\n');
});
