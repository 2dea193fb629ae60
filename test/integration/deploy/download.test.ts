import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { type AddressInfo, createServer as createTcpServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { AllowedHosts } from '../../../src/deploy/uploads/allowed-hosts.ts';
import { Downloads } from '../../../src/deploy/uploads/download.ts';
import { Uploads } from '../../../src/deploy/uploads/uploads.ts';
import { tempFolder } from '../../support/temp-folder.ts';

const BODY = 'the artifact';
const SHA256 = createHash('sha256').update(BODY).digest('hex');

/** Downloads from hosts whose names are given addresses here, into a folder that is looked at. */
function setUp(allow: string[], names: Record<string, string[]> = {}) {
  const folder = tempFolder();
  const asked: string[] = [];
  const uploads = new Uploads(folder, { maxSize: 1_000, stallMs: 300, totalMs: 5_000 });
  const downloads = new Downloads({
    uploads,
    allowed: new AllowedHosts(allow),
    resolve: async (host) => {
      asked.push(host);
      if (names[host]) return names[host];
      throw new Error('ENOTFOUND');
    },
  });
  const fetchIt = (url: string, sha256?: string, signal = new AbortController().signal) =>
    downloads.fetch(url, { signal, sha256 });
  return { fetchIt, asked, left: () => readdirSync(join(folder, 'receiving')) };
}

async function serve(t: TestContext, handle: (req: IncomingMessage, res: ServerResponse) => void): Promise<number> {
  const server = createServer(handle).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

/** Answers every connection with bytes as they are, and leaves it to `then`. */
async function serveRaw(t: TestContext, answer: string, then: (socket: Socket) => void): Promise<number> {
  const sockets = new Set<Socket>();
  const server = createTcpServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.once('data', () => socket.write(answer, () => then(socket)));
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

test('a download is received whole, with its name, and credentials go to its own origin only', async (t) => {
  const seen: (string | undefined)[] = [];
  const other = await serve(t, (req, res) => {
    seen.push(req.headers.authorization);
    res.end(BODY);
  });
  const port = await serve(t, (req, res) => {
    seen.push(req.headers.authorization);
    if (req.url === '/far') res.writeHead(307, { location: `http://two.test:${other}/x` }).end();
    else if (req.url === '/near') res.writeHead(301, { location: '/a/shop%20one.war' }).end('moved');
    else res.end(BODY);
  });
  const { fetchIt, left } = setUp(['*.test'], { 'one.test': ['127.0.0.1'], 'two.test': ['127.0.0.1'] });
  const basic = `Basic ${Buffer.from('me:p w').toString('base64')}`;
  await using direct = await fetchIt(`http://me:p%20w@one.test:${port}/a/shop%20one.war`, SHA256);
  assert.deepEqual([direct.sha256, direct.filename, direct.size], [SHA256, 'shop one.war', BODY.length]);
  assert.equal(readFileSync(direct.path, 'utf8'), BODY);
  await using near = await fetchIt(`http://me:p%20w@one.test:${port}/near`);
  await using far = await fetchIt(`http://me:p%20w@one.test:${port}/far`);
  assert.deepEqual([near.sha256, far.sha256], [SHA256, SHA256]);
  assert.deepEqual(seen, [basic, basic, basic, basic, undefined]);
  assert.equal(left().length, 3);
});

test('the connection goes to the address that was checked, and a redirect is checked anew', async (t) => {
  let requests = 0;
  let inside = '';
  const port = await serve(t, (_req, res) => {
    requests++;
    res.writeHead(302, { location: inside }).end();
  });
  // Nobody answers for these names but our own resolver: had the system been asked again, nothing would come.
  const { fetchIt, asked } = setUp(['one.invalid'], { 'one.invalid': ['127.0.0.1'], 'evil.invalid': ['127.0.0.1'] });
  for (inside of [
    `http://evil.invalid:${port}/`,
    'http://127.0.0.1:1/',
    'http://0x7f.1/',
    'http://[::ffff:127.0.0.1]/',
    'http://169.254.169.254/latest/meta-data',
    'http://[::1]/',
    'http://0.0.0.0/',
  ])
    await assert.rejects(
      fetchIt(`http://one.invalid:${port}/`),
      { code: 'refused', message: /nothing is fetched from/ },
      inside,
    );
  inside = 'file:///etc/passwd';
  await assert.rejects(fetchIt(`http://one.invalid:${port}/`), { code: 'usage' });
  inside = `http://one.invalid:${port}/again`;
  requests = 0;
  await assert.rejects(fetchIt(`http://one.invalid:${port}/`), {
    code: 'refused',
    message: /leads from one address to the next/,
  });
  assert.equal(requests, 6);
  assert.equal(asked.filter((host) => host === 'one.invalid').length, 8 + 6);
  await assert.rejects(fetchIt('http://nobody.invalid/'), { code: 'unavailable', message: /has no address/ });
  await assert.rejects(fetchIt('http://127.0.0.1/'), { code: 'refused' });
  await assert.rejects(fetchIt('ftp://one.invalid/'), { code: 'usage' });
});

test('what is cut, stalls, is too large or is something else leaves nothing, and tells no secrets', async (t) => {
  const { fetchIt, left } = setUp(['127.0.0.1']);
  const head = 'HTTP/1.1 200 OK\r\n';
  const cases: [answer: string, then: (socket: Socket) => void, error: object][] = [
    [`${head}Content-Length: 50\r\n\r\nhalf`, (socket) => socket.end(), { code: 'unavailable' }],
    [`${head}Content-Length: 50\r\n\r\nhalf`, (socket) => socket.resetAndDestroy(), { code: 'unavailable' }],
    [`${head}Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n`, (socket) => socket.end(), { code: 'unavailable' }],
    [`${head}Content-Length: 50\r\n\r\nhalf`, () => {}, { code: 'timeout' }],
    [`${head}Content-Length: 2000\r\n\r\nx`, () => {}, { code: 'too-large' }],
    [
      `${head}Transfer-Encoding: chunked\r\n\r\n7d0\r\n${'x'.repeat(2000)}\r\n0\r\n\r\n`,
      () => {},
      { code: 'too-large' },
    ],
    [`${head}\r\n${BODY}`, (socket) => socket.end(), { code: 'refused', message: /does not say how long it is/ }],
    [`${head}Content-Length: 4\r\n\r\nelse`, () => {}, { code: 'refused', message: /was expected/ }],
    ['HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n', () => {}, { code: 'not-found' }],
    ['HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n', () => {}, { code: 'denied' }],
    ['HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n', () => {}, { code: 'unavailable' }],
    ['SSH-2.0-OpenSSH\r\n', (socket) => socket.end(), { code: 'unavailable' }],
  ];
  for (const [answer, then, error] of cases) {
    const port = await serveRaw(t, answer, then);
    const sha256 = answer.endsWith('else') ? SHA256 : undefined;
    await assert.rejects(fetchIt(`http://me:hunter2@127.0.0.1:${port}/a?token=hunter3`, sha256), (thrown: Error) => {
      assert.doesNotMatch(`${thrown.message} ${(thrown as { hint?: string }).hint}`, /hunter/);
      assert.equal(
        (thrown as { code?: string }).code,
        (error as { code: string }).code,
        `${answer}: ${thrown.message}`,
      );
      if ('message' in error) assert.match(thrown.message, error.message as RegExp);
      return true;
    });
    assert.deepEqual(left(), [], answer);
  }
  const port = await serveRaw(t, `${head}\r\n${BODY}`, (socket) => socket.end());
  await using known = await fetchIt(`http://127.0.0.1:${port}/`, SHA256);
  assert.equal(known.sha256, SHA256);
});

test('a download that is called off leaves nothing', async (t) => {
  const { fetchIt, left } = setUp(['127.0.0.1']);
  const stop = new AbortController();
  const port = await serveRaw(t, 'HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhalf', () => stop.abort());
  await assert.rejects(fetchIt(`http://127.0.0.1:${port}/`, undefined, stop.signal), { code: 'canceled' });
  assert.deepEqual(left(), []);
});
