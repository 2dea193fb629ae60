import assert from 'node:assert/strict';
import { test } from 'node:test';
import { process, Terminal } from './terminal.ts';

const ok = (stdout: string) => ({ status: 0, stdout, stderr: '' });
const failed = (status: number, stderr: string) => ({ status, stdout: '', stderr });

test('releases list and show', async (t) => {
  const terminal = new Terminal(t);
  const app = terminal.deployed('blog');
  terminal.store.config.change(app.id, { SECRET: 'hidden' });
  terminal.release(app, [process('web'), process('worker', { command: ['sh', '-c', 'sleep 1'] })]);
  assert.deepEqual(
    await terminal.type('releases blog'),
    ok(`RELEASE  STATE  SOURCE        CAUSE  BY     WHEN
     v2  live   0123456 main  push   alice  just now
     v1  past   0123456 main  push   alice  just now
`),
  );
  assert.deepEqual(
    await terminal.type('releases show blog'),
    ok(`Release:    v2 of blog
State:      live
Source:     0123456 main
Cause:      push
Target:     docker
By:         alice
When:       just now
Image:      127.0.0.1:5000/blog@sha256:${'ab'.repeat(32)}
Processes:  web: the image's own command
            worker: sh -c 'sleep 1'
Config:     SECRET
`),
  );
  const { stdout } = await terminal.type('releases show blog v2 --json');
  const release = JSON.parse(stdout);
  assert.deepEqual(Object.keys(release), [
    'number',
    'state',
    'cause',
    'from',
    'source',
    'note',
    'target',
    'by',
    'createdAt',
    'services',
    'configNames',
  ]);
  assert.doesNotMatch(stdout, /hidden/);
});

test('rollback shows its progress and the new number', async (t) => {
  const terminal = new Terminal(t);
  const app = terminal.deployed('blog');
  terminal.release(app);
  const said = (number: number) =>
    ok(`-----> Starting v${number}
       web.1 is healthy
Released v${number}, which is v1 again  http://blog.localhost
`);
  assert.deepEqual(await terminal.type('rollback blog'), said(3));
  assert.deepEqual(await terminal.type('releases rollback blog v1'), said(4));
  assert.deepEqual(terminal.operations.calls, [
    ['rollback', 'blog', undefined, 'root'],
    ['rollback', 'blog', 1, 'root'],
  ]);
  assert.match((await terminal.type('releases list blog')).stdout, /v4 {2}live {3}0123456 main {2}rollback to v1/);
  assert.deepEqual(
    await terminal.type('rollback blog v9'),
    failed(1, 'error: blog has no release v9.\nhint:  dinp releases list blog shows those there are.\n'),
  );
});

test('an app without releases says how to get one', async (t) => {
  const terminal = new Terminal(t);
  terminal.store.apps.create('blog');
  const push = 'Push to it:\n  git remote add dinp ssh://dinp@example.org:2222/blog\n  git push dinp HEAD:main\n';
  assert.deepEqual(await terminal.type('releases list blog'), ok(`blog has no releases yet. ${push}`));
  for (const line of [
    'releases show blog',
    'restart blog',
    'logs blog',
    'run blog ls',
    'scale blog web=2',
    'start blog',
  ]) {
    assert.deepEqual(await terminal.type(line), failed(1, `error: blog has no live release yet.\nhint:  ${push}`));
  }
});

test('notes are listed where there are any', async (t) => {
  const terminal = new Terminal(t);
  const app = terminal.deployed('blog');
  const { source, services, target } = terminal.release(app);
  terminal.store.releases.create({
    ...{ appId: app.id, cause: 'deploy', source, services, target, note: 'new logo', domains: [], keep: {} },
    ...{ fromNumber: undefined, buildId: undefined, config: {}, by: 'bob' },
  });
  const { stdout } = await terminal.type('releases blog');
  assert.match(stdout, /^RELEASE .* WHEN +NOTE\n +v3 .*just now +new logo\n +v2 .*just now\s*\n/);
});
