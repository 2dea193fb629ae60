import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { startServer, type TestServer } from '../support/dinp-server.ts';
import type { Files, GitClient } from '../support/git-client.ts';
import { until } from '../support/until.ts';

/** A catalogue of an operator who has teams that write C. */
const CATALOGUE = `
c-tools:
  image: base/c-tools:1
  build:
    method: extract
    depends: true
    packages: [gcc, libc6-dev, make, busybox-static, dash]
    busybox: true
`;

/** Answers every request with one line. */
const MAIN_C = `
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int main(int argc, char **argv) {
  if (argc > 1 && strcmp(argv[1], "--check") == 0) return puts("all checks passed") < 0;
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(getenv("PORT")))};
  int one = 1, listener = socket(AF_INET, SOCK_STREAM, 0);
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 16)) return perror("listen"), 1;
  for (;;) {
    char request[4096];
    int client = accept(listener, NULL, NULL);
    if (client < 0) continue;
    if (read(client, request, sizeof request) > 0)
      dprintf(client, "HTTP/1.0 200 OK\\r\\nConnection: close\\r\\n\\r\\nhello from " NAME "\\n");
    close(client);
  }
}
`;
const MAKEFILE = `out/hello: main.c
\tmkdir -p out
\tgcc -static -O1 -DNAME='"C"' -o $@ main.c
`;

/** dinp.yml of a site that a builder makes into `out`. */
function site(build: string[], test: string[] = [], more = ''): Files {
  return {
    'dinp.yml': `builder: {image: busybox}\nscripts:\n  build: ${JSON.stringify(build)}\n  test: ${JSON.stringify(test)}\noutput: out\n${more}`,
  };
}
const MAKE = 'mkdir -p out && cp site/* out/';

describe('builders', { concurrency: 2 }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'dinp-builders-'));
  let server: TestServer;
  before(async () => {
    writeFileSync(join(folder, 'bases.yml'), CATALOGUE);
    server = await startServer({ config: { bases: { auto: true, file: join(folder, 'bases.yml') } } });
  });
  after(async () => {
    await server.endTidily();
    rmSync(folder, { recursive: true });
  });
  async function pushed(me: GitClient, ...args: string[]): Promise<string> {
    const { status, output } = await me.push(...args);
    assert.equal(status, 0, output);
    return output;
  }
  async function refused(me: GitClient): Promise<string> {
    const { status, output } = await me.push();
    assert.equal(status, 1, output);
    return output;
  }

  it('compile what is pushed, test it, and deploy what they leave', async () => {
    const me = await server.client();
    await me.commit({
      'main.c': MAIN_C,
      Makefile: MAKEFILE,
      'dinp.yml': 'builder: {image: c-tools}\nscripts: {build: make, test: [./out/hello --check]}\noutput: out\n',
    });
    const output = await pushed(me);
    assert.match(output, /-----> Building in c-tools/);
    assert.match(output, /\$ make\n +mkdir -p out\n +gcc -static/);
    assert.match(output, /\$ \.\/out\/hello --check\n +all checks passed\n/);
    assert.match(output, /Found static Linux program hello/);
    assert.deepEqual(await server.curl(me.app), { status: 200, body: 'hello from C\n' });
  });

  it('stop the deploy where a test fails, with its output, and the old release serves on', async () => {
    const me = await server.client();
    await me.commit({
      ...site([MAKE], ['echo looking; grep good out/index.html']),
      'site/index.html': 'a good page\n',
    });
    await pushed(me);
    await me.commit({ 'site/index.html': 'a bad page\n' });
    const output = await refused(me);
    assert.match(
      output,
      /failed in stage compile: scripts\.test: "echo looking; grep good out\/index\.html" ended with exit status 1/,
    );
    assert.match(output, /^ {9}looking$/m);
    assert.match(output, /Nothing was deployed/);
    assert.deepEqual(await server.curl(me.app), { status: 200, body: 'a good page\n' });
    assert.equal(server.releases(me.app).length, 1);
    await me.commit(site(['no-such-tool']));
    assert.match(await refused(me), /scripts\.build: "no-such-tool" ended with exit status 127[\s\S]*builder\.image/);
  });

  it('compile nothing where what is watched did not change', async () => {
    const me = await server.client();
    await me.commit({ ...site([MAKE], [], 'watch: [site]\n'), 'site/index.html': 'one\n', 'README.md': 'one\n' });
    assert.match(await pushed(me), /\$ mkdir/);
    await me.commit({ 'README.md': 'two\n' });
    const output = await pushed(me);
    assert.match(output, /Unchanged: the registry has the image of these sources/);
    assert.match(output, /Unchanged, reusing/);
    assert.doesNotMatch(output, /\$ mkdir/);
    assert.equal((await server.tags(me.app)).filter((tag) => tag.startsWith('compiled-')).length, 1);
    assert.match(await pushed(me, '-o', 'no-cache', 'master:refs/deploy/now'), /\$ mkdir/);
    // How it runs is no matter of the image; what is built is.
    await me.commit(site([MAKE], [], 'watch: [site]\nmemory: 64M\n'));
    assert.match(await pushed(me), /Unchanged: the registry/);
    await me.commit(site([MAKE, 'echo more > out/more.txt'], [], 'watch: [site]\n'));
    assert.match(await pushed(me), /\$ echo more/);
    assert.equal((await server.curl(me.app, '/more.txt')).body, 'more\n');
    await me.commit({ 'site/index.html': 'two\n' });
    assert.match(await pushed(me), /\$ mkdir/);
    assert.equal((await server.curl(me.app)).body, 'two\n');
  });

  it('have no engine, and a cache that is the app’s alone', async () => {
    const script = [
      'mkdir out',
      'ls /var/run/docker.sock /run/docker.sock 2>/dev/null || echo no engine > out/index.html',
      'cat /cache/builds >> out/index.html 2>/dev/null || :',
      'echo built $DINP_COMMIT >> /cache/builds',
      'echo $CI $GREETING >> out/index.html',
    ];
    const me = await server.client();
    const first = await me.commit({ ...site(script, [], 'env: {GREETING: hello}\n'), 'a.txt': 'one' });
    await pushed(me);
    assert.equal((await server.curl(me.app)).body, 'no engine\ntrue hello\n');
    await me.commit({ 'a.txt': 'two' });
    await pushed(me);
    assert.equal((await server.curl(me.app)).body, `no engine\nbuilt ${first}\ntrue hello\n`);
    const other = await server.client();
    await other.commit(site(script, [], 'env: {GREETING: hello}\n'));
    await pushed(other);
    assert.equal((await server.curl(other.app)).body, 'no engine\ntrue hello\n');
    assert.ok(server.volumes().includes(`dinp-cache-${me.app}`));
  });

  it('say what is there where the output is not, and which image cannot be had', async () => {
    const me = await server.client();
    await me.commit(site(['mkdir dist && echo hi > dist/index.html']));
    assert.match(
      await refused(me),
      /left no out, and dinp\.yml says that it is the output[\s\S]*\/src holds dinp\.yml, dist\//,
    );
    await me.commit({ 'dinp.yml': `builder: {image: ${server.registry.address}/no/such:1}\nscripts: {build: make}\n` });
    assert.match(await refused(me), /builder of dinp\.yml .*no\/such:1, which the registry .* does not have/);
    await me.commit({ 'dinp.yml': 'builder: {image: static}\nscripts: {build: make}\n' });
    assert.match(await refused(me), /has no \/bin\/sh/);
  });

  it('end within a second or so of a cancel, and leave no container', async () => {
    const me = await server.client();
    await me.commit(site(['echo started; sleep 1234 & sleep 1234']));
    const push = me.startPush();
    await until('the script runs', () => /^ +started$/m.test(push.output()));
    const began = performance.now();
    await server.dinpOk('builds', 'cancel', me.app);
    const { status, output } = await push.ended;
    assert.ok(performance.now() - began < 30_000);
    assert.equal(status, 1);
    assert.match(output, /canceled/);
    assert.deepEqual(server.containers(me.app), []);
  });

  it('end at their time limit', async () => {
    const me = await server.client();
    await me.commit(site(['sleep 1234'], [], 'timeout: 5s\n'));
    assert.match(await refused(me), /stage compile was still going when the build's 0.0 s were over/);
    assert.deepEqual(server.containers(me.app), []);
  });
});

describe('builders of a server that is killed', { concurrency: 2 }, () => {
  it('are gone with it, and the build starts over', async () => {
    await using server = await startServer();
    const me = await server.client();
    // The cache tells the second time from the first.
    await me.commit(
      site([
        'mkdir out; [ -e /cache/once ] || { touch /cache/once; echo waiting; sleep 1234; }; echo done > out/index.html',
      ]),
    );
    const push = me.startPush();
    await until('the script waits', () => /^ +waiting$/m.test(push.output()));
    assert.equal(server.containers(me.app).length, 1);
    const [container] = server.containers(me.app);
    await server.kill();
    await push.ended;
    await server.start();
    await until('the build ends', () => server.builds(me.app)[0]?.state === 'succeeded');
    assert.equal((await server.curl(me.app)).body, 'done\n');
    assert.ok(!server.containers(me.app).includes(container!));
    const all = execFileSync('docker', ['ps', '-a', '--format', '{{.Names}}'], { encoding: 'utf8' });
    assert.ok(!all.includes(`dinp-build-${me.app}`), all);
    assert.deepEqual(await server.problems(), []);
  });

  it('need an engine, and say so', async () => {
    await using server = await startServer({ config: { docker: { socket: '/nowhere/docker.sock' } } });
    const me = await server.client();
    await me.commit(site(['mkdir out']));
    const { status, output } = await me.push();
    assert.equal(status, 1);
    assert.match(output, /dinp\.yml has a builder, which runs in a container\. The Docker Engine does not answer/);
  });
});
