import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DinpError } from '../../../src/domain/errors.ts';
import { deployer, process, Terminal } from './terminal.ts';

const listOf = async (terminal: Terminal, app = '') =>
  (JSON.parse((await terminal.type(`domains list ${app} --json`)).stdout) as { name: string }[]).map(
    ({ name }) => name,
  );

test('host names are added at once, in the form that DNS has, and listed with where they come from', async (context) => {
  const terminal = new Terminal(context);
  const shop = terminal.deployed('shop');
  terminal.release(shop, [process('web')], ['shop.example.net']);
  const { status, stdout } = await terminal.type('domains add shop WWW.Bücher.example *.example.com');
  assert.equal(status, 0);
  assert.equal(stdout, 'shop is reached at http://*.example.com and https://www.xn--bcher-kva.example\n');
  assert.deepEqual(terminal.renewed, ['shop']);
  assert.match(
    (await terminal.type('domains shop')).stdout,
    new RegExp(
      [
        '^APP +HOST +FROM +ADDRESS',
        'shop +shop\\.apps\\.example\\.org +server +https://shop\\.apps\\.example\\.org',
        'shop +\\*\\.example\\.com +added +http://\\*\\.example\\.com',
        'shop +www\\.xn--bcher-kva\\.example +added +https://www\\.xn--bcher-kva\\.example',
        'shop +shop\\.example\\.net +dinp\\.yml +https://shop\\.example\\.net\\n$',
      ].join('\\n'),
    ),
  );
});

test('they outlive releases; those of dinp.yml come and go with it', async (context) => {
  const terminal = new Terminal(context);
  const shop = terminal.deployed('shop');
  await terminal.type('domains add shop www.example.com both.example.com');
  terminal.release(shop, [process('web')], ['both.example.com', 'yml.example.com']);
  terminal.release(shop);
  assert.deepEqual(await listOf(terminal, 'shop'), ['shop.apps.example.org', 'both.example.com', 'www.example.com']);
  terminal.release(shop, [process('web')], ['both.example.com']);
  const { stdout } = await terminal.type('domains remove shop both.example.com');
  assert.match(stdout, /both\.example\.com stays: the dinp\.yml/);
  assert.deepEqual(await listOf(terminal, 'shop'), ['shop.apps.example.org', 'www.example.com', 'both.example.com']);
  terminal.release(shop);
  assert.deepEqual(await listOf(terminal, 'shop'), ['shop.apps.example.org', 'www.example.com']);
});

test('before the first release they are kept for it, and apps info shows them', async (context) => {
  const terminal = new Terminal(context);
  terminal.store.apps.create('shop');
  const { stdout } = await terminal.type('domains add shop www.example.com');
  assert.equal(stdout, 'shop will be reached at https://www.example.com\n');
  assert.match(
    (await terminal.type('apps info shop')).stdout,
    /Domains: +shop\.apps\.example\.org\n +www\.example\.com/,
  );
});

test('what cannot be is refused and changes nothing', async (context) => {
  const terminal = new Terminal(context);
  const shop = terminal.deployed('shop');
  terminal.release(shop, [process('web')], ['yml.example.com']);
  terminal.deployed('blog');
  await terminal.type('domains add blog www.example.com');
  const before = await listOf(terminal);
  for (const [line, message] of [
    ['domains add shop ok.example.com www.example.com', /is the address of blog already[\s\S]*domains remove blog www/],
    ['domains add blog yml.example.com', /is the address of shop already[\s\S]*dinp\.yml has it/],
    ['domains add shop x.apps.example.org', /under the server's own domain/],
    ['domains add shop https://www.example.net/', /Use www\.example\.net/],
    ['domains add shop 10.0.0.1', /IP address/],
    ['domains add shop', /<host> is missing/],
    ['domains remove shop yml.example.com', /is in the dinp\.yml of shop/],
    ['domains remove shop shop.apps.example.org', /every app has under the server's domain/],
    ['domains remove blog www.example.co', /has no domain www\.example\.co[\s\S]*Did you mean www\.example\.com\?/],
    ['domain shop', /Did you mean: {2}dinp domains shop/],
  ] as const) {
    const { status, stderr } = await terminal.type(line);
    assert.notEqual(status, 0, line);
    assert.match(stderr, message, line);
  }
  assert.deepEqual(await listOf(terminal), before);
});

test('a change that no router takes is undone', async (context) => {
  const terminal = new Terminal(context);
  terminal.deployed('shop');
  await terminal.type('domains add shop old.example.com');
  terminal.routeFailure = new DinpError('unavailable', 'Caddy does not answer.');
  assert.equal((await terminal.type('domains add shop new.example.com')).status, 1);
  assert.equal((await terminal.type('domains remove shop old.example.com')).status, 1);
  assert.deepEqual(await listOf(terminal, 'shop'), ['shop.apps.example.org', 'old.example.com']);
});

test('deployers see the names of their apps, and admins alone change them', async (context) => {
  const terminal = new Terminal(context);
  terminal.deployed('shop');
  terminal.deployed('blog');
  const bob = deployer('bob', 'shop');
  assert.doesNotMatch((await terminal.type('domains list', { as: bob })).stdout, /blog/);
  assert.match((await terminal.type('domains add shop a.example.com', { as: bob })).stderr, /only admins may/);
  assert.match((await terminal.type('domains list blog', { as: bob })).stderr, /no app of yours/);
});
