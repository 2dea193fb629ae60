import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { parseCommand } from '../../../src/commands/registry.ts';
import { until } from '../../support/until.ts';
import { deployer, Terminal } from './terminal.ts';

const sha256 = (text: string) => createHash('sha256').update(text).digest('hex');
const withoutTimes = (text: string) => text.replace(/ in \d+ ms/, ' in TIME');
const TAG = `up-${sha256('a program').slice(0, 12)}`;

test('deploy takes what comes in, keeps it and queues a build of it', async (t) => {
  const terminal = new Terminal(t);
  const app = terminal.deployed('blog');
  const printed = await terminal.type(['deploy', 'blog', 'dist/server', '-m', 'with a search', '--detach'], {
    stdin: 'a program',
  });
  assert.deepEqual(
    { ...printed, stdout: withoutTimes(printed.stdout) },
    {
      status: 0,
      stdout: `-----> Receiving server
       9 bytes in TIME, SHA-256 ${sha256('a program').slice(0, 12)}…
Build #1 goes on by itself. To read it: dinp builds log blog 1 -f
`,
      stderr: '',
    },
  );
  const build = terminal.store.builds.findLatest(app.id)!;
  assert.deepEqual(build.source, { kind: 'upload', sha256: sha256('a program'), filename: 'server' });
  assert.deepEqual([build.note, build.by], ['with a search', 'root']);
  assert.equal(readFileSync(terminal.uploads.path(app, sha256('a program')), 'utf8'), 'a program');
});

test('deploy watches the build, whose end is its own', async (t) => {
  for (const [state, status] of [
    ['succeeded', 0],
    ['failed', 1],
  ] as const) {
    const terminal = new Terminal(t);
    const app = terminal.deployed('blog');
    const { promise: begun, resolve } = Promise.withResolvers<void>();
    const typed = terminal.type('deploy blog --force', {
      stdin: 'a program',
      onOutput: (text) => text.includes('one') && resolve(),
    });
    const build = await until('the build is there', () => {
      const latest = terminal.store.builds.findLatest(app.id);
      return latest?.state === 'running' ? latest : undefined;
    });
    terminal.logs.append(build.id, '-----> one\u001b[31m\n');
    await begun;
    terminal.logs.append(build.id, 'the end');
    terminal.store.builds.finish(build.id, { state });
    terminal.logs.end(build.id);
    const printed = await typed;
    assert.equal(printed.status, status);
    assert.match(printed.stdout, /\n-----> one\nthe end\n$/);
  }
});

test('the same bytes are not deployed twice: they are live, or on their way', async (t) => {
  const terminal = new Terminal(t);
  const app = terminal.deployed('blog');
  assert.equal((await terminal.type('deploy blog --detach', { stdin: 'a program' })).status, 0);
  const joined = await terminal.type('deploy blog --detach', { stdin: 'a program' });
  assert.match(joined.stdout, new RegExp(`Joining build #1 of ${TAG}, which is under way already\\.\n`));
  const other = await terminal.type('deploy blog --detach', { stdin: 'another' });
  assert.match(other.stdout, /Build #2 goes on/);
  await terminal.queue.cancel(terminal.store.builds.find(app.id, 2)!.id, 'test');
  await terminal.queue.cancel(terminal.store.builds.find(app.id, 1)!.id, 'test');
  const release = terminal.store.releases.create({
    ...terminal.store.releases.find(app.id, 1)!,
    source: { kind: 'upload', sha256: sha256('a program'), filename: 'x' },
  });
  terminal.store.releases.makeLive(release);
  const live = await terminal.type('deploy blog', { stdin: 'a program' });
  assert.equal(live.status, 0);
  assert.match(live.stdout, new RegExp(`\n${TAG} is live as v2 {2}http://blog\\.localhost\n$`));
  // Another base makes another image.
  terminal.bases.push({ name: 'plain', image: 'x', for: ['plain'], buildable: true } as (typeof terminal.bases)[0]);
  assert.match((await terminal.type('deploy blog --base plain --detach', { stdin: 'a program' })).stdout, /Build #3/);
});

test('an image with a digest is deployed once, one with a tag whenever it is asked for', async (t) => {
  const terminal = new Terminal(t);
  const app = terminal.deployed('blog');
  const image = `registry.example.com/shop@sha256:${'a'.repeat(64)}`;
  assert.equal((await terminal.type(`deploy blog ${image} --detach`)).status, 0);
  assert.match((await terminal.type(`deploy blog ${image} --detach`)).stdout, /^Joining build #1 of registry/);
  assert.equal((await terminal.type('deploy blog nginx:1.27 --detach')).status, 0);
  assert.equal((await terminal.type('deploy blog nginx:1.27 --detach')).status, 0);
  assert.equal((await terminal.type('deploy blog nginx --image --detach')).status, 0);
  assert.deepEqual(
    terminal.store.builds.list(app.id, 9).map((build) => build.source.kind === 'image' && build.source.reference),
    ['nginx', 'nginx:1.27', 'nginx:1.27', image],
  );
});

test('an unknown app is made by admins, when its artifact is there; deployers have their own', async (t) => {
  const terminal = new Terminal(t);
  terminal.deployed('blog');
  const bob = { as: deployer('bob', 'blog'), stdin: 'a program' };
  assert.equal((await terminal.type('deploy blog --detach', bob)).status, 0);
  for (const name of ['shop', 'New_App']) {
    const { status, stderr } = await terminal.type(`deploy ${name}`, bob);
    assert.deepEqual(
      [status, stderr.split('\n')[0]],
      [1, `error: "${name}" is no app of yours; you are bob, a deployer of blog.`],
    );
  }
  const empty = await terminal.type('deploy shop', { stdin: '' });
  assert.deepEqual([empty.status, empty.stderr], [1, 'error: nothing came: it is empty.\n']);
  assert.equal(terminal.store.apps.find('shop'), undefined);
  const bad = await terminal.type('deploy New_App', { stdin: 'a program' });
  assert.deepEqual([bad.status, bad.stdout], [2, '']);
  assert.equal((await terminal.type('deploy shop --detach', { stdin: 'a program' })).status, 0);
  assert.ok(terminal.store.apps.find('shop'));
});

test('deploy refuses before it reads what it would refuse after', async (t) => {
  const terminal = new Terminal(t);
  const app = terminal.deployed('blog');
  terminal.store.apps.setDeploys(app.id, false);
  const off = await terminal.type('deploy blog', { stdin: 'x', program: 'ssh dinp@host' });
  assert.deepEqual(off, {
    status: 1,
    stdout: '',
    stderr: 'error: deploys of blog are off.\nhint:  To turn them on: ssh dinp@host apps set blog --deploys on\n',
  });
  terminal.store.apps.setDeploys(app.id, true);
  for (const [line, error] of [
    ['deploy blog --base nothing', /no base "nothing"/],
    ['deploy blog --sha256 abc', /64 hexadecimal digits/],
    ['deploy blog nginx:1 --base plain', /--base is for files/],
    [`deploy blog nginx:1 --sha256 ${'a'.repeat(64)}`, /pinned by its digest/],
    ['deploy blog registry.example.com/shop', /may be a file or an image/],
    ['deploy blog ftp://a/b', /http and https only/],
    ['deploy blog http://[::1]:1/a', /::1 is this server itself/],
    ['deploy blog http://169.254.169.254/latest', /a cloud's metadata service/],
    ['deploy', /<app> is missing/],
  ] as const) {
    const printed = await terminal.type(line, { stdin: 'x' });
    assert.notEqual(printed.status, 0, line);
    assert.match(printed.stderr, error, line);
  }
  const large = await terminal.type('deploy blog', { stdin: 'x'.repeat(1001) });
  assert.match(large.stderr, /^error: it is larger than 1\.0 kB\./);
  const none = await terminal.type('deploy blog');
  assert.match(none.stderr, /^error: the artifact is read from standard input, and there is none\.\n/);
  assert.deepEqual(terminal.store.builds.list(app.id, 9), []);
  assert.deepEqual(terminal.uploads.list(app), []);
});

test('what the program reads for it is told by the words alone', () => {
  const inputOf = (...argv: string[]) => {
    const parsed = parseCommand(argv, { program: 'dinp', columns: undefined });
    return parsed.kind === 'run' ? parsed.input : undefined;
  };
  assert.deepEqual(inputOf('deploy', 'blog', 'app.war'), { kind: 'file', path: 'app.war' });
  assert.equal(inputOf('deploy', 'blog')?.kind, 'piped');
  assert.equal(inputOf('deploy', 'blog', '-')?.kind, 'piped');
  assert.equal(inputOf('deploy', 'blog', 'https://example.org/app.war')?.kind, 'none');
  assert.equal(inputOf('deploy', 'blog', 'nginx:1')?.kind, 'none');
  assert.equal(inputOf('deploy', 'blog', 'nginx', '--image')?.kind, 'none');
});
