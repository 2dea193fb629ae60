import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { cpSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join, resolve } from 'node:path';
import { PassThrough } from 'node:stream';
import { after, before, describe, it } from 'node:test';
import { startServer, type TestServer } from '../support/dinp-server.ts';
import { type Ended, start } from '../support/program.ts';
import { tempFolder } from '../support/temp-folder.ts';
import { until } from '../support/until.ts';

const FIXTURES = resolve(import.meta.dirname, '../fixtures/apps');
const CONFIG = { web: { listen: '127.0.0.1:0' }, uploads: { allow: ['127.0.0.1'], maxSize: '20M' } };

/** A program and an archive as people build them. */
function makeArtifacts() {
  const folder = tempFolder();
  const program = join(folder, 'hello');
  execFileSync('gcc', ['-O1', '-static', '-o', program, `${FIXTURES}/hello-binary/hello.c`]);
  const tree = join(folder, 'tree');
  cpSync(`${FIXTURES}/hello-control`, tree, { recursive: true });
  const archive = join(folder, 'site.tar.gz');
  execFileSync('tar', ['-czf', archive, '-C', tree, '.']);
  return { folder, program, archive };
}

function sha256Of(file: string): string {
  return createHash('sha256').update(readFileSync(file)).digest('hex');
}

/** Where the server takes uploads over HTTP: it told its log when it started. */
function webOf(server: TestServer): string {
  const port = [...server.log().matchAll(/"web":(\d+)/g)].at(-1)![1];
  return `http://127.0.0.1:${port}`;
}

async function curl(...args: string[]): Promise<Ended & { http: number; json: Record<string, unknown> }> {
  const flags = ['-q', '-sS', '--noproxy', '*', '-m', '120', '-w', '\n%{http_code}'];
  const ended = await start('curl', [...flags, ...args]).ended;
  const at = ended.stdout.lastIndexOf('\n');
  const body = ended.stdout.slice(0, at);
  return { ...ended, http: Number(ended.stdout.slice(at + 1)), json: body.startsWith('{') ? JSON.parse(body) : {} };
}

/** Serves one file, and a redirect to it at /moved. */
async function serveFile(file: string) {
  const server = createServer((req, res) => {
    if (req.url === '/moved') res.writeHead(302, { location: '/app/hello?token=secret' }).end();
    else res.end(readFileSync(file));
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    port,
    async [Symbol.asyncDispose]() {
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    },
  };
}

/** Files that are received just now, or were left. */
function halves(server: TestServer): string[] {
  return readdirSync(join(server.data, 'uploads', 'receiving'));
}

describe('what is uploaded', { concurrency: 2 }, () => {
  const { folder, program, archive } = makeArtifacts();
  let server: TestServer;
  before(async () => {
    server = await startServer({ config: { ...CONFIG, builds: { parallel: 4 } } });
  });
  after(async () => {
    await server?.endTidily();
  });

  it('ssh dinp@host deploy APP < program: the first makes the app, the same again is live already', async () => {
    const app = server.appName();
    const first = await server.ssh(['deploy', app, '--name', 'hello', '-m', "'first try'"], {
      stdin: readFileSync(program),
    });
    assert.equal(first.status, 0, first.output);
    assert.match(first.stdout, /^-----> Receiving hello\n {7}[\d.]+ [kM]B in .*, SHA-256 [0-9a-f]{12}…\n/);
    assert.match(first.stdout, /Found static Linux program hello \(amd64\)\n/);
    assert.match(first.stdout, /-----> Released v1 {2}http:/);
    assert.deepEqual(await server.curl(app), { status: 200, body: 'Hello from a binary\n' });
    const tag = `up-${sha256Of(program).slice(0, 12)}`;
    assert.ok((await server.tags(app)).includes(tag));

    const again = await server.ssh(['deploy', app, '--name', 'hello'], { stdin: readFileSync(program) });
    assert.equal(again.status, 0, again.output);
    assert.match(again.stdout, new RegExp(`\\n${tag} is live as v1 {2}http://${app}\\.localhost`));
    assert.equal(server.builds(app).length, 1);

    const forced = await server.ssh(['deploy', app, '--name', 'hello', '--force'], { stdin: readFileSync(program) });
    assert.equal(forced.status, 0, forced.output);
    assert.match(forced.stdout, /Unchanged, reusing/);
    assert.match(forced.stdout, /-----> Released v2 /);
    const shown = await server.ssh(['builds', 'show', app, '1']);
    assert.match(shown.stdout, /Note: +first try\n/);
  });

  it('dinp deploy APP FILE: an archive over a base, then other bytes, then the first again without building', async () => {
    const app = server.appName();
    const first = await server.dinp('deploy', app, archive, '--base', 'busybox', '-m', 'with a page');
    assert.equal(first.status, 0, first.output);
    assert.match(first.stdout, /^-----> Receiving site\.tar\.gz\n/);
    const page = await server.curl(app);
    assert.equal(page.status, 200);
    const other = await server.dinp('deploy', app, program);
    assert.equal(other.status, 0, other.output);
    assert.deepEqual(await server.curl(app), { status: 200, body: 'Hello from a binary\n' });
    const back = await server.dinp('deploy', app, archive, '--base', 'busybox');
    assert.equal(back.status, 0, back.output);
    assert.match(back.stdout, /Unchanged, reusing/);
    assert.deepEqual(await server.curl(app), page);
    const rolled = await server.dinp('rollback', app);
    assert.equal(rolled.status, 0, rolled.output);
    assert.deepEqual(await server.curl(app), { status: 200, body: 'Hello from a binary\n' });
  });

  it('what nobody can deploy is told, and the app goes on', async () => {
    const app = server.appName();
    assert.equal((await server.dinp('deploy', app, program)).status, 0);
    const text = join(folder, 'notes.txt');
    writeFileSync(text, 'just text\n');
    const wrong = await server.dinp('deploy', app, text);
    assert.equal(wrong.status, 1, wrong.output);
    assert.match(wrong.stdout, /Build #2 of \S+ failed in stage checkout: notes\.txt is /);
    const big = join(folder, 'big.bin');
    writeFileSync(big, Buffer.alloc(20 * 1024 * 1024 + 1));
    const large = await server.dinp('deploy', app, big);
    assert.deepEqual([large.status, large.stderr.split('\n')[0]], [1, 'error: it is larger than 21.0 MB.']);
    const sum = await server.dinp('deploy', app, archive, '--sha256', '0'.repeat(64));
    assert.match(sum.stderr, /^error: its SHA-256 is [0-9a-f]{64}, and 0{64} was expected\.\n/);
    const empty = await server.ssh(['deploy', app]);
    assert.match(empty.stderr, /^error: nothing came: it is empty\.\n/);
    assert.deepEqual(await server.curl(app), { status: 200, body: 'Hello from a binary\n' });
    assert.equal(server.builds(app).length, 2);
    await until('nothing is left of what was refused', () => halves(server).length === 0);
  });

  it('deployers upload to their own apps; destroying an app removes its uploads', async () => {
    const [own, other] = [server.appName(), server.appName()];
    await server.dinpOk('apps', 'create', own);
    await server.dinpOk('apps', 'create', other);
    await server.addDeployer(`bob-${own}`, own);
    const bob = { stdin: readFileSync(program), person: `bob-${own}` };
    assert.equal((await server.ssh(['deploy', own, '--detach'], bob)).status, 0);
    await until('the build ends', () => server.builds(own)[0]?.state === 'succeeded');
    const denied = await server.ssh(['deploy', other], bob);
    assert.match(denied.stderr, /^error: .* is no app of yours/);
    const unknown = await server.ssh(['deploy', `${own}-new`], bob);
    assert.match(unknown.stderr, /^error: .* is no app of yours/);
    const before = readdirSync(join(server.data, 'uploads')).filter((name) => /^\d+$/.test(name));
    await server.dinpOk('apps', 'destroy', own, '--confirm', own);
    const left = readdirSync(join(server.data, 'uploads')).filter((name) => /^\d+$/.test(name));
    assert.equal(before.filter((name) => !left.includes(name)).length, 1);
  });

  it('by address: fetched by the server, over a redirect, with a checksum, from allowed hosts only', async () => {
    await using files = await serveFile(program);
    const app = server.appName();
    const url = `http://me:hunter2@127.0.0.1:${files.port}/moved`;
    const deployed = await server.ssh(['deploy', app, url, '--sha256', sha256Of(program)]);
    assert.equal(deployed.status, 0, deployed.output);
    assert.match(deployed.stdout, /^-----> Downloading from 127\.0\.0\.1:\d+\n/);
    assert.deepEqual(await server.curl(app), { status: 200, body: 'Hello from a binary\n' });
    assert.doesNotMatch(deployed.output + server.log(), /hunter2|token=secret/);
    const inside = await server.ssh(['deploy', app, `http://127.0.0.2:${files.port}/`]);
    assert.equal(inside.status, 1);
    assert.match(inside.stderr, /^error: 127\.0\.0\.2 is this server itself, and nothing is fetched from there\.\n/);
    const wrong = await server.ssh(['deploy', app, url, '--sha256', 'f'.repeat(64)]);
    assert.equal(wrong.status, 1);
    assert.equal(server.builds(app).length, 1);
  });

  it('dinp.yml names its artifact by address and checksum', async () => {
    await using files = await serveFile(program);
    const me = await server.client();
    await me.commit({
      'dinp.yml': `artifact: {url: "http://127.0.0.1:${files.port}/app/hello", sha256: ${sha256Of(program)}}\n`,
    });
    const push = await me.push();
    assert.equal(push.status, 0, push.output);
    assert.deepEqual(await server.curl(me.app), { status: 200, body: 'Hello from a binary\n' });
    await me.commit({
      'dinp.yml': `artifact: {url: "http://127.0.0.1:${files.port}/app/hello", sha256: ${'f'.repeat(64)}}\n`,
    });
    const wrong = await me.push();
    assert.equal(wrong.status, 1);
    assert.match(wrong.output, /its SHA-256 is [0-9a-f]{64}, and f{64} was expected/);
    assert.deepEqual(await server.curl(me.app), { status: 200, body: 'Hello from a binary\n' });
  });

  it('an image by address is copied and runs', async () => {
    const [source, app] = [server.appName(), server.appName()];
    assert.equal((await server.dinp('deploy', source, program)).status, 0);
    const shown = JSON.parse(await server.dinpOk('releases', 'show', source, '--json'));
    const digest = /sha256:[0-9a-f]{64}/.exec(JSON.stringify(shown))![0];
    const image = `${server.registry.address}/${source}@${digest}`;
    const deployed = await server.ssh(['deploy', app, image, '-m', 'copied']);
    assert.equal(deployed.status, 0, deployed.output);
    assert.deepEqual(await server.curl(app), { status: 200, body: 'Hello from a binary\n' });
    const again = await server.ssh(['deploy', app, image]);
    assert.equal(again.status, 0, again.output);
    assert.match(again.stdout, /is live as v1 /);
    const missing = await server.ssh(['deploy', app, `${server.registry.address}/${source}:nothing`]);
    assert.equal(missing.status, 1, missing.output);
    assert.match(missing.stdout, /There is no image/);
  });

  it('PUT with a token deploys, tells how it ended, and shows its output', async () => {
    const app = server.appName();
    await server.dinpOk('apps', 'create', app);
    const { stdout: secret } = await server.dinp('tokens', 'create', app, '--name', 'ci');
    assert.match(secret, /^dinp_[A-Za-z0-9_-]{32}\n$/);
    const bearer = ['-H', `Authorization: Bearer ${secret.trim()}`];
    const base = `${webOf(server)}/api/apps/${app}`;
    const wrong = await curl('-T', program, '-H', 'Authorization: Bearer dinp_no', `${base}/artifact`);
    assert.deepEqual([wrong.http, wrong.json.code], [401, 'denied']);
    const sum = ['-H', `X-Checksum-Sha256: ${sha256Of(program)}`];
    const put = await curl(
      '-f',
      '-T',
      program,
      ...bearer,
      ...sum,
      `${base}/artifact?wait=1&filename=hello&note=from%20ci`,
    );
    assert.equal(put.status, 0, put.output);
    assert.deepEqual(
      [put.json.state, put.json.release, put.json.note, put.json.by],
      ['succeeded', 1, 'from ci', 'ci (token)'],
    );
    assert.deepEqual(await server.curl(app), { status: 200, body: 'Hello from a binary\n' });
    const log = await curl(...bearer, `${base}/builds/1/log?follow=1`);
    assert.match(log.stdout, /-----> Released v1 /);
    const again = await curl('-T', program, ...bearer, `${base}/artifact`);
    assert.deepEqual([again.json.state, again.json.release], ['live', 1]);
    await server.dinpOk('tokens', 'revoke', app, 'ci');
    const revoked = await curl(...bearer, `${base}/builds/1`);
    assert.equal(revoked.http, 401);
  });
});

describe('an upload when the server is killed', () => {
  it('leaves nothing where it came in one, and goes on where it came in pieces', async () => {
    const { program } = makeArtifacts();
    const bytes = readFileSync(program);
    await using server = await startServer({ config: CONFIG });
    const app = server.appName();
    await server.dinpOk('apps', 'create', app);
    const { stdout: secret } = await server.dinp('tokens', 'create', app);
    const bearer = ['-H', `Authorization: Bearer ${secret.trim()}`];
    const begun = await curl('-X', 'POST', ...bearer, `${webOf(server)}/api/apps/${app}/uploads`);
    const piece = (offset: number, part: Uint8Array) => {
      const file = join(tempFolder(), 'part');
      writeFileSync(file, part);
      const address = `${webOf(server)}/api/apps/${app}/uploads/${begun.json.id}`;
      return curl('-X', 'PATCH', '-T', file, ...bearer, '-H', `Upload-Offset: ${offset}`, address);
    };
    assert.equal((await piece(0, bytes.subarray(0, 100_000))).json.offset, 100_000);

    const input = new PassThrough();
    input.write(bytes.subarray(0, 200_000));
    const upload = server.startSsh(['deploy', `${app}-new`, '--name', 'hello'], { stdin: input });
    await until('the upload comes in', () => halves(server).length === 1);
    await server.kill();
    input.end();
    assert.notEqual((await upload.ended).status, 0);
    await server.start();
    assert.deepEqual(halves(server), []);
    assert.doesNotMatch(await server.dinpOk('apps', 'list'), /-new/);

    assert.equal((await piece(100_000, bytes.subarray(100_000))).json.offset, bytes.length);
    const address = `${webOf(server)}/api/apps/${app}/artifact?upload=${begun.json.id}&wait=1`;
    const put = await curl('-X', 'PUT', ...bearer, address);
    assert.equal(put.json.state, 'succeeded', put.output);
    assert.deepEqual(await server.curl(app), { status: 200, body: 'Hello from a binary\n' });
  });

  it('a client that is killed in the middle leaves nothing, and no app', async () => {
    const { program } = makeArtifacts();
    await using server = await startServer({ config: CONFIG });
    for (const begin of [
      (app: string, input: PassThrough) => server.startSsh(['deploy', app], { stdin: input }),
      (app: string, input: PassThrough) => server.startDinp(['deploy', app], input),
    ]) {
      const app = server.appName();
      const input = new PassThrough();
      input.write(readFileSync(program));
      const upload = begin(app, input);
      await until('the upload comes in', () => halves(server).length === 1);
      upload.child.kill('SIGKILL');
      await upload.ended;
      await until('nothing is left', () => halves(server).length === 0);
      assert.equal((await server.dinp('apps', 'info', app)).status, 1);
    }
  });
});
