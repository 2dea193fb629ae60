import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { startServer, type TestServer } from '../../support/dinp-server.ts';

describe('what a push may move', { concurrency: 2 }, () => {
  let server: TestServer;
  before(async () => {
    server = await startServer({ config: { builds: { parallel: 4 } } });
  });
  after(async () => {
    await server?.endTidily();
  });

  it('refuses another branch, saying how to deploy it, and deploys the deploy branch beside it', async () => {
    const me = await server.client();
    await me.commit(server.quickApp('one'));
    await me.push();

    const only = await me.push('master:feature');
    assert.deepEqual(
      [only.status, only.output],
      [
        1,
        `Branch feature does not deploy shop; master does. To deploy it:

    git push dinp feature:master

To make it the deploy branch: ssh -p PORT dinp@127.0.0.1 apps set shop --branch feature
To ssh://127.0.0.1:PORT/shop
 ! [remote rejected] master -> feature (hook declined)
error: failed to push some refs to 'ssh://127.0.0.1:PORT/shop'
`,
      ],
    );

    await me.commit(server.quickApp('two'));
    const both = await me.push('master', 'master:feature');
    assert.equal(both.status, 1);
    assert.match(both.output, /^Branch feature does not deploy shop/);
    assert.match(both.output, /-----> Released v2 /);
    assert.match(both.output, / {3}COMMIT1\.\.COMMIT2 {2}master -> master\n ! \[remote rejected\] master -> feature/);
    assert.equal((await server.curl(me.app)).body, 'two\n');
    assert.equal(server.ref(me.app, 'refs/heads/feature'), undefined);
  });

  it('deploys master of several branches at the first push, and refuses several without one', async () => {
    const me = await server.client();
    await me.commit(server.quickApp('one'));
    await me.git('branch', 'feature');
    await me.git('branch', 'other');
    const neither = await me.push('feature', 'other');
    assert.deepEqual(
      [neither.status, neither.output],
      [
        1,
        `Which of these branches shall deploy? feature, other
The first push to an app decides it: push that one alone first, for example

    git push dinp feature
To ssh://127.0.0.1:PORT/shop
 ! [remote rejected] feature -> feature (pre-receive hook declined)
 ! [remote rejected] other -> other (pre-receive hook declined)
error: failed to push some refs to 'ssh://127.0.0.1:PORT/shop'
`,
      ],
    );
    assert.deepEqual(server.builds(me.app), []);

    const all = await me.push('--all');
    assert.equal(all.status, 1);
    assert.match(all.output, /-----> Released v1 /);
    assert.equal(server.ref(me.app, 'HEAD'), me.commits[0]);
    assert.equal(server.ref(me.app, 'refs/heads/feature'), undefined);
  });

  it('makes the first branch that is pushed the deploy branch, whatever its name; HEAD follows', async () => {
    const me = await server.client();
    await me.commit(server.quickApp('one'));
    const push = await me.push('master:release/2.x');
    assert.equal(push.status, 0, push.output);
    assert.equal(server.ref(me.app, 'HEAD'), me.commits[0]);
    const tags = await server.tags(me.app);
    assert.ok(tags.includes('release-2.x'), tags.join(' '));
    await me.commit({}, 'more');
    const other = await me.push('master');
    assert.equal(other.status, 1);
    assert.match(other.output, /git push dinp master:release\/2\.x/);
    await me.git('clone', '-q', server.url(me.app), 'copy');
    assert.equal(await me.git('-C', 'copy', 'rev-parse', 'HEAD'), me.commits[0]);
    assert.equal(await me.git('-C', 'copy', 'branch', '--show-current'), 'release/2.x');
  });

  it('stores tags and does not deploy them', async () => {
    const me = await server.client();
    await me.commit(server.quickApp('one'));
    await me.push();
    await me.git('tag', 'v1.0');
    const push = await me.push('v1.0');
    assert.deepEqual(
      [push.status, push.output],
      [
        0,
        `Tags are stored and do not deploy; master does.
To ssh://127.0.0.1:PORT/shop
 * [new tag]         v1.0 -> v1.0
`,
      ],
    );
    assert.equal(server.ref(me.app, 'refs/tags/v1.0'), me.commits[0]);
    const gone = await me.push('--delete', 'v1.0');
    assert.equal(gone.status, 0, gone.output);
    assert.equal(server.ref(me.app, 'refs/tags/v1.0'), undefined);
    assert.equal(server.builds(me.app).length, 1);
  });

  it('does not delete the deploy branch', async () => {
    const me = await server.client();
    await me.commit(server.quickApp('one'));
    await me.push();
    const push = await me.push('--delete', 'master');
    assert.deepEqual(
      [push.status, push.output],
      [
        1,
        `master is the deploy branch of shop and cannot be deleted. To take the app down:

    ssh -p PORT dinp@127.0.0.1 stop shop      keeps it, ssh -p PORT dinp@127.0.0.1 start brings it back
    ssh -p PORT dinp@127.0.0.1 apps destroy shop   removes it
To ssh://127.0.0.1:PORT/shop
 ! [remote rejected] master (hook declined)
error: failed to push some refs to 'ssh://127.0.0.1:PORT/shop'
`,
      ],
    );
    assert.equal(server.ref(me.app, 'refs/heads/master'), me.commits[0]);
    assert.deepEqual(await server.curl(me.app), { status: 200, body: 'one\n' });
  });

  it('deploys a forced push', async () => {
    const me = await server.client();
    await me.commit(server.quickApp('one'));
    await me.push();
    await me.git('commit', '-q', '--amend', '-m', 'rewritten');
    await me.commit({ 'index.html': 'rewritten\n' });
    const refused = await me.push();
    assert.equal(refused.status, 1);
    assert.match(refused.output, /^COMMIT1 is live as v1 [\s\S]*! \[rejected\] +master -> master \(non-fast-forward\)/);
    const forced = await me.push('--force', 'master');
    assert.equal(forced.status, 0, forced.output);
    assert.match(forced.output, / \+ COMMIT1\.\.\.COMMIT2 master -> master \(forced update\)\n$/);
    assert.deepEqual(await server.curl(me.app), { status: 200, body: 'rewritten\n' });
    const back = await me.push('--force', `${me.commits[0]}:refs/heads/master`);
    assert.equal(back.status, 0, back.output);
    assert.deepEqual(await server.curl(me.app), { status: 200, body: 'one\n' });
  });

  it('deploys again by refs/deploy/now, which is never stored, and only what the branch holds', async () => {
    const me = await server.client();
    const early = await server.client();
    await early.commit(server.quickApp('one'));
    const nothing = await early.push('master:refs/deploy/now');
    assert.deepEqual(
      [nothing.status, nothing.output],
      [
        1,
        `Nothing was pushed to this app yet: push a branch first.
To ssh://127.0.0.1:PORT/shop
 ! [remote rejected] master -> refs/deploy/now (nothing to deploy)
error: failed to push some refs to 'ssh://127.0.0.1:PORT/shop'
`,
      ],
    );

    await me.commit(server.quickApp('one'));
    await me.push();
    const again = await me.push('master:refs/deploy/now');
    assert.equal(again.status, 0);
    assert.equal(
      again.output,
      `-----> Reading COMMIT1 of shop  [+0.0 s]
-----> Looking for what to deploy  [+0.0 s]
       Found Dockerfile
-----> Making the image  [+0.0 s]
       Unchanged, reusing 127.0.0.1:PORT/shop@sha256:…
-----> Recording the release  [+0.0 s]
       v2 is commit COMMIT1 with 0 config values
-----> Starting v2  [+0.0 s]
       web.1 accepts connections on port 8080, 0.0 s after its start
-----> Moving the traffic  [+0.0 s]
       Traffic goes to shop v2
       Stopping web.1 of v1
       Also at http://127.0.0.1:PORT
-----> Released v2  http://shop.localhost:PORT  (0.0 s)
To ssh://127.0.0.1:PORT/shop
 * [new reference]   master -> refs/deploy/now
`,
    );
    assert.equal(server.ref(me.app, 'refs/deploy/now'), undefined);

    await me.commit(server.quickApp('two'));
    const wrong = await me.push('master:refs/deploy/now');
    assert.deepEqual(
      [wrong.status, wrong.output],
      [
        1,
        `refs/deploy/now deploys what master holds here (COMMIT1) again. To deploy COMMIT2 instead:

    git push --force dinp COMMIT2:refs/heads/master
To ssh://127.0.0.1:PORT/shop
 ! [remote rejected] master -> refs/deploy/now (not the tip of master)
error: failed to push some refs to 'ssh://127.0.0.1:PORT/shop'
`,
      ],
    );
    const unknown = await me.push('master:refs/deploy/later');
    assert.equal(unknown.status, 1);
    assert.match(unknown.output, /^There is no refs\/deploy\/later; refs\/deploy\/now deploys again\.\n/);
    assert.equal(server.builds(me.app).length, 2);
  });

  it('stores nothing but branches and tags', async () => {
    const me = await server.client();
    await me.commit(server.quickApp('one'));
    const push = await me.push('master:refs/notes/x');
    assert.equal(push.status, 1);
    assert.match(push.output, /! \[remote rejected\] master -> refs\/notes\/x \(deny updating a hidden ref\)/);
    assert.equal(server.ref(me.app, 'refs/notes/x'), undefined);
    const hidden = await me.push('master:refs/dinp/releases/9');
    assert.equal(hidden.status, 1);
    assert.equal(server.ref(me.app, 'refs/dinp/releases/9'), undefined);
  });

  it('knows its push options: no-cache builds anew, detach ends at once, another lists them', async () => {
    const me = await server.client();
    await me.commit(server.quickApp('one', 'RUN echo really made'));
    await me.push();
    const noCache = await me.push('-o', 'no-cache', 'master:refs/deploy/now');
    assert.equal(noCache.status, 0, noCache.output);
    assert.match(noCache.output, / really made\n/);
    assert.doesNotMatch(noCache.output, /Unchanged/);

    await me.commit(server.quickApp('two', 'RUN echo really made'));
    const unknown = await me.push('-o', 'nocache', 'master');
    assert.deepEqual(
      [unknown.status, unknown.output],
      [
        1,
        `Unknown push option "nocache". There are:
    -o no-cache  build from nothing, reuse no image
    -o detach    end the push at once and leave the build running
To ssh://127.0.0.1:PORT/shop
 ! [remote rejected] master -> master (pre-receive hook declined)
error: failed to push some refs to 'ssh://127.0.0.1:PORT/shop'
`,
      ],
    );

    const detached = await me.push('-o', 'detach', 'master');
    assert.deepEqual(
      [detached.status, detached.output],
      [
        0,
        `Build #3 goes on by itself. To read it: ssh -p PORT dinp@127.0.0.1 builds log shop 3 -f
To ssh://127.0.0.1:PORT/shop
   COMMIT1..COMMIT2  master -> master
`,
      ],
    );
    const log = await server.dinp('builds', 'log', me.app, '3', '-f');
    assert.equal(log.status, 0);
    assert.match(log.stdout, /-----> Released v3 /);
    assert.deepEqual(await server.curl(me.app), { status: 200, body: 'two\n' });
  });

  it('refuses what cannot be an app name, before anything is made', async () => {
    const names: [string, RegExp][] = [
      ['Shop', /"Shop" cannot be an app name: only lower-case letters.*\n.*Use shop instead\./],
      ['my_shop', /Use my-shop instead\./],
      ['www', /"www" cannot be an app name: it is a reserved word\./],
      ['a--b', /only lower-case letters, digits and single hyphens/],
      ['x'.repeat(40), /it has 40 characters; at most 39 fit/],
      ['../shop', /cannot be an app name|not a repository/],
    ];
    for (const [app, text] of names) {
      const me = await server.client({ app });
      await me.commit({ 'index.html': 'x' });
      const push = await me.push();
      assert.equal(push.status, 128, `${app}: ${push.raw}`);
      assert.match(push.raw, text);
    }
    const list = JSON.parse((await server.ssh(['apps', 'list', '--json'])).stdout) as { name: string }[];
    for (const { name } of list) assert.ok(name.startsWith(server.prefix), name);
  });

  it('names the nearest app to a deployer who mistypes, and to nobody else’s', async () => {
    const me = await server.client();
    await me.commit(server.quickApp('one'));
    await me.push();
    await server.addDeployer('ada', me.app);
    const ada = await server.client({ app: me.app.replace('-', ''), person: 'ada' });
    await ada.commit(server.quickApp('two'));
    const typo = await ada.push();
    assert.equal(typo.status, 128);
    assert.match(typo.raw, new RegExp(`ada may not use an app named ${ada.app}\\.\n.*This key may use: ${me.app}\\.`));

    await ada.git('remote', 'set-url', 'dinp', server.url(me.app));
    const forced = await ada.push('--force', 'master');
    assert.equal(forced.status, 0, forced.output);
    assert.deepEqual(await server.curl(me.app), { status: 200, body: 'two\n' });

    const theirs = await server.client();
    await theirs.commit(server.quickApp('secret'));
    await theirs.push();
    await ada.git('remote', 'set-url', 'dinp', server.url(theirs.app));
    const denied = await ada.push();
    assert.equal(denied.status, 128);
    assert.match(denied.raw, /ada may not use an app named/);
    assert.equal((await ada.start('fetch', 'dinp').ended).status, 128);
    const list = await server.ssh(['apps', 'list', '--json'], { person: 'ada' });
    assert.deepEqual(
      (JSON.parse(list.stdout) as { name: string }[]).map(({ name }) => name),
      [me.app],
    );
    for (const command of [
      ['apps', 'create', 'x1'],
      ['logs', theirs.app],
      ['apps', 'destroy', me.app, '--confirm', me.app],
    ]) {
      const { status } = await server.ssh(command, { person: 'ada' });
      assert.notEqual(status, 0, command.join(' '));
    }
  });

  it('lets an unknown key in nowhere', async () => {
    const me = await server.client();
    await me.commit(server.quickApp('one'));
    await me.push();
    await server.addDeployer('eve', me.app);
    await server.dinpOk('keys', 'remove', 'eve');
    const eve = await server.client({ app: me.app, person: 'eve' });
    await eve.commit(server.quickApp('two'));
    const push = await eve.push();
    assert.equal(push.status, 128);
    assert.match(push.output, /Permission denied \(publickey\)/);
  });
});
