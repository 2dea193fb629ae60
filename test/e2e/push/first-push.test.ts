import assert from 'node:assert/strict';
import { cpSync, existsSync, readdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { startServer, type TestServer } from '../../support/dinp-server.ts';

const STATIC_SITE = resolve(import.meta.dirname, '../../fixtures/apps/hello-static');

describe('git push dinp master', { concurrency: 2 }, () => {
  let server: TestServer;
  before(async () => {
    server = await startServer({ config: { builds: { parallel: 4 } } });
  });
  after(async () => {
    await server?.endTidily();
  });

  it('makes an app of the first push, which answers at the printed addresses, and replaces it at the second', async () => {
    const me = await server.client();
    cpSync(STATIC_SITE, me.folder, { recursive: true });
    const one = await me.commit({});

    const first = await me.push();
    assert.equal(
      first.output,
      `-----> Reading COMMIT1 of shop  [+0.0 s]
-----> Looking for what to deploy  [+0.0 s]
       Found static site in the top folder (2 files)
-----> Making the image  [+0.0 s]
       Base static-site@sha256:… (1 layer, in the registry)
       application  2 files, 270 bytes → N bytes in 0.0 s
       Pushed 127.0.0.1:PORT/shop@sha256:…
-----> Recording the release  [+0.0 s]
       v1 is commit COMMIT1 with 0 config values
-----> Starting v1  [+0.0 s]
       pulling the image
       pulled the image (0.0 s)
       web.1 accepts connections on port 8080, 0.0 s after its start
-----> Moving the traffic  [+0.0 s]
       Traffic goes to shop v1
       Also at http://127.0.0.1:PORT
-----> Released v1  http://shop.localhost:PORT  (0.0 s)
To ssh://127.0.0.1:PORT/shop
 * [new branch]      master -> master
`,
    );
    assert.equal(first.status, 0);
    const [named] = /http:\/\/\S+\.localhost:\d+/.exec(first.raw)!;
    const [byPort] = /(?<=Also at )\S+/.exec(first.raw)!;
    for (const url of [named, byPort]) {
      const page = await server.curlUrl(`${url}/`);
      assert.equal(page.status, 200);
      assert.match(page.body, /<h1>Hello from a static site<\/h1>/);
    }

    const tags = await server.tags(me.app);
    assert.deepEqual(
      tags.filter((tag) => !/^(?:key|layer|sha256)-/.test(tag)),
      [one, 'b1', 'master'].sort(),
    );
    const unitFolder = join(server.data, 'units', me.app, 'v1');
    assert.deepEqual(readdirSync(unitFolder).sort(), ['fleet', 'kustomize', 'quadlet', 'swarm', 'systemd']);
    assert.deepEqual(readdirSync(join(unitFolder, 'systemd')), [`dinp-${me.app}--web--v1--1.service`]);
    const [release] = server.releases(me.app);
    assert.equal(release?.state, 'live');
    assert.deepEqual(JSON.parse(release!.source), { kind: 'commit', sha: one, ref: 'refs/heads/master' });
    assert.equal(server.ref(me.app, 'HEAD'), one);

    await me.commit({ 'index.html': '<h1>Second</h1>\n' });
    const second = await me.push();
    assert.equal(
      second.output,
      `-----> Reading COMMIT2 of shop  [+0.0 s]
-----> Looking for what to deploy  [+0.0 s]
       Found static site in the top folder (2 files)
-----> Making the image  [+0.0 s]
       Base static-site@sha256:… (1 layer, in the registry)
       application  2 files, 68 bytes → N bytes in 0.0 s
       Pushed 127.0.0.1:PORT/shop@sha256:…
-----> Recording the release  [+0.0 s]
       v2 is commit COMMIT2 with 0 config values
-----> Starting v2  [+0.0 s]
       pulling the image
       pulled the image (0.0 s)
       web.1 accepts connections on port 8080, 0.0 s after its start
-----> Moving the traffic  [+0.0 s]
       Traffic goes to shop v2
       Stopping web.1 of v1
       Also at http://127.0.0.1:PORT
-----> Released v2  http://shop.localhost:PORT  (0.0 s)
To ssh://127.0.0.1:PORT/shop
   COMMIT1..COMMIT2  master -> master
`,
    );
    assert.equal(second.status, 0);
    for (const url of [named, byPort]) assert.equal((await server.curlUrl(`${url}/`)).body, '<h1>Second</h1>\n');
    assert.deepEqual(server.containers(me.app), [`dinp-${me.app}--web--v2--1`]);
    assert.deepEqual(
      server.releases(me.app).map(({ number, state }) => [number, state]),
      [
        [1, 'past'],
        [2, 'live'],
      ],
    );
  });

  it('goes on answering while the next release starts beside the old one', async () => {
    const me = await server.client();
    await me.commit(server.quickApp('one'));
    await me.push();
    await me.commit(server.quickApp('two'));
    const push = me.startPush();
    const pages = new Set<string>();
    let over = false;
    push.child.once('close', () => {
      over = true;
    });
    while (!over) {
      const { status, body } = await server.curl(me.app);
      pages.add(`${status} ${body}`);
    }
    assert.equal((await push.ended).status, 0);
    assert.deepEqual(
      [...pages].filter((page) => page !== '200 one\n' && page !== '200 two\n'),
      [],
    );
    assert.deepEqual(await server.curl(me.app), { status: 200, body: 'two\n' });
  });

  it('answers "Everything up-to-date" with the live release and builds nothing', async () => {
    const me = await server.client();
    await me.commit(server.quickApp('one'));
    await me.push();
    const again = await me.push();
    assert.deepEqual(
      [again.status, again.output],
      [
        0,
        `COMMIT1 is live as v1  http://shop.localhost:PORT  http://127.0.0.1:PORT
web.1 at 127.0.0.1:PORT
Everything up-to-date
`,
      ],
    );
    assert.equal(server.builds(me.app).length, 1);
  });

  it('stores and builds nothing in a dry run, and says what is live', async () => {
    const me = await server.client();
    await me.commit(server.quickApp('one'));
    const before = await me.push('--dry-run', 'master');
    assert.deepEqual(
      [before.status, before.output],
      [
        0,
        `There is no app shop yet: the first push creates it, and its branch deploys.
To ssh://127.0.0.1:PORT/shop
 * [new branch]      master -> master
`,
      ],
    );
    assert.notEqual((await server.ssh(['apps', 'info', me.app])).status, 0);

    await me.push();
    await me.commit(server.quickApp('two'));
    const dry = await me.push('--dry-run', 'master');
    assert.deepEqual(
      [dry.status, dry.output],
      [
        0,
        `COMMIT1 is live as v1  http://shop.localhost:PORT  http://127.0.0.1:PORT
web.1 at 127.0.0.1:PORT
To ssh://127.0.0.1:PORT/shop
   COMMIT1..COMMIT2  master -> master
`,
      ],
    );
    assert.equal(server.ref(me.app, 'refs/heads/master'), me.commits[0]);
    assert.equal(server.builds(me.app).length, 1);
  });

  it('builds the same content once: a commit that changes no file reuses the image', async () => {
    const me = await server.client();
    await me.commit(server.quickApp('one'));
    await me.push();
    await me.commit({}, 'empty');
    const push = await me.push();
    assert.equal(push.status, 0);
    assert.match(push.output, /Unchanged, reusing 127\.0\.0\.1:PORT\/shop@sha256:…\n/);
    assert.doesNotMatch(push.output, /COPY/);
    const tags = await server.tags(me.app);
    for (const tag of [...me.commits, 'b1', 'b2', 'master']) assert.ok(tags.includes(tag), tag);
  });

  it('leaves nothing of a destroyed app', async () => {
    const me = await server.client();
    await me.commit(server.quickApp('one'));
    await me.push();
    const url = server.stableUrl(me.app);
    const destroyed = await server.dinp('apps', 'destroy', me.app, '--confirm', me.app);
    assert.deepEqual(
      [destroyed.status, me.stable(destroyed.stdout)],
      [0, '       Stopping web.1 of v1\nDestroyed shop.\n'],
    );
    assert.deepEqual(server.containers(me.app), []);
    assert.equal((await server.curl(me.app)).status, 404);
    assert.equal((await server.curlUrl(url)).status, 0);
    for (const path of ['repositories', 'units'].map((folder) => join(server.data, folder)))
      assert.deepEqual(
        readdirSync(path).filter((name) => name.startsWith(me.app)),
        [],
      );
    assert.ok(!existsSync(join(server.data, 'repositories', `${me.app}.git`)));
    const pushed = await me.push();
    assert.equal(pushed.status, 0, 'the next push makes it anew');
    assert.match(pushed.output, /Released v1 /);
  });
});
