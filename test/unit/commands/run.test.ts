import assert from 'node:assert/strict';
import { test } from 'node:test';
import { process, Terminal } from './terminal.ts';

test('run passes words, streams and the exit status on, with and without --', async (t) => {
  const terminal = new Terminal(t);
  terminal.deployed('blog', [process('web'), process('worker')]);
  terminal.target.onRun = async ({ stdin, onStdout, onStderr }) => {
    for await (const chunk of stdin!) await onStdout(Buffer.from(`got ${Buffer.from(chunk)}\u001b[0m`));
    await onStderr(Buffer.from('bad\n'));
    return 42;
  };
  for (const line of [
    'run blog -p worker -- ls -l --json',
    'run blog -p worker ls -l --json',
    'run -p worker blog ls -l --json',
    'run blog --process=worker ls -l --json',
  ]) {
    assert.deepEqual(await terminal.type(line, { stdin: 'in' }), {
      status: 42,
      stdout: 'got in\u001b[0m',
      stderr: 'bad\n',
    });
    assert.deepEqual(terminal.target.calls.pop(), ['runOnce', 'blog-worker', ['ls', '-l', '--json']], line);
  }
  await terminal.type('run blog -- sh -- -x', { stdin: '' });
  assert.deepEqual(terminal.target.calls.pop(), ['runOnce', 'blog-web', ['sh', '--', '-x']]);
});

test('run without a command shows how', async (t) => {
  const terminal = new Terminal(t);
  assert.deepEqual(await terminal.type('run blog'), {
    status: 2,
    stdout: '',
    stderr:
      'error: <command> is missing.\nhint:  Usage:  dinp run <app> <command…>\n       dinp run --help says more.\n',
  });
});
