import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compareVersions, mayFit } from '../../../src/artifact/version-range.ts';

const CASES: [known: string, range: string, fits: boolean][] = [
  ['18', '>=18', true],
  ['18', '>=18.17.0', true],
  ['18', '>=20', false],
  ['18', '^20 || ^18', true],
  ['18', '16 || 20', false],
  ['18', '>= 16 < 18', false],
  ['18', '>= 16, <19', true],
  ['18', '18.x', true],
  ['18', '20.x', false],
  ['18', '*', true],
  ['18', '', true],
  ['18', 'lts/iron', true],
  ['18', '14 - 18', true],
  ['18', '14 - 16', false],
  ['18', '~18.1', true],
  ['18', '<=18', true],
  ['18', '>18', false],
  ['8.2', '^8.1', true],
  ['8.2', '^7.4|^8.0', true],
  ['8.2', '^8.3', false],
  ['8.2', '~8.1.0', false],
  ['8.2', '8.2.*', true],
  ['8', '^8.3', true],
  ['3.11', '^0.1', false],
  ['18', 'v20.1.2', false],
  ['18.20.4', '>=18.17 <19', true],
  ['18.20.4', '^18.20.5', false],
  ['3.10.1', '>=3.9', true],
  ['3.1.0', '>=3.9', false],
];

for (const [known, range, fits] of CASES) {
  test(`${known} ${fits ? 'fits' : 'does not fit'} ${range}`, () => assert.equal(mayFit(known, range), fits));
}

test('versions are ordered by their numbers', () => {
  const versions = ['3.10', '18', '3.9.2', '3.1', '18.20.4', '3.9'];
  assert.deepEqual(versions.sort(compareVersions), ['3.1', '3.9', '3.9.2', '3.10', '18', '18.20.4']);
});
