import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Build } from '../../../src/domain/build.ts';
import { deployer, Terminal } from './terminal.ts';

const ok = (stdout: string) => ({ status: 0, stdout, stderr: '' });
const fromServer = (build: number) => `Log of build ${build} of blog, from this server:\n`;
const failed = (status: number, stderr: string) => ({ status, stdout: '', stderr });

function addBuild(terminal: Terminal, app: string, sha = 'a'): Build {
  const { id } = terminal.store.apps.find(app)!;
  return terminal.store.builds.create({
    appId: id,
    source: { kind: 'commit', sha: sha.repeat(40), ref: 'refs/heads/main' },
    noCache: false,
    by: 'bob',
  });
}

function finished(terminal: Terminal, app: string, state: 'succeeded' | 'failed', output: string): Build {
  const build = addBuild(terminal, app);
  terminal.store.builds.start(build.id);
  terminal.store.builds.setStage(build.id, 'build');
  terminal.logs.append(build.id, output);
  terminal.logs.end(build.id);
  if (state === 'succeeded') terminal.store.builds.setRelease(build.id, 3);
  terminal.store.builds.finish(build.id, { state, ...(state === 'failed' && { reason: 'COPY failed\u001b[2J' }) });
  return terminal.store.builds.get(build.id);
}

/** "3 ms" and such differ from run to run. */
function withoutTimes(text: string): string {
  return text.replace(/ +\d+ ms/g, ' TIME');
}

test('builds list tells of each build what came of it', async (t) => {
  const terminal = new Terminal(t);
  terminal.deployed('blog');
  finished(terminal, 'blog', 'succeeded', '');
  finished(terminal, 'blog', 'failed', '');
  addBuild(terminal, 'blog', 'c');
  const { stdout } = await terminal.type('builds blog');
  assert.equal(
    withoutTimes(stdout)
      .replace(/ +TOOK/, ' TOOK')
      .replace(/queue +-/, 'queue -'),
    `BUILD  SOURCE   STATE TOOK  BY   WHEN      RESULT
    3  ccccccc  waiting, number 1 in the queue -  bob  just now  -
    2  aaaaaaa  failed TIME  bob  just now  COPY failed?[2J
    1  aaaaaaa  succeeded TIME  bob  just now  v3
`,
  );
  assert.equal(JSON.parse((await terminal.type('builds list blog --json -n 2')).stdout).length, 2);
});

test('builds list --json has the documented fields', async (t) => {
  const terminal = new Terminal(t);
  terminal.deployed('blog');
  const build = finished(terminal, 'blog', 'failed', '');
  const [row] = JSON.parse((await terminal.type('builds list blog --json')).stdout);
  assert.deepEqual(row, {
    number: 1,
    sha: 'a'.repeat(40),
    branch: 'main',
    source: { kind: 'commit', sha: 'a'.repeat(40), ref: 'refs/heads/main' },
    note: null,
    state: 'failed',
    stage: 'build',
    reason: 'COPY failed\u001b[2J',
    release: null,
    supersededBy: null,
    by: 'bob',
    createdAt: new Date(build.createdAt).toISOString(),
    startedAt: new Date(build.startedAt!).toISOString(),
    finishedAt: new Date(build.finishedAt!).toISOString(),
  });
  const help = (await terminal.type('builds list --help')).stdout.replace(/\s+/g, ' ');
  for (const field of Object.keys(row)) assert.match(help, new RegExp(`[:,] ${field}\\b`));
});

test('builds show', async (t) => {
  const terminal = new Terminal(t);
  terminal.deployed('blog');
  finished(terminal, 'blog', 'failed', '');
  assert.equal(
    withoutTimes((await terminal.type('builds show blog')).stdout),
    `Build:       1 of blog
Source:      commit ${'a'.repeat(40)}
Branch:      main
State:       failed
Failed in:   build
Reason:      COPY failed?[2J
Pushed by:   bob
When:        just now
Took: TIME
Output:      dinp builds log blog 1
`,
  );
  assert.deepEqual(
    await terminal.type('builds show blog 9'),
    failed(1, 'error: blog has no build 9.\nhint:  dinp builds list blog shows those there are.\n'),
  );
  assert.deepEqual(
    await terminal.type('builds show blog first'),
    failed(2, 'error: "first" is no number of a build.\nhint:  Type it like 3.\n'),
  );
});

test('builds log prints the output without what could harm a terminal', async (t) => {
  const terminal = new Terminal(t);
  terminal.deployed('blog');
  finished(
    terminal,
    'blog',
    'failed',
    '-----> Building\n       \u001b[32mgreen\u001b[0m\ttab \u202eevil\r\n       é unfinished',
  );
  assert.deepEqual(await terminal.type('builds log blog'), {
    ...ok('-----> Building\n       green\ttab ?evil\n       é unfinished\n'),
    stderr: fromServer(1),
  });
});

test('builds log of a running build ends; with -f it goes on, and ends with the result', async (t) => {
  const terminal = new Terminal(t);
  terminal.deployed('blog');
  for (const [state, status] of [
    ['succeeded', 0],
    ['failed', 1],
  ] as const) {
    const build = addBuild(terminal, 'blog');
    terminal.logs.append(build.id, '-----> one\n');
    const stderr = fromServer(build.number);
    assert.deepEqual(await terminal.type('builds log blog'), { ...ok('-----> one\n'), stderr });
    let seen: (() => void) | undefined;
    const firstLine = new Promise<void>((resolve) => {
      seen = resolve;
    });
    const following = terminal.type('builds log blog -f', {
      onOutput: (text) => text.includes('one') && seen!(),
    });
    await firstLine;
    terminal.logs.append(build.id, '-----> two\n');
    terminal.store.builds.finish(build.id, { state });
    terminal.logs.end(build.id);
    assert.deepEqual(await following, { status, stdout: '-----> one\n-----> two\n', stderr });
  }
});

test('builds log reads what the registry keeps where this server has no log, and says so', async (t) => {
  const terminal = new Terminal(t);
  terminal.deployed('blog');
  const build = finished(terminal, 'blog', 'succeeded', 'here\n');
  terminal.logs.remove(build.id);
  assert.match((await terminal.type('builds log blog')).stderr, /no build's log/);
  const kept = { log: Buffer.from('there\u001b[2J\n'), image: 'registry/blog@sha256:11', app: 'blog', build: '1' };
  terminal.keptLogs.set('blog:b1', kept).set('blog:main', kept).set('shop:main', kept);
  const printed = {
    status: 0,
    stdout: 'there\n',
    stderr: 'Log of build 1 of blog, from the registry: registry/blog@sha256:11\n',
  };
  assert.deepEqual(await terminal.type('builds log blog 1'), printed);
  assert.deepEqual(await terminal.type('builds log --image blog:main'), printed);
  const bob = deployer('bob', 'blog');
  assert.deepEqual(await terminal.type('builds log --image blog:main', { as: bob }), printed);
  assert.match((await terminal.type('builds log --image shop:main', { as: bob })).stderr, /"shop" is no app of yours/);
  assert.match((await terminal.type('builds log')).stderr, /<app> is missing/);
  assert.match((await terminal.type('builds log blog --image blog:main')).stderr, /cannot be together/);
});

test('builds cancel ends the one that runs; of several it asks which', async (t) => {
  const terminal = new Terminal(t);
  const app = terminal.deployed('blog');
  const push = (sha: string) =>
    terminal.queue.submit({
      appId: app.id,
      source: { kind: 'commit', sha: sha.repeat(40), ref: 'refs/heads/main' },
      noCache: false,
      by: 'bob',
    });
  assert.deepEqual(await terminal.type('builds cancel blog'), failed(1, 'error: no build of blog waits or runs.\n'));
  push('a');
  push('b');
  assert.deepEqual(
    await terminal.type('builds cancel blog'),
    failed(
      2,
      `error: 2 builds of blog wait or run.
hint:  Say which:
  dinp builds cancel blog 1   (running)
  dinp builds cancel blog 2   (waiting, number 1 in the queue)
`,
    ),
  );
  assert.deepEqual(await terminal.type('builds cancel blog 2'), ok('Canceled build 2 of blog.\n'));
  assert.deepEqual(await terminal.type('builds cancel blog'), ok('Canceled build 1 of blog.\n'));
  assert.deepEqual(
    terminal.store.builds.list(app.id, 9).map((build) => build.state),
    ['canceled', 'canceled'],
  );
  assert.deepEqual(
    await terminal.type('builds cancel blog 1'),
    failed(1, 'error: build 1 of blog is over: canceled.\n'),
  );
});
