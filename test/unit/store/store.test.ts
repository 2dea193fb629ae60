import assert from 'node:assert/strict';
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { openDatabase } from '../../../src/store/database.ts';
import { ensureServerId } from '../../../src/store/meta.ts';
import { Store } from '../../../src/store/store.ts';
import { tempFolder } from '../../support/temp-folder.ts';

const folder = () => tempFolder();
const open = (file: string) => new Store(openDatabase(file));
const service = {
  service: 'shop',
  commit: 'a'.repeat(40),
  image: { repository: '127.0.0.1:5000/shop', digest: `sha256:${'1'.repeat(64)}` },
  contentKey: 'k',
  processes: [],
  env: { A: '1' },
  releaseCommand: ['migrate'],
};

function newRelease(appId: number) {
  return {
    appId,
    cause: 'deploy' as const,
    source: { kind: 'commit' as const, sha: service.commit, ref: 'refs/heads/main' },
    note: 'with a new logo',
    fromNumber: undefined,
    buildId: undefined,
    services: [service],
    target: 'docker',
    domains: [],
    keep: { days: 7 },
    hosts: ['web1', 'zone=b'],
    fleet: { MachineMetadata: ['zone=a'], spread: false },
    config: { SECRET: 'x' },
    by: 'me',
  };
}

test('the database is readable by its owner only and opens again as it was', () => {
  const file = join(folder(), 'dinp.db');
  const store = open(file);
  const app = store.apps.create('shop');
  store.apps.setDeployBranch(app.id, 'main');
  store.close();
  assert.equal(statSync(file).mode & 0o777, 0o600);
  assert.equal(open(file).apps.find('shop')?.deployBranch, 'main');
});

test('a database of a newer dinp is refused', () => {
  const file = join(folder(), 'dinp.db');
  const db = openDatabase(file);
  db.pragma('user_version = 999');
  db.close();
  assert.throws(() => openDatabase(file), /written by a newer dinp \(schema 999/);
});

test('the server id is made once', () => {
  const file = join(folder(), 'dinp.db');
  const first = ensureServerId(openDatabase(file));
  assert.match(first, /^[0-9a-f]{12}$/);
  assert.equal(ensureServerId(openDatabase(file)), first);
});

test('builds and releases are numbered within their app', () => {
  const store = open(join(folder(), 'dinp.db'));
  const [shop, blog] = [store.apps.create('shop'), store.apps.create('blog')];
  const build = (appId: number) =>
    store.builds.create({
      appId,
      source: { kind: 'commit', sha: 'a', ref: 'refs/heads/main' },
      noCache: false,
      by: 'me',
    });
  assert.deepEqual(
    [build(shop.id), build(blog.id), build(shop.id)].map(({ app, number }) => [app, number]),
    [
      ['shop', 1],
      ['blog', 1],
      ['shop', 2],
    ],
  );
  assert.deepEqual(
    [newRelease(shop.id), newRelease(blog.id), newRelease(shop.id)].map((each) => store.releases.create(each).number),
    [1, 1, 2],
  );
});

test('migrations are numbered without gaps: a database knows how many of them it has seen', () => {
  const names = readdirSync(join(import.meta.dirname, '../../../src/store/migrations')).sort();
  assert.deepEqual(
    names.map((name) => Number(name.slice(0, 3))),
    names.map((_, index) => index + 1),
  );
});

test('a release comes back as it was stored', () => {
  const store = open(join(folder(), 'dinp.db'));
  const app = store.apps.create('shop');
  const { id: _id, createdAt: _createdAt, ...release } = store.releases.create(newRelease(app.id));
  assert.deepEqual(release, { ...newRelease(app.id), app: 'shop', number: 1, state: 'pending' });
});

test('one release of an app is live at a time', () => {
  const store = open(join(folder(), 'dinp.db'));
  const app = store.apps.create('shop');
  for (const release of [store.releases.create(newRelease(app.id)), store.releases.create(newRelease(app.id))])
    store.releases.makeLive(release);
  assert.deepEqual(
    store.releases.list(app.id, 9).map(({ number, state }) => [number, state]),
    [
      [2, 'live'],
      [1, 'past'],
    ],
  );
  assert.equal(store.apps.find('shop')?.liveRelease, 2);
});

test('a failed rollout does not touch a release that went live meanwhile', () => {
  const store = open(join(folder(), 'dinp.db'));
  const app = store.apps.create('shop');
  const release = store.releases.create(newRelease(app.id));
  store.releases.makeLive(release);
  store.releases.fail(release);
  assert.equal(store.releases.find(app.id, 1)?.state, 'live');
});

test('removing an app removes all that is its own', () => {
  const store = open(join(folder(), 'dinp.db'));
  const app = store.apps.create('shop');
  store.config.change(app.id, { A: '1' });
  store.ports.take(app.id, 'dinp-shop--web--v1--1', 22000);
  store.keys.add({
    name: 'dev',
    fingerprint: 'SHA256:x',
    publicKey: 'ssh-ed25519 x',
    role: 'deployer',
    apps: ['shop'],
  });
  store.releases.makeLive(store.releases.create({ ...newRelease(app.id), domains: ['shop.example.com'] }));
  store.apps.remove(app.id);
  assert.deepEqual(store.keys.find('dev')?.apps, []);
  assert.equal(store.ports.taken().size, 0);
  assert.equal(store.domains.findOwner('shop.example.com'), undefined);
  const again = store.apps.create('shop');
  assert.deepEqual(store.config.get(again.id), {});
  assert.deepEqual(store.releases.list(again.id, 9), []);
});

test('a change of several config values happens whole or not at all', () => {
  const store = open(join(folder(), 'dinp.db'));
  const app = store.apps.create('shop');
  store.config.change(app.id, { A: '1', B: '2' });
  assert.throws(() =>
    store.transaction(() => {
      store.config.change(app.id, { A: undefined, C: '3' });
      throw new Error('no');
    }),
  );
  assert.deepEqual(store.config.get(app.id), { A: '1', B: '2' });
});

test('the id of a removed app or build is never given again', () => {
  const store = open(join(tempFolder(), 'dinp.db'));
  const app = store.apps.create('shop');
  const build = store.builds.create({
    appId: app.id,
    source: { kind: 'commit', sha: 'a', ref: 'refs/heads/main' },
    noCache: false,
    by: 'me',
  });
  store.apps.remove(app.id);
  const again = store.apps.create('shop');
  assert.notEqual(again.id, app.id);
  assert.notEqual(
    store.builds.create({
      appId: again.id,
      source: { kind: 'commit', sha: 'a', ref: 'refs/heads/main' },
      noCache: false,
      by: 'me',
    }).id,
    build.id,
  );
});

test('host names come and go with the release that is live', () => {
  const store = open(join(tempFolder(), 'dinp.db'));
  const app = store.apps.create('shop');
  store.releases.makeLive(store.releases.create({ ...newRelease(app.id), domains: ['a.example.com'] }));
  assert.equal(store.domains.findOwner('a.example.com'), app.id);
  store.releases.makeLive(store.releases.create({ ...newRelease(app.id), domains: ['b.example.com'] }));
  assert.equal(store.domains.findOwner('a.example.com'), undefined);
  assert.equal(store.domains.findOwner('b.example.com'), app.id);
});
