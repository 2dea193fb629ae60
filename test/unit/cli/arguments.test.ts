import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseHost, splitArguments } from '../../../src/cli/arguments.ts';
import { sshArguments } from '../../../src/cli/remote.ts';
import { parseExec } from '../../../src/ssh/exec.ts';

const split = (line: string) => splitArguments(line.split(' '));

test('own options are found before, within and behind the command', () => {
  for (const line of ['--config f apps list', 'apps --config=f list', 'apps list --config f']) {
    assert.deepEqual(split(line), { config: 'f', host: undefined, version: false, command: ['apps', 'list'] });
  }
  assert.equal(split('--host h apps').host, 'h');
});

test('options behind -- and those of the command that run passes on are left alone', () => {
  assert.deepEqual(split('run blog -- x --config f').command, ['run', 'blog', '--', 'x', '--config', 'f']);
  assert.deepEqual(split('run blog x --host h').command, ['run', 'blog', 'x', '--host', 'h']);
  assert.deepEqual(split('run blog -p web --config f x --config g'), {
    config: 'f',
    host: undefined,
    version: false,
    command: ['run', 'blog', '-p', 'web', 'x', '--config', 'g'],
  });
});

test('--version is ours only in front', () => {
  assert.equal(split('--version').version, true);
  assert.equal(split('-V').version, true);
  assert.deepEqual(split('apps --version').command, ['apps', '--version']);
});

test('an option without its value is a usage error', () => {
  assert.throws(() => split('apps list --config'), { code: 'usage', message: '--config needs a value.' });
  assert.throws(() => split('--host= apps'), { code: 'usage', message: '--host needs a value.' });
});

test('hosts', () => {
  assert.deepEqual(parseHost('example.org'), { user: 'dinp', host: 'example.org', port: undefined });
  assert.deepEqual(parseHost('me@example.org:2222'), { user: 'me', host: 'example.org', port: 2222 });
  assert.deepEqual(parseHost('ssh://me@[::1]:22/'), { user: 'me', host: '::1', port: 22 });
  for (const bad of ['', '-oProxyCommand=x', '-x@h', 'a b', 'h:0', 'h:99999', 'u@', 'h/app', '::1']) {
    assert.throws(() => parseHost(bad), { code: 'usage' }, bad);
  }
});

test('ssh gets no terminal, no input where none is read, and the words arrive as they were', () => {
  const remote = { user: 'dinp', host: 'example.org', port: 2222 };
  assert.deepEqual(sshArguments(remote, ['apps', 'list'], { kind: 'none' }), [
    '-T',
    '-p',
    '2222',
    '-n',
    '--',
    'dinp@example.org',
    'apps list',
  ]);
  const word = fc.string({ unit: 'binary', maxLength: 20 }).filter((text) => !text.includes('\0'));
  fc.assert(
    fc.property(fc.array(word, { minLength: 1, maxLength: 5 }), (words) => {
      const argv = ['config', ...words];
      const line = sshArguments(remote, argv, { kind: 'stream' }).at(-1)!;
      assert.deepEqual(parseExec(line), { kind: 'command', argv });
    }),
  );
});
