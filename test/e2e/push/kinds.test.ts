import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { cpSync, readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { startServer, type TestServer } from '../../support/dinp-server.ts';
import { kustomize } from '../../support/kustomize.ts';

const FIXTURES = resolve(import.meta.dirname, '../../fixtures/apps');

describe('what is pushed', { concurrency: 2 }, () => {
  let server: TestServer;
  before(async () => {
    server = await startServer({ config: { builds: { parallel: 4 } } });
  });
  after(async () => {
    await server?.endTidily();
  });

  it('a Dockerfile with build arguments, on a base of this server', async () => {
    const me = await server.client();
    cpSync(`${FIXTURES}/hello-dockerfile`, me.folder, { recursive: true });
    await me.commit({ 'dinp.yml': `args: {BASE: "${server.registry.address}/base/busybox:1"}\n` });
    const push = await me.push();
    assert.equal(push.status, 0, push.output);
    assert.deepEqual(await server.curl(me.app), { status: 200, body: '<h1>Hello from a Dockerfile</h1>\n' });
    assert.equal((await server.curl(me.app, '/README.md')).status, 404);
    const inside = await server.ssh(['run', me.app, 'ls', '/www']);
    assert.equal(inside.stdout, 'index.html\n');
  });

  it('a static program, which is told its port and config', async () => {
    const me = await server.client();
    execFileSync('gcc', ['-O1', '-static', '-o', join(me.folder, 'hello'), `${FIXTURES}/hello-binary/hello.c`]);
    await me.commit({});
    const push = await me.push();
    assert.equal(push.status, 0, push.output);
    assert.match(push.output, /Found static Linux program hello \(amd64\)\n/);
    assert.deepEqual(await server.curl(me.app), { status: 200, body: 'Hello from a binary\n' });
    assert.equal((await server.ssh(['config', 'set', me.app, "'GREETING=Good morning'"])).status, 0);
    assert.deepEqual(await server.curl(me.app), { status: 200, body: 'Good morning\n' });
    assert.match((await server.ssh(['logs', me.app])).stdout, /web\.1 {2}listening on 8080\n/);
  });

  it('an executable "control" that starts it', async () => {
    const me = await server.client();
    cpSync(`${FIXTURES}/hello-control`, me.folder, { recursive: true });
    await me.commit({ 'dinp.yml': 'base: busybox\n' });
    const push = await me.push();
    assert.equal(push.status, 0, push.output);
    const { status } = await server.curl(me.app);
    assert.equal(status, 200);
  });

  it('a Procfile: web gets the address, a worker runs beside it', async () => {
    const me = await server.client();
    const worker = 'worker: sh -c "echo working; exec sleep 1000"';
    await me.commit({
      ...server.quickApp('one'),
      Procfile: `web: busybox httpd -f -p $PORT -h /www\n${worker}\n`,
      'dinp.yml': 'health: {start: 20s}\n',
    });
    const push = await me.push();
    assert.equal(push.status, 0, push.output);
    assert.deepEqual(server.containers(me.app), [`dinp-${me.app}--web--v1--1`, `dinp-${me.app}--worker--v1--1`]);
    assert.deepEqual(await server.curl(me.app), { status: 200, body: 'one\n' });
    assert.match((await server.ssh(['logs', me.app, '-p', 'worker'])).stdout, /worker\.1 {2}working\n/);
  });

  it('an app without a web process gets no address', async () => {
    const me = await server.client();
    await me.commit({
      ...server.quickApp('one'),
      'dinp.yml': 'processes: {worker: {command: sleep 1000, health: {command: "true"}}}\n',
    });
    const push = await me.push();
    assert.equal(push.status, 0, push.output);
    assert.match(push.output, /-----> Released v1 {2}\(0\.0 s\)\n/);
    const again = await me.push();
    assert.deepEqual([again.status, again.output], [0, 'COMMIT1 is live as v1\nEverything up-to-date\n']);
  });

  it('unit files only, where the server only emits them', async () => {
    await using emits = await startServer({ config: { target: 'emit' } });
    const me = await emits.client();
    await me.commit(emits.quickApp('one'));
    const push = await me.push();
    assert.equal(push.status, 0, push.output);
    assert.match(push.output, /Unit files are ready: \S.* units show shop\n/);
    assert.match(push.output, /-----> Released v1 {2}\(/);
    assert.deepEqual(emits.containers(), []);
    const units = await emits.ssh(['units', 'show', me.app]);
    assert.equal(units.status, 0);
    assert.match(units.stdout, /ExecStart=/);
    assert.equal((await emits.ssh(['scale', me.app, 'web=2'])).status, 0);
    const systemd = readdirSync(join(emits.data, 'units', me.app, 'v1', 'systemd'));
    assert.deepEqual(
      systemd,
      [1, 2].map((index) => `dinp-${me.app}--web--v1--${index}.service`),
    );

    await me.commit({
      'dinp.yml': 'target: kustomize\n',
      'k8s/kustomization.yaml': 'resources: [pod.yaml]\n',
      'k8s/pod.yaml':
        'apiVersion: v1\nkind: Pod\nmetadata: {name: shop}\nspec: {containers: [{name: main, image: acme/shop}]}\n',
    });
    const own = await me.push();
    assert.equal(own.status, 0, own.output);
    const shown = await emits.ssh(['units', 'show', me.app, '--json']);
    const files = JSON.parse(shown.stdout) as { name: string; text: string }[];
    const kept = join(emits.data, 'units', me.app, 'v2', 'kustomize');
    for (const { name, text } of files) assert.equal(readFileSync(join(kept, name), 'utf8'), text);
    const pod = kustomize(files)[0] as { spec: { containers: { image: string }[] } };
    assert.match(pod.spec.containers[0]!.image, /^127\.0\.0\.1:\d+\/[^@]+@sha256:[0-9a-f]{64}$/);
  });
});
