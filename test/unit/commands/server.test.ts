import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { BaseState } from '../../../src/image/bases/bases.ts';
import { deployer, process, Terminal } from './terminal.ts';

const ok = (stdout: string) => ({ status: 0, stdout, stderr: '' });
const failed = (status: number, stderr: string) => ({ status, stdout: '', stderr });

test('plain ssh says who one is and what to type', async (t) => {
  const terminal = new Terminal(t);
  terminal.deployed('blog');
  terminal.deployed('shop');
  assert.deepEqual(
    await terminal.type('', { as: deployer('bob', 'shop'), program: 'ssh -p 2222 dinp@example.org' }),
    ok(`You are bob, a deployer of shop.

APP   RELEASE  ADDRESS
shop  v1       http://shop.localhost

To deploy, in your repository:
  git remote add dinp ssh://dinp@example.org:2222/shop
  git push dinp main

All commands:
  ssh -p 2222 dinp@example.org help
`),
  );
  assert.match((await terminal.type('')).stdout, /^You are root, an admin\.\n\nAPP /);
});

test('whoami, status and version', async (t) => {
  const terminal = new Terminal(t);
  terminal.deployed('blog');
  assert.deepEqual(
    await terminal.type('whoami', { as: deployer('bob', 'blog') }),
    ok(`Name:  bob
Role:  deployer: pushes to, reads and operates the apps below
Key:   SHA256:test
Apps:  blog
`),
  );
  assert.deepEqual(
    await terminal.type('status'),
    ok(`PART    STATE  DETAIL
server  ok     dinp 1.2.3, ssh port 2222, data in /var/lib/dinp
engine  ok     docker 27.0
`),
  );
  terminal.target.engineOk = false;
  assert.equal((await terminal.type('status --json')).status, 1);
  assert.deepEqual(await terminal.type('version'), ok('dinp 1.2.3\n'));
});

test('units show', async (t) => {
  const terminal = new Terminal(t);
  terminal.deployed('blog');
  assert.deepEqual(
    await terminal.type('units blog --release v1 --target fleet'),
    ok(`# dinp-blog--web--v1--1.service
[Unit]
Description=fleet

# dinp-blog--worker--v1--1.service
[Unit]
Description=fleet
`),
  );
  assert.match((await terminal.type('units blog')).stdout, /Description=systemd\n/);
  assert.deepEqual(
    await terminal.type('units blog --target systemd --secrets'),
    ok('# /etc/systemd/blog.env\nA=hush\n'),
  );
});

test('volumes are listed, and removed only from a stopped app and on confirmation', async (t) => {
  const terminal = new Terminal(t);
  const app = terminal.deployed('blog', [process('web', { volumes: { uploads: '/data' } })]);
  assert.deepEqual(
    await terminal.type('volumes blog'),
    ok("VOLUME   PATH   PROCESS  ENGINE'S NAME\nuploads  /data  web      dinp-blog-uploads\n"),
  );
  assert.deepEqual(
    await terminal.type('volumes remove blog uploads'),
    failed(
      2,
      'error: removing uploads removes all data in it for good.\nhint:  If you mean it:  dinp volumes remove blog uploads --confirm uploads\n',
    ),
  );
  const meant = 'volumes remove blog uploads --confirm uploads';
  assert.deepEqual(
    await terminal.type(meant),
    failed(1, 'error: blog runs and uses uploads.\nhint:  Stop it first:  dinp stop blog\n'),
  );
  terminal.store.apps.setStopped(app.id, true);
  assert.deepEqual(await terminal.type(meant), ok('Removed uploads of blog and its data.\n'));
  assert.deepEqual(terminal.target.calls, [['removeVolume', 'dinp-blog-uploads']]);
});

test('bases list, check, build, sync and load', async (t) => {
  const terminal = new Terminal(t);
  const base = (name: string, digest: string | undefined): BaseState => ({
    name,
    image: `r/${name}:1`,
    for: [name],
    into: undefined,
    port: undefined,
    when: undefined,
    version: undefined,
    from: `hub/${name}`,
    buildable: true,
    repository: `r/${name}`,
    digest,
    problem: digest === undefined ? `r/${name}:1 is not in the registry` : undefined,
    pinned: undefined,
    remedies: digest === undefined ? [`bases build ${name}`, `bases load ${name} FILE`] : [],
  });
  terminal.baseVersions.set('static', '3.11');
  terminal.bases.push(base('glibc', undefined), { ...base('static', 'sha256:1'), version: '3.10' });
  assert.deepEqual(
    await terminal.type('bases'),
    ok(
      'BASE    FOR     WHEN  VERSION  IMAGE\nglibc   glibc                  r/glibc:1\nstatic  static        3.11     r/static:1\n',
    ),
  );
  assert.deepEqual(await terminal.type('bases check'), {
    status: 1,
    stdout:
      'BASE    STATE    VERSION  DETAIL\nglibc   missing           r/glibc:1 is not in the registry\nstatic  ready    3.10     sha256:1\n',
    stderr: 'What to type:\n  glibc: dinp bases build glibc   (or dinp bases load glibc FILE)\n',
  });
  assert.equal((await terminal.type('bases check static')).status, 0);
  terminal.bases.push({ ...base('jre17', 'sha256:2'), pinned: 'sha256:1', remedies: ['bases sync jre17'] });
  assert.deepEqual(await terminal.type('bases check jre17'), {
    status: 1,
    stdout:
      'BASE   STATE    VERSION  DETAIL\njre17  changed           sha256:2; dinp put sha256:1 there, and someone has pushed another since\n',
    stderr: 'What to type:\n  jre17: dinp bases sync jre17\n',
  });
  assert.deepEqual(
    await terminal.type('bases sync jre17'),
    ok(
      '-----> Copying the base jre17 from hub/jre17\n       50 % of 9 MB\n       100 % of 9 MB\n' +
        'Copied jre17: r/jre17:1 sha256:22 (hub/jre17:1)\n',
    ),
  );
  assert.deepEqual(
    await terminal.type('bases load jre17 --image mine', { stdin: 'TAR' }),
    ok('-----> Loading the base jre17\nLoaded jre17: r/jre17:1 sha256:jre17-mine-TAR\n'),
  );
  assert.deepEqual(
    await terminal.type('bases build static'),
    ok('-----> Building the base static\n       unpacking static\nBuilt static: r/static:1 sha256:11\n'),
  );
  assert.deepEqual(
    await terminal.type('bases build sttaic'),
    failed(1, 'error: the catalogue has no base "sttaic".\nhint:  Did you mean static?\n'),
  );
});
