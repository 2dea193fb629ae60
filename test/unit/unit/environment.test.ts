import assert from 'node:assert/strict';
import { test } from 'node:test';
import { splitEnvironment } from '../../../src/unit/environment.ts';
import { exampleSpec } from './example-spec.ts';

const split = (env: Record<string, string>, secrets: Record<string, string>) =>
  splitEnvironment({ ...exampleSpec(), env, secrets }, '/etc/dinp');

test('plain values stand in the unit, secrets in a file, values of several lines in another', () => {
  assert.deepEqual(split({ A: '1', B: 'plain', M: 'x\ny' }, { B: 'secret', 'spring.x': '$"\\', PEM: 'a"$\\`\nb\r' }), {
    plain: { A: '1' },
    dockerFile: { path: '/etc/dinp/dinp-blog--web--v3--1.env', text: 'B=secret\nspring.x=$"\\\n' },
    systemdFile: { path: '/etc/dinp/dinp-blog--web--v3--1.systemd-env', text: 'M="x\ny"\nPEM="a\\"\\$\\\\\\`\nb\r"\n' },
    passedOn: ['M', 'PEM'],
  });
});

test('long values go where they fit, and are refused where none does', () => {
  assert.deepEqual(split({}, { A: 'x'.repeat(100_000) }).passedOn, ['A']);
  assert.deepEqual(Object.keys(split({ A: 'x'.repeat(40_000) }, {}).plain), []);
  assert.throws(() => split({}, { A: 'x'.repeat(140_000) }), /140002 bytes; Linux passes at most 128 KiB/);
});

test('names that steer the docker client, or that its environment cannot hold, take no value of several lines', () => {
  const names = [
    'LD_PRELOAD',
    'DOCKER_HOST',
    'PATH',
    'HOME',
    'GODEBUG',
    'https_proxy',
    'HTTP_PROXY',
    'DINP_WORD_1',
    'BASH_ENV',
    'a.b',
    'a-b',
    '1A',
  ];
  for (const name of names) {
    assert.throws(() => split({}, { [name]: 'a\nb' }), { code: 'refused' }, name);
    assert.equal(split({}, { [name]: 'one line' }).passedOn.length, 0, name);
  }
});

test('names and values that no environment can hold are refused, without the value', () => {
  for (const name of ['', 'A B', '#A', 'A=B', 'A\n', '"', 'é\u0085', '\ufeffA'])
    assert.throws(() => split({}, { [name]: 'x' }), { code: 'refused' });
  for (const value of ['hush\0', 'hush\ud800', 'hush\n\uffff']) {
    assert.throws(
      () => split({}, { A: value }),
      (error: Error) => !error.message.includes('hush'),
    );
  }
});
