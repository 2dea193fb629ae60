import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startServer, type TestServer } from '../support/dinp-server.ts';
import type { GitClient } from '../support/git-client.ts';
import { Load } from '../support/load.ts';
import { until } from '../support/until.ts';
import { keepWaitingConnections } from '../support/waiting-connections.ts';

const REQUESTS = 20_000;
const DEPLOYS = 10;
const PAGE = /^release (\d+)\n$/;

async function deploy(me: GitClient, number: number): Promise<void> {
  await me.commit({ 'index.html': `release ${number}\n` });
  const push = await me.push();
  assert.equal(push.status, 0, push.output);
}

/** What the app answers once everybody has the newest release. */
async function served(server: TestServer, me: GitClient): Promise<string> {
  return (await server.curl(me.app)).body;
}

test('no request of 20,000 fails: ten deploys, scaling, a rollback, a new name, and a server that is killed', async (context) => {
  using _ = keepWaitingConnections();
  await using server = await startServer();
  const me = await server.client();
  await deploy(me, 0);
  const { port } = new URL(server.stableUrl(me.app));
  const targets = [
    { host: '127.0.0.1', port: Number(port) },
    { host: '127.0.0.1', port: server.namesPort, headers: { host: `${me.app}.localhost` } },
  ];
  await using load = new Load(targets, { clients: 2, pauseMs: 5, isGood: (body) => PAGE.test(body) });
  for (let number = 1; number <= DEPLOYS; number++) {
    await deploy(me, number);
    assert.equal(await served(server, me), `release ${number}\n`);
    if (number === 4) await server.dinpOk('scale', me.app, 'web=3');
    if (number === 6) await server.dinpOk('domains', 'add', me.app, 'shop.example.org');
    if (number === 8) await server.dinpOk('scale', me.app, 'web=1');
  }
  await server.dinpOk('releases', 'rollback', me.app);
  assert.equal(await served(server, me), `release ${DEPLOYS - 1}\n`);

  await server.kill();
  const atKill = load.requests;
  await until('requests go on without the server', () => load.requests > atKill + 1_000);
  await server.start();
  await deploy(me, DEPLOYS + 1);
  await until(`${REQUESTS} requests`, () => load.requests >= REQUESTS);
  await load.stop();

  context.diagnostic(
    `${load.requests} requests, ${load.repeated} repeated, longest ${(load.longest / 1000).toFixed(1)} s`,
  );
  assert.deepEqual(load.failures, []);
  assert.ok(load.requests >= REQUESTS);
  assert.deepEqual(
    [...load.answers.keys()].sort(),
    Array.from({ length: DEPLOYS + 2 }, (_, number) => `release ${number}\n`).sort(),
    'every release had visitors',
  );
  assert.deepEqual(await server.problems(), []);
});
