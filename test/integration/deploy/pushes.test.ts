import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { Addresses } from '../../../src/deploy/addresses.ts';
import { Pushes } from '../../../src/deploy/pushes.ts';
import { BuildQueue } from '../../../src/deploy/queue.ts';
import type { App } from '../../../src/domain/app.ts';
import type { Build } from '../../../src/domain/build.ts';
import type { Identity } from '../../../src/domain/identity.ts';
import { Repositories } from '../../../src/git/repositories.ts';
import { BuildLogs } from '../../../src/store/build-log.ts';
import { openDatabase } from '../../../src/store/database.ts';
import { Store } from '../../../src/store/store.ts';
import { tempFolder } from '../../support/temp-folder.ts';
import { commitFiles, GIT } from '../git/commit-files.ts';

const ME: Identity = { name: 'me', role: 'admin', fingerprint: undefined, apps: [] };
const ZERO = '0'.repeat(40);

/** Pushes over a real store and repository; builds succeed at once. */
async function setUp() {
  const folder = tempFolder();
  const store = new Store(openDatabase(join(folder, 'dinp.db')));
  const logs = new BuildLogs(join(folder, 'builds'));
  const repositories = new Repositories(folder, GIT);
  const queue = new BuildQueue({
    store,
    logs,
    parallel: 2,
    run: async () => undefined,
    forPusher: (text) => text,
    onInternalError: (_build, error) => assert.fail(error as Error),
    onFinished: () => undefined,
  });
  const addresses = new Addresses(store, {
    address: '127.0.0.1',
    domain: undefined,
    routerPort: undefined,
    appPorts: [1, 2],
    instancePorts: [1, 2],
    placeOf: () => undefined,
  });
  const createApp = async (name: string) => {
    await repositories.create(name);
    return store.apps.create(name);
  };
  const discardApp = async (app: App) => {
    await repositories.remove(app.name);
    store.apps.remove(app.id);
  };
  const instances = async () => [];
  const parts = { store, queue, logs, addresses, instances, repositories, createApp, discardApp, createOnPush: true };
  const pushes = new Pushes(parts);
  const app = await pushes.open(ME, 'shop', true);
  const settle = async (branch: string, sha?: string) => {
    let text = '';
    const write = async (piece: string | Uint8Array) => {
      text += Buffer.from(piece).toString('utf8');
    };
    const commands = sha === undefined ? [] : [{ old: ZERO, new: sha, ref: `refs/heads/${branch}` }];
    const outcome = { applied: commands, asked: commands, options: [], status: 0 };
    const status = await pushes.settle('shop', ME, outcome, { write, signal: new AbortController().signal });
    return { status, text };
  };
  return { store, repositories, pushes, app, settle };
}

test('of two first pushes at the same moment one deploys, and the other is told that it does not', async () => {
  const { store, repositories, settle } = await setUp();
  const path = repositories.path('shop');
  const main = commitFiles(path, { a: '1' }, { branch: 'main' });
  const dev = commitFiles(path, { a: '2' }, { branch: 'dev' });
  const [first, second] = await Promise.all([settle('main', main), settle('dev', dev)]);
  assert.equal(first!.status, 0);
  assert.deepEqual(second, {
    status: 1,
    text: 'Branch dev was stored and not deployed: main came first. To deploy it: git push dinp dev:main\n',
  });
  assert.equal(store.apps.find('shop')!.deployBranch, 'main');
  assert.deepEqual(store.builds.list(1, 9).map(shaOf), [main]);
});

test('a ref that moved while nobody heard of it is built, forwards and back, and only once', async () => {
  const { store, repositories, pushes, settle } = await setUp();
  const path = repositories.path('shop');
  const one = commitFiles(path, { a: '1' });
  await settle('main', one);
  const two = commitFiles(path, { a: '2' });
  const recovered = async () => (await pushes.recover(store.apps.find('shop')!)).map(shaOf);
  assert.deepEqual(await recovered(), [two]);
  assert.deepEqual(await recovered(), []);
  const back = commitFiles(path, { a: '1' });
  assert.equal(back, one);
  assert.deepEqual(await recovered(), [one]);
});

function shaOf({ source }: Build): string | undefined {
  return source.kind === 'commit' ? source.sha : undefined;
}

test('of two pushes that are taken up in the other order the newest wins; the older builds nothing', async () => {
  const { store, repositories, pushes, settle } = await setUp();
  const path = repositories.path('shop');
  const one = commitFiles(path, { a: '1' });
  const two = commitFiles(path, { a: '2' });
  const newest = await settle('main', two);
  assert.equal(newest.status, 0);
  const older = await settle('main', one);
  assert.deepEqual(older, {
    status: 1,
    text: `Build #2 of ${one.slice(0, 7)} was superseded by build #1 of ${two.slice(0, 7)}, pushed by me.\n`,
  });
  assert.deepEqual(
    store.builds.list(1, 9).map(({ state }) => state),
    ['superseded', 'succeeded'],
  );
  assert.deepEqual(await pushes.recover(store.apps.find('shop')!), []);
});

test('a session that pushes nothing leaves no app that it made; one that others have opened or pushed to stays', async () => {
  const { store, repositories, pushes, settle } = await setUp();
  const dryRun = await settle('main');
  assert.deepEqual(dryRun, {
    status: 0,
    text: 'There is no app shop yet: the first push creates it, and its branch deploys.\n',
  });
  assert.deepEqual([store.apps.list(), await repositories.list()], [[], []]);

  await pushes.open(ME, 'shop', true);
  await pushes.open(ME, 'shop', true);
  assert.match((await settle('main')).text, /^Nothing was pushed to shop yet/);
  await settle('main', commitFiles(repositories.path('shop'), { a: '1' }));
  await pushes.open(ME, 'shop', true);
  assert.match((await settle('main')).text, /is at|is live|released/);
  assert.equal(store.apps.list().length, 1);
});
