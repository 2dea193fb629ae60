import assert from 'node:assert/strict';
import { test } from 'node:test';
import { deployer, Terminal } from './terminal.ts';

test('a token is made, shown once, listed without its secret, and revoked', async (t) => {
  const terminal = new Terminal(t);
  const app = terminal.deployed('blog');
  const made = await terminal.type('tokens create blog --name ci --expires 90d');
  assert.match(made.stdout, /^dinp_[A-Za-z0-9_-]{32}\n$/);
  assert.match(made.stderr, /^It deploys blog, until \d{4}-\d\d-\d\d\. It is shown this once/);
  const secret = made.stdout.trim();
  const token = terminal.store.tokens.authenticate(secret)!;
  assert.deepEqual([token.app, token.name, token.by, token.usedAt], ['blog', 'ci', 'root', undefined]);
  assert.equal(Math.round((token.expiresAt! - Date.now()) / 86_400_000), 90);
  const list = await terminal.type('tokens');
  assert.match(
    list.stdout,
    /^APP +NAME +BY +MADE +EXPIRES +USED\nblog +ci +root +just now +\d{4}-\d\d-\d\d +just now\n$/,
  );
  const json = await terminal.type('tokens list blog --json');
  assert.deepEqual(Object.keys(JSON.parse(json.stdout)[0]), ['app', 'name', 'by', 'createdAt', 'expiresAt', 'usedAt']);
  assert.doesNotMatch(list.stdout + json.stdout, new RegExp(secret.slice(5)));
  const wrong = await terminal.type('tokens revoke blog cj');
  assert.deepEqual([wrong.status, wrong.stderr], [1, 'error: blog has no token "cj".\nhint:  Did you mean ci?\n']);
  assert.equal((await terminal.type('tokens revoke blog ci')).stdout, 'Revoked the token "ci" of blog.\n');
  assert.equal(terminal.store.tokens.authenticate(secret), undefined);
  assert.deepEqual(terminal.store.tokens.list(app.id), []);
});

test('only admins make tokens, with names and times that mean something', async (t) => {
  const terminal = new Terminal(t);
  terminal.deployed('blog');
  const bob = await terminal.type('tokens create blog', { as: deployer('bob', 'blog') });
  assert.match(bob.stderr, /^error: only admins may do that/);
  for (const line of [
    'tokens create blog --expires 90',
    'tokens create blog --expires 0d',
    'tokens create blog --name a/b',
  ])
    assert.equal((await terminal.type(line)).status, 2, line);
  assert.equal((await terminal.type('tokens create shop')).status, 1);
  assert.equal((await terminal.type('tokens create blog')).status, 0);
  assert.match((await terminal.type('tokens create blog')).stderr, /^error: blog has a token "deploy" already\./);
});

test('secrets that are none, expired or of a removed app open nothing', async (t) => {
  const terminal = new Terminal(t);
  const app = terminal.deployed('blog');
  const { tokens } = terminal.store;
  const make = (name: string, expiresAt?: number) => tokens.create({ appId: app.id, name, by: 'me', expiresAt }).secret;
  const good = make('good', Date.now() + 60_000);
  const over = make('over', Date.now() - 1);
  assert.equal(tokens.authenticate(good)?.name, 'good');
  for (const secret of [over, '', 'dinp_', good.slice(0, -1), `${good}x`, good.toUpperCase(), `dinp_${'A'.repeat(32)}`])
    assert.equal(tokens.authenticate(secret), undefined, secret);
  terminal.store.apps.rename(app.id, 'diary');
  assert.equal(tokens.authenticate(good)?.app, 'diary');
  terminal.store.apps.remove(app.id);
  assert.equal(tokens.authenticate(good), undefined);
});
