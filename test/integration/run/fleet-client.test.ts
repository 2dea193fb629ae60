import assert from 'node:assert/strict';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { FleetClient } from '../../../src/run/fleet/fleet-client.ts';
import { FleetApi } from '../../support/fleet-api.ts';
import { tempFolder } from '../../support/temp-folder.ts';
import { until } from '../../support/until.ts';

const SLEEP = [{ section: 'Service', name: 'ExecStart', value: '/bin/sleep 1000' }];

/** Something that is no fleet, at an address of its own. */
async function impostor(listener: RequestListener, path?: string) {
  const server = createServer(listener);
  await new Promise<void>((resolve) =>
    path === undefined ? server.listen(0, '127.0.0.1', resolve) : server.listen(path, resolve),
  );
  const endpoint = path === undefined ? `http://127.0.0.1:${(server.address() as AddressInfo).port}` : `unix://${path}`;
  return {
    endpoint,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

async function failure(endpoint: string, timeoutMs?: number): Promise<{ code: string; message: string }> {
  const client = new FleetClient({ endpoint, ...(timeoutMs !== undefined && { timeoutMs }) });
  try {
    await client.units();
    throw new Error('it was taken for a list');
  } catch (error) {
    return error as { code: string; message: string };
  } finally {
    await client.close();
  }
}

test('collections are read page after page, whether or not the last is full', async () => {
  await using api = await FleetApi.start({ pageSize: 2 });
  const client = new FleetClient({ endpoint: api.endpoint });
  assert.deepEqual(await client.units(), []);
  for (let count = 1; count <= 5; count++) {
    await client.putUnit(`t-${count}.service`, SLEEP, 'launched');
    assert.deepEqual(
      (await client.units()).map(({ name }) => name),
      Array.from({ length: count }, (_, index) => `t-${index + 1}.service`),
    );
  }
  await until('all have a state', async () => (await client.states()).length === 5);
  assert.deepEqual(
    (await client.states('t-3.service')).map(({ name }) => name),
    ['t-3.service'],
  );
  assert.deepEqual(
    (await client.machines()).map(({ primaryIP }) => primaryIP),
    ['127.0.0.1', '127.0.0.2'],
  );
  await client.close();
});

test('units come back as they went in; one that is not there is nothing', async () => {
  await using api = await FleetApi.start();
  const client = new FleetClient({ endpoint: api.endpoint });
  await client.putUnit('t-1.service', SLEEP, 'inactive');
  assert.deepEqual((await client.unit('t-1.service'))?.options, SLEEP);
  await client.removeUnit('t-1.service');
  await client.removeUnit('t-1.service');
  assert.equal(await client.unit('t-1.service'), undefined);
  await assert.rejects(client.setState('t-1.service', 'launched'), {
    code: 'refused',
    message: 'fleet answers PUT t-1.service with: unit does not exist and options field empty.',
  });
  await client.close();
});

test("an answer that is not fleet's is no empty list", async () => {
  await using api = await FleetApi.start();
  api.isDown = true;
  assert.match((await failure(api.endpoint)).message, /unable to communicate with etcd\.$/);
  for (const body of ['', '[]', 'null', '<html>', '{"units": 5}']) {
    await using other = await impostor((_, response) => response.end(body));
    const { code, message } = await failure(other.endpoint);
    assert.match(`${code} ${message}`, /^unavailable .* is not fleet's API/, body);
  }
  await using loop = await impostor((_, response) => response.end('{"nextPageToken": "again"}'));
  assert.match((await failure(loop.endpoint)).message, /is not fleet's API/);
});

test('where nothing answers, that is said, in time', async () => {
  await using mute = await impostor(() => undefined);
  assert.match((await failure(mute.endpoint, 200)).message, /does not answer: it takes too long\.$/);
  const free = await impostor(() => undefined);
  await free[Symbol.asyncDispose]();
  assert.match((await failure(free.endpoint)).message, /does not answer: ECONNREFUSED\.$/);
  assert.match((await failure(`unix://${join(tempFolder(), 'no.sock')}`)).message, /does not answer: ENOENT\.$/);
  assert.throws(() => new FleetClient({ endpoint: '10.0.0.5:49153' }), { code: 'config' });
});

test('over a unix socket', async () => {
  const paths: string[] = [];
  const listener: RequestListener = ({ url }, response) => {
    paths.push(url!);
    response.end('{"machines": [{"id": "a", "primaryIP": "10.0.0.5"}]}');
  };
  await using server = await impostor(listener, join(tempFolder(), 'fleet.sock'));
  const client = new FleetClient({ endpoint: server.endpoint });
  assert.deepEqual(await client.machines(), [{ id: 'a', primaryIP: '10.0.0.5', metadata: {} }]);
  assert.deepEqual(paths, ['/fleet/v1/machines']);
  await client.close();
});
