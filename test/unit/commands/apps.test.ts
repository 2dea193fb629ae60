import assert from 'node:assert/strict';
import { test } from 'node:test';
import { deployer, process, Terminal } from './terminal.ts';

const ok = (stdout: string) => ({ status: 0, stdout, stderr: '' });
const failed = (status: number, stderr: string) => ({ status, stdout: '', stderr });

test('apps list without apps says how to push one', async (t) => {
  const terminal = new Terminal(t);
  assert.deepEqual(
    await terminal.type('apps list'),
    ok(`There are no apps yet. Push one:
  git remote add dinp ssh://dinp@example.org:2222/APP
  git push dinp HEAD:main
`),
  );
  assert.deepEqual(await terminal.type('apps list --json'), ok('[]\n'));
});

test('apps list shows what runs where, to deployers only what is theirs', async (t) => {
  const terminal = new Terminal(t);
  terminal.deployed('blog');
  const shop = terminal.deployed('shop');
  terminal.store.apps.setStopped(shop.id, true);
  terminal.store.apps.create('a-new-one');
  assert.deepEqual(
    await terminal.type('apps'),
    ok(`APP        RELEASE  STATE           BRANCH  ADDRESS
a-new-one  -        no release yet  -       -
blog       v1       live            main    http://blog.localhost
shop       v1       stopped         main    http://shop.localhost
`),
  );
  assert.deepEqual(
    await terminal.type('apps list', { as: deployer('bob', 'shop') }),
    ok(`APP   RELEASE  STATE    BRANCH  ADDRESS
shop  v1       stopped  main    http://shop.localhost
`),
  );
});

test('apps list --json has the documented fields and no others', async (t) => {
  const terminal = new Terminal(t);
  const { createdAt } = terminal.deployed('blog');
  const { stdout } = await terminal.type('apps list --json');
  assert.deepEqual(JSON.parse(stdout), [
    {
      name: 'blog',
      state: 'live',
      release: 1,
      deployBranch: 'main',
      deploys: true,
      target: 'docker',
      addresses: ['http://blog.localhost'],
      createdAt: new Date(createdAt).toISOString(),
    },
  ]);
  const help = (await terminal.type('help apps list')).stdout.replace(/\s+/g, ' ');
  assert.match(help, new RegExp(`JSON: ${Object.keys(JSON.parse(stdout)[0]).join(', ')} `));
});

test('apps info', async (t) => {
  const terminal = new Terminal(t);
  const app = terminal.deployed('blog', [process('web', { instances: 2 }), process('worker')]);
  terminal.branches = ['main', 'wip'];
  terminal.store.builds.create({
    appId: app.id,
    source: { kind: 'commit', sha: 'f'.repeat(40), ref: 'refs/heads/main' },
    noCache: false,
    by: 'bob',
  });
  assert.deepEqual(
    await terminal.type('apps info blog'),
    ok(`App:             blog
Address:         http://blog.localhost
Git remote:      ssh://dinp@example.org:2222/blog
State:           live
Live release:    v1 of 0123456, just now by alice
Building:        build 1 of fffffff, waiting
Processes:       web 2, worker 1
Deploy branch:   main
Other branches:  wip
Target:          docker
Created:         just now
`),
  );
});

test('apps create says what to type next, and refuses names that are taken or cannot be', async (t) => {
  const terminal = new Terminal(t);
  assert.deepEqual(
    await terminal.type('apps create blog'),
    ok(`Created blog. Push to it:
  git remote add dinp ssh://dinp@example.org:2222/blog
  git push dinp HEAD:main
`),
  );
  assert.deepEqual(
    await terminal.type('apps create blog'),
    failed(1, 'error: there is an app "blog" already.\nhint:  dinp apps info blog tells about it.\n'),
  );
  assert.deepEqual(
    await terminal.type('apps create My_Blog'),
    failed(
      2,
      'error: "My_Blog" cannot be an app name: only lower-case letters, digits and single hyphens between them are allowed.\nhint:  Use my-blog instead.\n',
    ),
  );
  assert.deepEqual(terminal.operations.calls, [['createApp', 'blog']]);
});

test('apps rename', async (t) => {
  const terminal = new Terminal(t);
  terminal.deployed('blog');
  assert.deepEqual(
    await terminal.type('apps rename blog journal'),
    ok('Renamed blog to journal. In clones of it:\n  git remote set-url dinp ssh://dinp@example.org:2222/journal\n'),
  );
  assert.deepEqual(terminal.operations.calls, [['renameApp', 'blog', 'journal']]);
});

test('apps set changes branch, deploys and target at once, or nothing', async (t) => {
  const terminal = new Terminal(t);
  terminal.deployed('blog');
  terminal.branches = ['main', 'release'];
  assert.deepEqual(
    await terminal.type('apps set blog --branch release --deploys off --target systemd'),
    ok('Pushes to release deploy blog.\nPushes are stored; nothing is built.\nThe next release runs on systemd.\n'),
  );
  const app = terminal.store.apps.find('blog')!;
  assert.deepEqual([app.deployBranch, app.deploys, app.target], ['release', false, 'systemd']);
  assert.deepEqual(
    await terminal.type('apps set blog --branch relaese'),
    ok('Pushes to relaese deploy blog; nobody has pushed it yet.\n'),
  );
  assert.deepEqual(
    await terminal.type('apps set blog'),
    failed(
      2,
      'error: nothing to set.\nhint:  dinp apps set blog --branch main, --deploys on|off, --target docker|systemd|emit\n',
    ),
  );
  assert.deepEqual(
    await terminal.type('apps set blog --target dokcer'),
    failed(2, 'error: there is no target "dokcer".\nhint:  Did you mean docker?\n'),
  );
});

test('apps destroy asks for the name once more and says what is lost', async (t) => {
  const terminal = new Terminal(t);
  terminal.deployed('blog', [process('web', { volumes: { uploads: '/data' } })]);
  assert.deepEqual(
    await terminal.type('apps destroy blog'),
    failed(
      2,
      'error: destroying blog stops it and removes its repository, 1 release and its config for good. The data in uploads stays; --volumes removes it.\nhint:  If you mean it:  dinp apps destroy blog --confirm blog\n',
    ),
  );
  assert.deepEqual(
    await terminal.type('apps destroy blog --confirm shop --volumes'),
    failed(
      2,
      'error: --confirm says "shop", but the app is "blog".\nhint:  If you mean it:  dinp apps destroy blog --confirm blog --volumes\n',
    ),
  );
  assert.deepEqual(terminal.operations.calls, []);
  assert.deepEqual(await terminal.type('apps destroy blog --confirm blog --volumes'), ok('Destroyed blog.\n'));
  assert.deepEqual(terminal.operations.calls, [['destroyApp', 'blog', { volumes: true }]]);
});

test('an unknown app gets the nearest name in the command that was typed', async (t) => {
  const terminal = new Terminal(t);
  terminal.deployed('blog');
  assert.deepEqual(
    await terminal.type('logs blgo -f', { program: 'ssh -p 2222 dinp@example.org' }),
    failed(1, 'error: no app is called "blgo".\nhint:  Did you mean:  ssh -p 2222 dinp@example.org logs blog -f\n'),
  );
  assert.deepEqual(
    await terminal.type('logs something-else'),
    failed(1, 'error: no app is called "something-else".\nhint:  dinp apps list shows the 1 app there is.\n'),
  );
  assert.deepEqual(
    await terminal.type(['ps', 'bl\u001b[31mog']),
    failed(1, 'error: no app is called "bl?[31mog".\nhint:  dinp apps list shows the 1 app there is.\n'),
  );
});

test('deployers are told who they are, and not whether apps of others exist', async (t) => {
  const terminal = new Terminal(t);
  terminal.deployed('blog');
  terminal.deployed('shop');
  terminal.store.keys.add({ name: 'carol', fingerprint: 'SHA256:c', publicKey: 'k', role: 'admin', apps: [] });
  const bob = deployer('bob', 'blog');
  const denied = (app: string) =>
    failed(
      1,
      `error: "${app}" is no app of yours; you are bob, a deployer of blog.\nhint:  Ask an admin (carol) to type:  dinp keys grant bob ${app}\n`,
    );
  assert.deepEqual(await terminal.type('ps shop', { as: bob }), denied('shop'));
  assert.deepEqual(await terminal.type('ps not-there', { as: bob }), denied('not-there'));
  assert.deepEqual(
    await terminal.type('apps destroy blog --confirm blog', { as: bob }),
    failed(1, 'error: only admins may do that; you are bob, a deployer of blog.\nhint:  Ask an admin (carol).\n'),
  );
  assert.deepEqual(terminal.operations.calls, []);
});

test('every command that names an app is closed to a deployer of another app', async (t) => {
  const terminal = new Terminal(t);
  terminal.deployed('blog', [process('web', { volumes: { uploads: '/data' } })]);
  for (const line of [
    'apps info blog',
    'apps rename blog mine',
    'apps set blog --deploys off',
    'apps destroy blog --confirm blog',
    'apps create mine',
    'builds list blog',
    'builds show blog',
    'builds log blog',
    'builds cancel blog',
    'releases list blog',
    'releases show blog',
    'releases rollback blog',
    'rollback blog',
    'config list blog',
    'config set blog A=1',
    'config unset blog A',
    'ps blog',
    'scale blog web=2',
    'restart blog',
    'stop blog',
    'start blog',
    'logs blog',
    'run blog ls',
    'units show blog',
    'volumes list blog',
    'volumes remove blog uploads --confirm uploads',
    'keys list',
    'keys add x --role admin',
    'keys show x',
    'keys remove x',
    'keys grant mallory blog',
    'bases list',
    'bases check',
    'bases build static',
    'status',
  ]) {
    const { status, stdout, stderr } = await terminal.type(line, { as: deployer('mallory', 'other'), stdin: '' });
    assert.deepEqual([line, status, stdout], [line, 1, '']);
    assert.match(stderr, /^error: ("blog" is no app of yours|only admins may do that); you are mallory/, line);
  }
  assert.deepEqual([terminal.operations.calls, terminal.target.calls], [[], []]);
});
