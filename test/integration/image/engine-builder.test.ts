import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { createServer as createHttpServer } from 'node:http';
import type { Socket } from 'node:net';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import Docker from 'dockerode';
import type { DinpError } from '../../../src/domain/errors.ts';
import type { Tree } from '../../../src/domain/tree.ts';
import { memoryTree } from '../../support/memory-tree.ts';
import { ImageFixture, SOCKET } from './fixture.ts';

let images: ImageFixture;
before(async () => {
  images = await ImageFixture.start();
});
after(async () => {
  await images?.[Symbol.asyncDispose]();
});

/** A Dockerfile over the busybox base, never met before by any cache. */
function appTree(lines: string[], files: Parameters<typeof memoryTree>[0] = {}): Tree {
  return memoryTree({
    Dockerfile: [`FROM ${images.base()}`, ...lines, ''].join('\n'),
    id: randomBytes(8).toString('hex'),
    ...files,
  });
}

async function failure(promise: Promise<unknown>): Promise<DinpError & { output: string }> {
  try {
    await promise;
  } catch (error) {
    assert.equal((error as Error).name, 'DinpError', String((error as Error).stack));
    return error as DinpError & { output: string };
  }
  assert.fail('it should have failed');
}

async function sleepers(mark: string): Promise<number> {
  let count = 0;
  for (const pid of await readdir('/proc')) {
    if (!/^\d+$/.test(pid)) continue;
    const words = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
    if (words.split('\0').join(' ').startsWith(`sleep ${mark}`)) count++;
  }
  return count;
}

for (const kind of ['buildkit', 'classic'] as const) {
  describe(`a Dockerfile with ${kind}`, () => {
    it('is built, pushed, tagged and labelled, and its output is read', async () => {
      const tree = appTree([
        'COPY . /app/',
        'RUN echo hello-from-run && cat /app/id',
        'EXPOSE 9000',
        'HEALTHCHECK CMD true',
        'CMD ["cat", "/app/id"]',
      ]);
      const built = await images.build(tree, { branch: 'feature/One' }, images.builder(kind));
      assert.equal(built.reused, false);
      assert.deepEqual([built.exposedPort, built.hasHealthcheck, built.hasCommand], [9000, true, true]);
      assert.match(built.output, /^\[\d\/\d\] RUN echo hello-from-run && cat \/app\/id\nhello-from-run\n/m);
      assert.equal(built.output.match(/RUN echo hello-from-run/g)?.length, 1);
      const tags = await images.registries.own.listTags(`t-${images.id}`);
      for (const tag of [tree.oid, 'feature-one', 'b1', `key-${built.contentKey}`]) assert.ok(tags.includes(tag), tag);
      const { Config } = await images.docker.getImage(`${built.ref.repository}@${built.ref.digest}`).inspect();
      assert.equal(Config.Labels['org.opencontainers.image.revision'], tree.oid);
      assert.equal(Config.Labels['dinp.image.key'], built.contentKey);
      assert.equal(await images.run(built, ['cat', '/app/id']), (await tree.head(tree.find('id')!, 99)).toString());
    });

    it('fails with the command, its status and its last lines', async () => {
      const tree = appTree([
        'COPY . /app/',
        'RUN echo one; printf "\\033[31mtwo\\033[0m\\n"; exit 7',
        'RUN echo never',
      ]);
      const error = await failure(images.build(tree, {}, images.builder(kind)));
      assert.equal(error.code, 'build-failed');
      assert.match(error.message, /^RUN echo one;.*ended with exit status 7\.$/);
      assert.match(error.detail ?? '', /one\ntwo$/);
      assert.doesNotMatch(error.output, /\x1b|never/);
    });

    it('says which file a COPY misses', async () => {
      const error = await failure(images.build(appTree(['COPY target/app.jar /app.jar']), {}, images.builder(kind)));
      assert.equal(error.code, 'build-failed');
      assert.match(
        error.message,
        /^COPY target\/app\.jar \/app\.jar: target(?:\/app\.jar)? is not in the build context/,
      );
    });

    it('says what is wrong with an unreadable Dockerfile', async () => {
      const error = await failure(images.build(appTree(['FROBNICATE x']), {}, images.builder(kind)));
      assert.match(error.message, /^Dockerfile cannot be read: .*unknown instruction: FROBNICATE/i);
    });

    it('stops quickly when it is canceled, and nothing runs on', async () => {
      const mark = `${1000 + Number.parseInt(randomBytes(2).toString('hex'), 16)}`;
      const controller = new AbortController();
      const started = Promise.withResolvers<void>();
      const building = images.build(
        appTree([`RUN echo begun && sleep ${mark}`]),
        {
          signal: controller.signal,
          onOutput: (text) => text.includes('begun\n') && !text.includes('RUN') && started.resolve(),
        },
        images.builder(kind),
      );
      const failed = failure(building);
      await Promise.race([started.promise, failed]);
      // The shell has printed; its next command comes a moment later.
      for (let tries = 0; (await sleepers(mark)) === 0 && tries < 50; tries++) await delay(20);
      const running = await sleepers(mark);
      const at = Date.now();
      controller.abort();
      assert.equal((await failed).code, 'canceled');
      assert.equal(running, 1);
      assert.ok(Date.now() - at < 2000, `took ${Date.now() - at} ms`);
      for (let tries = 0; (await sleepers(mark)) > 0 && tries < 50; tries++) await delay(100);
      assert.equal(await sleepers(mark), 0);
    });

    it('honours .dockerignore with its exceptions', async () => {
      const tree = appTree(['COPY . /app/'], {
        '.dockerignore': '*\n!src\nsrc/*.log\n!src/keep.log\n# comment\n',
        'secret.txt': 'x',
        'src/a.txt': 'x',
        'src/drop.log': 'x',
        'src/keep.log': 'x',
        'src/deep/b.txt': 'x',
      });
      const built = await images.build(tree, {}, images.builder(kind));
      const found = await images.run(built, ['find', '/app', '-type', 'f']);
      assert.doesNotMatch(found, /secret|drop/);
      for (const path of ['src/a.txt', 'src/keep.log', 'src/deep/b.txt'])
        assert.ok(found.includes(`/app/${path}`), `${path} in ${found}`);
    });

    it('keeps links as links and modes as they are', async () => {
      const tree = appTree(['COPY . /app/', 'RUN ls -l /app && stat -c %a /app/bin'], {
        'bin/run': { mode: '100755', content: '#!/bin/sh\necho ran\n' },
        outside: { mode: '120000', content: '/etc/passwd' },
        'a/up': { mode: '120000', content: '../bin/run' },
      });
      const built = await images.build(tree, {}, images.builder(kind));
      assert.match(built.output, /outside -> \/etc\/passwd/);
      assert.match(built.output, /^755$/m);
      assert.equal(await images.run(built, ['/app/a/up']), 'ran\n');
    });

    it('fails when the engine breaks off in the middle', async () => {
      await using proxy = await engineProxy();
      const running = images.build(
        appTree(['RUN echo begun && sleep 20']),
        { onOutput: (text) => text.includes('begun\n') && !text.includes('RUN') && proxy.cut() },
        images.builder(kind, proxy.docker),
      );
      const error = await failure(running);
      assert.equal(error.code, 'unavailable');
      assert.match(error.message, /broke off/);
    });
  });
}

describe('what is reused', () => {
  it('takes what the registry has under the content key, without a build', async () => {
    const tree = appTree(['RUN date +%s%N > /made']);
    const first = await images.build(tree);
    const second = await images.build(tree, { tag: 'a'.repeat(40), buildNumber: 2, branch: 'other' });
    assert.equal(second.reused, true);
    assert.equal(second.output, '');
    assert.equal(second.ref.digest, first.ref.digest);
    const tags = await images.registries.own.listTags(`t-${images.id}`);
    for (const tag of ['a'.repeat(40), 'b2', 'other']) assert.ok(tags.includes(tag), tag);
  });

  it('pushes what the engine still has when the registry lost it', async () => {
    const tree = appTree(['RUN date +%s%N > /made']);
    const first = await images.build(tree);
    assert.equal(await images.registries.own.deleteManifest(`t-${images.id}`, first.ref.digest), true);
    const second = await images.build(tree);
    assert.equal(second.ref.digest, first.ref.digest);
    assert.doesNotMatch(second.output, /RUN/);
    assert.ok(await images.registries.own.findManifest(`t-${images.id}`, tree.oid));
  });

  it('builds anew without cache, and with another argument under a tag of its own', async () => {
    const tree = appTree(['ARG WHO=one', 'RUN echo "$WHO" && date +%s%N > /made']);
    const first = await images.build(tree);
    const again = await images.build(tree, { noCache: true });
    assert.equal(again.reused, false);
    assert.notEqual(again.ref.digest, first.ref.digest);
    const other = await images.build(tree, {
      plan: { kind: 'dockerfile', context: '.', dockerfile: 'Dockerfile', stage: undefined, args: { WHO: 'two' } },
    });
    assert.notEqual(other.contentKey, first.contentKey);
    const own = images.registries.own;
    const tagged = await own.findManifest(`t-${images.id}`, `${tree.oid}-${other.contentKey.slice(0, 8)}`);
    assert.equal(tagged?.digest, other.ref.digest);
    assert.equal((await own.findManifest(`t-${images.id}`, tree.oid))?.digest, again.ref.digest);
  });
});

describe('what can go wrong around a build', () => {
  it('streams a large context in bounded memory', async () => {
    const size = 100 * 1024 * 1024;
    const small = appTree(['COPY big /big', 'RUN stat -c %s /big']);
    const big = { path: 'big', mode: '100644' as const, oid: randomBytes(20).toString('hex'), size };
    const tree: Tree = {
      ...small,
      entries: [...small.entries, big],
      find: (path) => (path === 'big' ? big : small.find(path)),
      async *streamAll(entries) {
        for (const entry of entries) yield { entry, content: entry === big ? repeated(size) : small.stream(entry) };
      },
    };
    const at = process.memoryUsage().rss;
    let most = 0;
    const watch = setInterval(() => {
      most = Math.max(most, process.memoryUsage().rss);
    }, 10);
    const built = await images.build(tree);
    clearInterval(watch);
    assert.match(built.output, new RegExp(`^${size}$`, 'm'));
    assert.ok(most - at < 60e6, `grew by ${((most - at) / 1e6).toFixed()} MB`);
  });

  it('names a base that the own registry does not have', async () => {
    const tree = memoryTree({ Dockerfile: `FROM ${images.registry.address}/nobody/nothing:1\n` });
    const error = await failure(images.build(tree));
    assert.equal(error.code, 'refused');
    assert.match(error.message, /builds on .*nobody\/nothing:1, which the registry .* does not have/);
  });

  it('says so when a registry that does not answer is needed for FROM', async () => {
    const error = await failure(images.build(memoryTree({ Dockerfile: 'FROM 127.0.0.1:1/x/y:1\n' })));
    assert.equal(error.code, 'unavailable');
    assert.match(error.message, /127\.0\.0\.1:1 does not answer \(connection refused\)/);
  });

  it('pushes to a registry with a password and builds on its private bases', async () => {
    await using locked = await ImageFixture.start({ password: true });
    for (const kind of ['buildkit', 'classic'] as const) {
      const tree = memoryTree({ Dockerfile: `FROM ${locked.base()}\nRUN echo ${randomBytes(4).toString('hex')}\n` });
      const built = await locked.build(tree, {}, locked.builder(kind));
      assert.ok(await locked.registries.own.findManifest(`t-${locked.id}`, built.ref.digest));
    }
  });

  it('says so when the registry is down, and works when it is back', async () => {
    await using own = await ImageFixture.start();
    const tree = memoryTree({ Dockerfile: `FROM ${own.base()}\nRUN echo ${own.id}\n` });
    await own.registry.stop();
    const error = await failure(own.build(tree));
    assert.equal(error.code, 'unavailable');
    assert.match(error.message, /^The registry 127\.0\.0\.1:\d+ does not answer/);
    await own.registry.start();
    assert.equal((await own.build(tree)).reused, false);
  });

  it('does not take a stream that ends too early for a success', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'dinp-engine-'));
    const socketPath = join(folder, 'docker.sock');
    // An engine that was stopped in an orderly way ends its answer as HTTP wants it: only what is missing tells.
    const dying = createHttpServer((request, response) => {
      if (request.url === '/version') return response.end('{"Os":"linux","Arch":"amd64","ApiVersion":"1.41"}');
      if (!request.url?.startsWith('/build')) return response.end('{"Id":"sha256:0","RepoDigests":[]}');
      request.resume().on('end', () => response.end('{"stream":"Step 1/1 : FROM scratch\\n"}\n'));
    }).listen(socketPath);
    for (const kind of ['buildkit', 'classic'] as const) {
      const tree = memoryTree({ Dockerfile: 'FROM scratch\n', kind });
      const error = await failure(
        images.build(tree, { noCache: true }, images.builder(kind, new Docker({ socketPath }))),
      );
      assert.equal(error.code, 'unavailable');
      assert.match(error.message, /broke off/);
    }
    dying.close();
    dying.closeAllConnections();
    await rm(folder, { recursive: true });
  });

  it('says so when no engine answers', async () => {
    const error = await failure(
      images.build(appTree([]), {}, images.builder('auto', new Docker({ socketPath: '/nonexistent.sock' }))),
    );
    assert.equal(error.code, 'unavailable');
    assert.match(error.message, /Docker Engine does not answer: its socket is not there/);
  });
});

async function* repeated(size: number): AsyncGenerator<Buffer> {
  const chunk = randomBytes(1 << 20);
  for (let sent = 0; sent < size; sent += chunk.length) yield chunk;
}

/** A proxy before the engine's socket, whose connections can be cut. */
async function engineProxy(): Promise<{ docker: Docker; cut(): void } & AsyncDisposable> {
  const folder = await mkdtemp(join(tmpdir(), 'dinp-engine-'));
  const socketPath = join(folder, 'docker.sock');
  const open = new Set<Socket>();
  const server = createServer((client) => {
    const engine = connect(SOCKET);
    for (const socket of [client, engine]) {
      open.add(socket);
      socket.on('error', () => {});
      socket.on('close', () => {
        open.delete(socket);
        client.destroy();
        engine.destroy();
      });
    }
    client.pipe(engine).pipe(client);
  }).listen(socketPath);
  await once(server, 'listening');
  return {
    docker: new Docker({ socketPath }),
    cut() {
      for (const socket of open) socket.destroy();
    },
    async [Symbol.asyncDispose]() {
      for (const socket of open) socket.destroy();
      server.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}
