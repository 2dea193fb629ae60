import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { copyFileSync, cpSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { debianPackage } from '../support/debian-package.ts';
import { startServer, type TestServer } from '../support/dinp-server.ts';
import type { GitClient, Pushed } from '../support/git-client.ts';
import { npmPackage } from '../support/npm-package.ts';
import { makeWheel } from '../support/wheel.ts';
import { zipFolder } from '../support/zip-folder.ts';

/** Software of others, as Debian and npm ship it, pushed without a file of ours in it. */
describe('real software is pushed and runs', { concurrency: 2 }, () => {
  let server: TestServer;
  before(async () => {
    server = await startServer({ bases: ['glibc', 'jre17', 'node', 'php', 'python', 'tomcat10'] });
  });
  after(async () => {
    await server?.endTidily();
  });

  /** Pushes what lies in the clone; the app must answer. */
  async function pushed(me: GitClient): Promise<Pushed> {
    await me.commit({});
    const push = await me.push();
    assert.equal(push.status, 0, push.output);
    return push;
  }

  it("Tomcat's examples, exploded and then as a war", async () => {
    const me = await server.client();
    const examples = join(debianPackage('tomcat10-examples'), 'usr/share/tomcat10-examples/examples');
    cpSync(examples, me.folder, { recursive: true });
    const first = await pushed(me);
    assert.match(first.output, /Found .*web application/);
    const page = await server.curl(me.app, '/jsp/num/numguess.jsp');
    assert.equal(page.status, 200);
    assert.match(page.body, /Number Guess/);

    execFileSync('git', ['rm', '-rq', '.'], { cwd: me.folder });
    await zipFolder(examples, join(me.folder, 'examples.war'));
    const second = await pushed(me);
    assert.match(second.output, /Found .*examples\.war/);
    assert.match((await server.curl(me.app, '/servlets/servlet/HelloWorldExample')).body, /Hello World/);
  });

  it('a runnable jar: the H2 database with its web console', async () => {
    const me = await server.client();
    const jar = join(debianPackage('libh2-java'), 'usr/share/java/h2-2.1.214.jar');
    copyFileSync(jar, join(me.folder, 'h2.jar'));
    const options = '-web -webAllowOthers -webPort $PORT -webExternalNames $DINP_APP.localhost';
    const push = await me.commit({ Procfile: `web: java -jar app.jar ${options}\n` }).then(() => me.push());
    assert.equal(push.status, 0, push.output);
    assert.match(push.output, /Found .*h2\.jar/);
    assert.match((await server.curl(me.app)).body, /H2/);
  });

  it('WordPress, with links that lead out of its tree', async () => {
    const me = await server.client();
    const root = join(debianPackage('wordpress'), 'usr/share/wordpress');
    cpSync(root, me.folder, { recursive: true, verbatimSymlinks: true });
    // Debian's own reads the database's password from /etc; a tree from elsewhere has none yet.
    rmSync(join(me.folder, 'wp-config.php'));
    const push = await pushed(me);
    assert.match(push.output, /Found PHP app/);
    const page = await server.curl(me.app, '/wp-admin/setup-config.php');
    assert.equal(page.status, 200);
    assert.match(page.body, /WordPress &rsaquo; Setup Configuration File/);
    assert.equal((await server.curl(me.app, '/wp-includes/css/buttons.css')).status, 200);
    assert.equal((await server.curl(me.app, '/.htaccess')).status, 404);
  });

  it("npm's http-server with its node_modules", async () => {
    const me = await server.client();
    cpSync(join(npmPackage('http-server@14.1.1'), 'node_modules'), join(me.folder, 'node_modules'), {
      recursive: true,
      verbatimSymlinks: true,
    });
    await me.commit({
      'package.json': JSON.stringify({
        name: 'pages',
        scripts: { start: 'http-server public -p $PORT' },
        dependencies: { 'http-server': '14.1.1' },
      }),
      'public/hello.txt': 'Hello from http-server\n',
    });
    const push = await pushed(me);
    assert.match(push.output, /Found .*Node\.js/);
    assert.deepEqual(await server.curl(me.app, '/hello.txt'), { status: 200, body: 'Hello from http-server\n' });
    // What seldom changes is a layer of its own, and not packed twice.
    await me.commit({ 'public/hello.txt': 'Hello again\n' });
    const again = await pushed(me);
    assert.match(again.output, /dependencies .*(?:unchanged|reused)/);
    assert.equal((await server.curl(me.app, '/hello.txt')).body, 'Hello again\n');
  });

  it('Flask from wheels, one of them compiled', async () => {
    const me = await server.client();
    const names = ['Flask', 'Werkzeug', 'Jinja2', 'MarkupSafe', 'itsdangerous', 'click'];
    for (const name of names) await makeWheel(`python3-${name.toLowerCase()}`, name, join(me.folder, 'wheels'));
    await me.commit({
      'requirements.txt': ['flask==2.2.2', ...names.slice(1), ''].join('\n'),
      'app.py': [
        'import os, markupsafe._speedups',
        'from flask import Flask',
        'app = Flask(__name__)',
        '@app.route("/")',
        'def hello(): return "Hello from Flask\\n"',
        'app.run(host="0.0.0.0", port=int(os.environ["PORT"]))\n',
      ].join('\n'),
    });
    const push = await pushed(me);
    assert.match(push.output, /Found .*Python/);
    assert.deepEqual(await server.curl(me.app), { status: 200, body: 'Hello from Flask\n' });
  });

  it('the Prometheus node exporter, a Go program that listens on 9100', async () => {
    const me = await server.client();
    copyFileSync(
      join(debianPackage('prometheus-node-exporter'), 'usr/bin/prometheus-node-exporter'),
      join(me.folder, 'node-exporter'),
    );
    await me.commit({ 'dinp.yml': 'port: 9100\nhealth: {path: /metrics, contains: go_gc_duration_seconds}\n' });
    const push = await pushed(me);
    assert.match(push.output, /Found .*Linux program/);
    assert.match((await server.curl(me.app, '/metrics')).body, /node_exporter_build_info/);
  });

  it("the Debian administrator's handbook, a documentation site", async () => {
    const me = await server.client();
    const html = join(debianPackage('debian-handbook'), 'usr/share/doc/debian-handbook/html/en-US');
    mkdirSync(join(me.folder, 'public'));
    cpSync(html, join(me.folder, 'public'), { recursive: true, verbatimSymlinks: true });
    const push = await pushed(me);
    assert.match(push.output, /Found static site/);
    assert.match((await server.curl(me.app)).body, /Debian/);
  });
});
