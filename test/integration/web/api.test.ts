import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { type IncomingHttpHeaders, request } from 'node:http';
import { connect } from 'node:net';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { BuildQueue } from '../../../src/deploy/queue.ts';
import { ArtifactDeploys } from '../../../src/deploy/uploads/artifact-deploys.ts';
import { PartialUploads } from '../../../src/deploy/uploads/partial-uploads.ts';
import { Uploads } from '../../../src/deploy/uploads/uploads.ts';
import { BuildLogs } from '../../../src/store/build-log.ts';
import { openDatabase } from '../../../src/store/database.ts';
import { Store } from '../../../src/store/store.ts';
import { Api } from '../../../src/web/api.ts';
import { openWeb } from '../../../src/web/server.ts';
import { UploadSlots } from '../../../src/web/slots.ts';
import { tempFolder } from '../../support/temp-folder.ts';
import { until } from '../../support/until.ts';

const MAX = 200_000;
const sha256 = (data: string | Uint8Array) => createHash('sha256').update(data).digest('hex');

interface Answer {
  status: number;
  headers: IncomingHttpHeaders;
  trailers: NodeJS.Dict<string>;
  text: string;
  json: Record<string, unknown>;
}

interface Sent {
  body?: string | Uint8Array;
  headers?: Record<string, string | number>;
  token?: string | undefined;
}

/** The web server over a real store, queue and folders; builds do as `run` says. */
async function setUp(t: TestContext, run: (log: (text: string) => void) => Promise<void> = async () => {}) {
  const folder = tempFolder();
  const store = new Store(openDatabase(join(folder, 'dinp.db')));
  const logs = new BuildLogs(join(folder, 'builds'));
  const limits = { maxSize: MAX, stallMs: 400, totalMs: 3_000 };
  const uploads = new Uploads(join(folder, 'uploads'), limits);
  const queue = new BuildQueue({
    store,
    logs,
    parallel: 2,
    run: async (build, output) => run((text) => output.line(`${build.number} ${text}`)),
    forPusher: (text) => text,
    onInternalError: () => {},
    onFinished: () => {},
  });
  const errors: object[] = [];
  const api = new Api({
    store,
    artifacts: new ArtifactDeploys({
      store,
      queue,
      uploads,
      bases: () => ['plain'],
      createApp: async (name) => store.apps.create(name),
      createOnDeploy: true,
    }),
    uploads,
    partials: new PartialUploads(join(folder, 'uploads', 'partial'), limits),
    slots: new UploadSlots(2),
    buildLogs: logs,
    watchBuild: async (build, { signal }) => {
      for await (const _ of logs.follow(build.id, signal));
      return 0;
    },
    addresses: (app) => [`http://${app.name}.localhost`],
    log: { info: () => {}, error: (fields) => errors.push(fields) },
  });
  const web = await openWeb({ host: '127.0.0.1', port: 0, requestMs: 5_000 }, (req, res) => api.handle(req, res));
  t.after(async () => {
    queue.close();
    await web.close();
    store.close();
  });
  const app = store.apps.create('blog');
  const { secret } = store.tokens.create({ appId: app.id, name: 'ci', by: 'me', expiresAt: undefined });
  const ask = (method: string, path: string, { body, headers = {}, token = secret }: Sent = {}) =>
    new Promise<Answer>((resolve, reject) => {
      const auth = token === '' ? {} : { authorization: `Bearer ${token}` };
      const url = `http://127.0.0.1:${web.port}/api/apps/${path}`;
      const asked = request(url, { method, headers: { ...auth, ...headers }, agent: false }, async (res) => {
        let text = '';
        for await (const chunk of res.setEncoding('utf8')) text += chunk;
        const json = text.startsWith('{') ? (JSON.parse(text) as Record<string, unknown>) : {};
        resolve({ status: res.statusCode!, headers: res.headers, trailers: res.trailers, text, json });
      });
      asked.on('error', reject);
      asked.end(body);
    });
  const halves = () => readdirSync(join(folder, 'uploads', 'receiving'));
  return { store, app, secret, uploads, ask, halves, errors, port: web.port };
}

test('an artifact is taken whole, becomes a build, and its build and output can be read', async (t) => {
  const { store, app, uploads, ask } = await setUp(t, async (log) => log('built\u001b[31m'));
  const put = await ask('PUT', 'blog/artifact?filename=shop.war&note=from%20ci&base=plain', { body: 'war' });
  assert.equal(put.status, 202);
  assert.equal(put.headers.location, '/api/apps/blog/builds/1');
  const source = { kind: 'upload', sha256: sha256('war'), filename: 'shop.war', base: 'plain' };
  assert.deepEqual([put.json.app, put.json.number, put.json.source], ['blog', 1, source]);
  assert.deepEqual([put.json.note, put.json.by], ['from ci', 'ci (token)']);
  assert.deepEqual(
    uploads.list(app).map((each) => each.sha256),
    [sha256('war')],
  );
  await until('the build ends', () => store.builds.find(app.id, 1)!.state === 'succeeded');
  const build = await ask('GET', 'blog/builds/1');
  assert.deepEqual(
    [build.status, build.json.state, build.json.links],
    [200, 'succeeded', { build: '/api/apps/blog/builds/1', log: '/api/apps/blog/builds/1/log' }],
  );
  const log = await ask('GET', 'blog/builds/1/log?follow=1');
  assert.deepEqual([log.status, log.text, log.trailers['dinp-build-state']], [200, '       1 built\n', 'succeeded']);
  assert.equal((await ask('GET', 'blog/builds/2')).status, 404);
});

test('wait gives the end of the build, and output is followed while it runs', async (t) => {
  const { promise: goOn, resolve } = Promise.withResolvers<void>();
  const { store, app, ask } = await setUp(t, async (log) => {
    log('one');
    await goOn;
    log('two');
    if (store.builds.list(app.id, 9).length === 2) throw new Error('broken');
  });
  const waiting = ask('PUT', 'blog/artifact?wait=1', { body: 'a' });
  await until('it builds', () => store.builds.find(app.id, 1)?.state === 'running');
  const joined = await ask('PUT', 'blog/artifact', { body: 'a' });
  assert.deepEqual([joined.status, joined.json.number], [202, 1]);
  const following = ask('GET', 'blog/builds/1/log?follow=1');
  await sleep(50);
  resolve();
  const [done, log] = await Promise.all([waiting, following]);
  assert.deepEqual([done.status, done.json.state], [200, 'succeeded']);
  assert.equal(log.text, '       1 one\n       1 two\n');
  const failed = await ask('PUT', 'blog/artifact?wait', { body: 'b' });
  assert.deepEqual([failed.status, failed.json.code, failed.json.state], [422, 'build-failed', 'failed']);
});

test('no token, a wrong one or one of another app opens nothing, and bodies are not read for it', async (t) => {
  const { store, ask, port, halves } = await setUp(t);
  const shop = store.apps.create('shop');
  const other = store.tokens.create({ appId: shop.id, name: 'x', by: 'me', expiresAt: undefined }).secret;
  const over = store.tokens.create({ appId: shop.id, name: 'y', by: 'me', expiresAt: 1 }).secret;
  for (const token of ['', 'dinp_wrong', `dinp_${'A'.repeat(32)}`, over]) {
    const answer = await ask('PUT', 'blog/artifact', { body: 'x', token });
    assert.deepEqual([answer.status, answer.json.code], [401, 'denied'], token);
    assert.equal(answer.headers['www-authenticate'], 'Bearer realm="dinp"');
  }
  for (const path of ['blog/artifact', 'nothing/artifact']) {
    const answer = await ask('PUT', path, { body: 'x', token: other });
    assert.deepEqual([answer.status, answer.json.message], [403, 'this token deploys shop only.'], path);
  }
  // curl asks before it sends much: it must hear "no", and not "continue".
  const socket = connect(port, '127.0.0.1');
  socket.write(
    'PUT /api/apps/blog/artifact HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\nExpect: 100-continue\r\n\r\n',
  );
  const [first] = (await once(socket, 'data')) as [Buffer];
  assert.match(first.toString(), /^HTTP\/1\.1 401 /);
  socket.destroy();
  assert.deepEqual(halves(), []);
});

test('Expect: 100-continue is answered, and the body is then taken', async (t) => {
  const { port, secret, store, app } = await setUp(t);
  const socket = connect(port, '127.0.0.1');
  socket.write(
    `PUT /api/apps/blog/artifact HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${secret}\r\nContent-Length: 3\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n`,
  );
  const [first] = (await once(socket, 'data')) as [Buffer];
  assert.match(first.toString(), /^HTTP\/1\.1 100 Continue\r\n/);
  socket.write('abc');
  const [second] = (await once(socket, 'data')) as [Buffer];
  assert.match(second.toString(), /^HTTP\/1\.1 202 /);
  assert.equal(store.builds.list(app.id, 9).length, 1);
});

test('a body that is cut, slow, too large, empty or has another checksum is never half accepted', async (t) => {
  const { store, app, uploads, ask, port, secret, halves, errors } = await setUp(t);
  const head = (...lines: string[]) =>
    [`PUT /api/apps/blog/artifact HTTP/1.1`, 'Host: x', `Authorization: Bearer ${secret}`, ...lines, '', ''].join(
      '\r\n',
    );
  const raw = async (text: string, how: 'end' | 'reset' | 'wait'): Promise<string> => {
    const socket = connect(port, '127.0.0.1');
    let got = '';
    socket.on('data', (chunk) => {
      got += chunk;
    });
    socket.on('error', () => {});
    const closed = new Promise((resolve) => socket.once('close', resolve));
    socket.write(text);
    if (how !== 'wait') await sleep(60);
    if (how === 'end') socket.end();
    if (how === 'reset') socket.resetAndDestroy();
    await closed;
    // The app's slot is free again a moment later.
    await until('nothing is left', () => halves().length === 0);
    await sleep(20);
    return got;
  };
  for (const text of [
    head('Content-Length: 100'),
    `${head('Content-Length: 100')}half`,
    `${head('Transfer-Encoding: chunked')}4\r\nhalf\r\n`,
    `${head('Transfer-Encoding: chunked')}8\r\nhalf`,
    `${head('Transfer-Encoding: chunked')}4\r\nhalf\r\nzz\r\n`,
  ])
    for (const how of ['end', 'reset'] as const) assert.doesNotMatch(await raw(text, how), /HTTP\/1\.1 20/, text);
  assert.match(await raw(`${head('Content-Length: 100')}half`, 'wait'), /^HTTP\/1\.1 408 .*"timeout"/s);
  assert.match(await raw(head('Content-Length: 999999'), 'wait'), /^HTTP\/1\.1 413 /);
  const chunk = `1000\r\n${'x'.repeat(4096)}\r\n`;
  assert.match(await raw(head('Transfer-Encoding: chunked') + chunk.repeat(60), 'wait'), /^HTTP\/1\.1 413 /);
  const large = await ask('PUT', 'blog/artifact', { body: Buffer.alloc(MAX + 1) });
  assert.deepEqual([large.status, large.json.code], [413, 'too-large']);
  const bad = await ask('PUT', 'blog/artifact', { body: 'x', headers: { 'x-checksum-sha256': sha256('y') } });
  assert.deepEqual([bad.status, bad.json.code], [422, 'refused']);
  assert.equal((await ask('PUT', 'blog/artifact', { body: '' })).status, 422);
  assert.equal((await ask('PUT', 'blog/artifact?base=none', { body: 'x' })).status, 404);
  const form = await ask('PUT', 'blog/artifact', { body: 'x', headers: { 'content-type': 'multipart/form-data' } });
  assert.equal(form.status, 415);
  assert.equal((await ask('PUT', 'blog/artifact', { body: 'x', headers: { 'content-encoding': 'gzip' } })).status, 415);
  await until('nothing is left', () => halves().length === 0);
  assert.deepEqual([store.builds.list(app.id, 9), uploads.list(app), errors], [[], [], []]);
  const good = await ask('PUT', 'blog/artifact', { body: 'x', headers: { 'x-checksum-sha256': sha256('x') } });
  assert.equal(good.status, 202);
});

test('an upload in pieces goes on where it was cut', async (t) => {
  const { store, app, ask, port, secret } = await setUp(t);
  const begun = await ask('POST', 'blog/uploads');
  assert.deepEqual([begun.status, begun.headers['upload-offset']], [201, '0']);
  const path = `blog/uploads/${begun.json.id}`;
  assert.equal(begun.headers.location, `/api/apps/${path}`);
  const socket = connect(port, '127.0.0.1');
  socket.write(
    `PATCH /api/apps/${path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${secret}\r\nUpload-Offset: 0\r\nContent-Length: 11\r\n\r\nhello`,
  );
  await sleep(100);
  socket.resetAndDestroy();
  const offset = await until('the cut is noticed', async () => {
    const head = await ask('HEAD', path);
    return head.headers['upload-offset'] === '5' ? 5 : undefined;
  });
  const early = await until('the cut request has ended', async () => {
    const answer = await ask('PATCH', path, { body: 'x', headers: { 'upload-offset': 0 } });
    return answer.status === 503 || answer.json.message === 'another request is sending to this upload.'
      ? undefined
      : answer;
  });
  assert.deepEqual([early.status, early.json.message], [409, 'the upload has 5 bytes, and this piece begins at 0.']);
  assert.equal((await ask('PATCH', path, { body: 'x' })).status, 400);
  const rest = await ask('PATCH', path, { body: ' world', headers: { 'upload-offset': offset } });
  assert.deepEqual([rest.status, rest.json.offset], [200, 11]);
  const query = `blog/artifact?upload=${begun.json.id}`;
  const wrong = await ask('PUT', query, { headers: { 'x-checksum-sha256': sha256('x') } });
  assert.equal(wrong.status, 422);
  assert.equal((await ask('PUT', query, { body: 'more' })).status, 400);
  const put = await ask('PUT', query, { headers: { 'x-checksum-sha256': sha256('hello world') } });
  assert.equal(put.status, 202);
  assert.deepEqual(store.builds.find(app.id, 1)!.source, {
    kind: 'upload',
    sha256: sha256('hello world'),
    filename: 'upload',
  });
  assert.equal((await ask('PUT', query)).status, 404);
  const other = await ask('POST', 'blog/uploads');
  assert.equal((await ask('DELETE', `blog/uploads/${other.json.id}`)).status, 204);
  assert.equal((await ask('HEAD', `blog/uploads/${other.json.id}`)).status, 404);
  assert.equal((await ask('HEAD', 'blog/uploads/..%2f..%2fdinp.db')).status, 404);
});

test('so many uploads come at once, and no more of one app than half of them', async (t) => {
  const { ask, port, secret } = await setUp(t);
  const slow = connect(port, '127.0.0.1');
  slow.on('error', () => {});
  slow.write(
    `PUT /api/apps/blog/artifact HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${secret}\r\nContent-Length: 9\r\n\r\nhalf`,
  );
  await sleep(100);
  const busy = await ask('PUT', 'blog/artifact', { body: 'x' });
  assert.deepEqual([busy.status, busy.headers['retry-after']], [503, '5']);
  slow.destroy();
  await until('there is room again', async () => (await ask('PUT', 'blog/artifact', { body: 'x' })).status === 202);
});

test('addresses and methods that are none are told, and nonsense costs a connection only', async (t) => {
  const { ask, port } = await setUp(t);
  for (const path of ['', 'blog', 'blog/', 'blog/nothing', 'blog/builds/x', 'blog/builds/0'])
    assert.equal((await ask('GET', path)).status, 404, path);
  const wrong = await ask('DELETE', 'blog/artifact');
  assert.deepEqual([wrong.status, wrong.headers.allow], [405, 'PUT']);
  for (const [text, answer] of [
    ['GARBAGE\r\n\r\n', /^HTTP\/1\.1 400 /],
    [`GET / HTTP/1.1\r\nX: ${'x'.repeat(20_000)}\r\n\r\n`, /^HTTP\/1\.1 431 /],
    [
      'PUT /api/apps/blog/artifact HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n',
      /^HTTP\/1\.1 400 /,
    ],
  ] as const) {
    const socket = connect(port, '127.0.0.1');
    socket.write(text);
    const [data] = (await once(socket, 'data')) as [Buffer];
    assert.match(data.toString(), answer);
    socket.destroy();
  }
  assert.equal((await ask('GET', 'blog/builds/1')).status, 404);
});
