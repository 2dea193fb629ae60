import assert from 'node:assert/strict';
import { test } from 'node:test';
import { versionIn, versionNumbers, versionVariables } from '../../../../src/image/bases/base-version.ts';

test('the numbers of versions as Debian, Docker images and Java write them', () => {
  const numbers = {
    '3.11.2-1+b1': '3.11.2',
    '18.20.4+dfsg-1~deb12u3': '18.20.4',
    '2:8.2+93': '8.2',
    'jdk-17.0.13+11': '17.0.13',
    '17.0.21.1+2-1~deb12u1': '17.0.21',
    'jdk8u432-b06': '8',
    '8u432-ga-1': '8',
    '1.8.0_432': '8.0',
    '8.0.432.0.0+6': '8.0.432',
    'v24.1.0': '24.1.0',
    '3.10': '3.10',
    unknown: undefined,
    '': undefined,
  };
  for (const [text, expected] of Object.entries(numbers)) assert.equal(versionNumbers(text), expected, text);
});

test('a base says the versions of the packages that hold its runtime', () => {
  const packages = new Map([
    ['python3', '3.11.2-1+b1'],
    ['python3.11', '3.11.9-6'],
    ['python3-pip', '23.0'],
    ['openjdk-17-jre-headless', '17.0.13+11-2'],
    ['nodejs', '18.20.4+dfsg-1'],
    ['php-fpm', '2:8.2+93'],
    ['php8.2-fpm', '8.2.29-1~deb12u1'],
  ]);
  assert.deepEqual(versionVariables(['python'], packages), { PYTHON_VERSION: '3.11.9' });
  assert.deepEqual(versionVariables(['php'], packages), { PHP_VERSION: '8.2.29' });
  assert.deepEqual(versionVariables(['war'], packages), { JAVA_VERSION: '17.0.13' });
  assert.deepEqual(versionVariables(['node', 'static'], packages), { NODE_VERSION: '18.20.4' });
  assert.deepEqual(versionVariables(['binary'], packages), {});
  assert.deepEqual(versionVariables(['python'], new Map([['libpython3.11', '3.11.2']])), {});
});

test('only the variable of its own runtime counts', () => {
  const env = { PYTHON_VERSION: '3.13.1', JAVA_VERSION: 'jdk-21.0.5+11' };
  assert.equal(versionIn(['python'], env), '3.13.1');
  assert.equal(versionIn(['jar', 'war'], env), '21.0.5');
  assert.equal(versionIn(['node'], env), undefined);
  assert.equal(versionIn(['python', 'jar'], env), undefined);
  assert.equal(versionIn(['plain'], env), undefined);
});
