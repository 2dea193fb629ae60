import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import type { Readable } from 'node:stream';
import { after, before, describe, test } from 'node:test';
import { extract, pack } from 'tar-stream';
import type { DinpError } from '../../../src/domain/errors.ts';
import { formatImageRef } from '../../../src/domain/image-ref.ts';
import { type Toolchain, Toolchains } from '../../../src/run/toolchain/toolchain.ts';
import type { ToolchainJob } from '../../../src/run/toolchain/toolchain-options.ts';
import { until } from '../../support/until.ts';
import { type Engine, startEngine } from './engine.ts';

const NEVER = new AbortController().signal;
let last = 0;

describe('toolchain containers on a Docker Engine', { concurrency: 3 }, () => {
  let engine: Engine;
  let toolchains: Toolchains;
  before(async () => {
    engine = await startEngine();
    toolchains = new Toolchains(engine.docker, {
      serverId: engine.serverId,
      limits: { memoryBytes: 64 * 1024 ** 2, cpus: 1 },
    });
  });
  after(async () => {
    const { Volumes } = await engine.docker.listVolumes({ filters: { label: [`dinp.server=${engine.serverId}`] } });
    for (const { Name } of Volumes) await engine.docker.getVolume(Name).remove();
    await engine[Symbol.asyncDispose]();
  });

  function job(changes: Partial<ToolchainJob> = {}): ToolchainJob {
    last += 1;
    const { image } = engine;
    const app = `${engine.serverId}-${last}`;
    return { app, appId: last, build: last, image: formatImageRef(image), workdir: '/src', env: {}, ...changes };
  }
  async function said(toolchain: Toolchain, line: string, folder = '/src'): Promise<string> {
    const { status, text } = await ran(toolchain, line, folder);
    assert.equal(status, 0, text);
    return text;
  }
  async function ran(toolchain: Toolchain, line: string, folder = '/src') {
    const chunks: Uint8Array[] = [];
    const end = await toolchain.run(line, folder, (chunk) => chunks.push(chunk));
    return { ...end, text: Buffer.concat(chunks).toString() };
  }
  async function containersOf(app: string): Promise<string[]> {
    const found = await engine.docker.listContainers({ all: true, filters: { label: [`dinp.app=${app}`] } });
    return found.map(({ Id }) => Id);
  }

  test('commands run in order over what was put in, and what they leave is taken out', async () => {
    const mine = job({ env: { LEVEL: 'high' } });
    await using toolchain = await toolchains.start(mine, NEVER);
    const sources = pack();
    sources.entry({ name: 'src/', type: 'directory', mode: 0o755 });
    sources.entry({ name: 'src/run.sh', mode: 0o755 }, '#!/bin/sh\necho $LEVEL $CI $DINP_APP\n');
    sources.entry({ name: 'src/up', type: 'symlink', linkname: '../../../etc/shadow' });
    sources.finalize();
    await toolchain.put(sources as unknown as Readable);
    assert.equal(
      await said(toolchain, './run.sh; readlink up; pwd'),
      `high true ${mine.app}\n../../../etc/shadow\n/src\n`,
    );
    await said(toolchain, 'mkdir -p out/deep; echo made > out/deep/file; ln -s deep/file out/link; ln -s out current');
    assert.deepEqual(await names(await toolchain.take('/src/out')), ['out/', 'out/deep/', 'out/deep/file', 'out/link']);
    assert.deepEqual(await names(await toolchain.take('/src/out/deep/file')), ['file']);
    assert.deepEqual((await names(await toolchain.take('/src/current')))[0], 'out/', 'a link at the end is followed');
    assert.equal(await toolchain.take('/src/nothing'), undefined);
    assert.deepEqual(await toolchain.listNearest('/src/out/deep/no/such/file'), {
      folder: '/src/out/deep',
      names: ['file'],
      more: false,
    });
    const failed = await ran(toolchain, 'echo before; false; echo after');
    assert.deepEqual(failed, { status: 1, outOfMemory: false, text: 'before\n' });
    assert.equal((await ran(toolchain, 'exit 7')).status, 7);
  });

  test('it has no engine, no privileges and no more than its limits', async () => {
    const mine = job();
    await using toolchain = await toolchains.start(mine, NEVER);
    const status = await said(toolchain, 'cat /proc/self/status');
    // CHOWN 0, DAC_OVERRIDE 1, FOWNER 3, FSETID 4, KILL 5, SETGID 6, SETUID 7
    assert.match(status, /^CapBnd:\s+00000000000000fb$/m);
    assert.match(status, /^NoNewPrivs:\s+1$/m);
    assert.ok(existsSync('/var/run/docker.sock'));
    assert.equal(await said(toolchain, 'ls /var/run/docker.sock /run/docker.sock 2>/dev/null || echo none'), 'none\n');
    const [id] = await containersOf(mine.app);
    const { HostConfig: host } = await engine.docker.getContainer(id!).inspect();
    assert.deepEqual(
      [host.Privileged, host.NetworkMode, host.Binds, host.Memory, host.MemorySwap, host.NanoCpus, host.PidsLimit],
      [false, 'bridge', null, 64 * 1024 ** 2, 64 * 1024 ** 2, 1e9, 4096],
    );
    const large = await ran(toolchain, 'x=a; while :; do x=$x$x; done');
    assert.equal(large.outOfMemory, true);
    assert.notEqual(large.status, 0);
  });

  test('the cache of an app stays from build to build, and no other app has it', async () => {
    const mine = job();
    {
      await using toolchain = await toolchains.start(mine, NEVER);
      assert.equal(
        await said(toolchain, 'echo $HOME $GOCACHE $npm_config_cache'),
        '/cache /cache/go-build /cache/npm\n',
      );
      await said(toolchain, 'echo kept > $HOME/file; echo lost > /tmp/file');
    }
    assert.deepEqual(await containersOf(mine.app), []);
    {
      await using again = await toolchains.start({ ...mine, build: 1000 }, NEVER);
      assert.equal(await said(again, 'cat /cache/file; ls /tmp'), 'kept\n');
      await using other = await toolchains.start(job(), NEVER);
      assert.equal(await said(other, 'ls /cache'), '');
    }
    // Another app that has the name by now.
    await using successor = await toolchains.start({ ...mine, appId: 4711 }, NEVER);
    assert.equal(await said(successor, 'ls /cache'), '');
  });

  test('an image of an ordinary user owns its cache', async () => {
    const image = formatImageRef(await engine.derive(['USER 1234:2345']));
    const mine = job({ image });
    await using toolchain = await toolchains.start(mine, NEVER);
    assert.deepEqual(toolchain.owner, { uid: 1234, gid: 2345 });
    assert.equal(await said(toolchain, 'touch /cache/a; stat -c %u:%g /cache /cache/a'), '1234:2345\n1234:2345\n');
  });

  test('canceling kills the command and all that it started, within a second or so', async () => {
    const mine = job();
    const cancel = new AbortController();
    const toolchain = await toolchains.start(mine, cancel.signal);
    let output = '';
    const run = toolchain.run('echo $$; sleep 1234 & sleep 1234', '/src', (chunk) => {
      output += Buffer.from(chunk).toString();
    });
    await until('the command runs', () => output.length > 0);
    const started = performance.now();
    cancel.abort();
    await assert.rejects(run, { code: 'canceled' });
    await toolchain[Symbol.asyncDispose]();
    assert.ok(performance.now() - started < 20_000);
    assert.deepEqual(await containersOf(mine.app), []);
  });

  test('a command that leaves something running in the background ends all the same', async () => {
    await using toolchain = await toolchains.start(job(), NEVER);
    const started = performance.now();
    await said(toolchain, 'sleep 1234 & echo started');
    assert.ok(performance.now() - started < 30_000);
  });

  test('the end of the server is the end of the container', async () => {
    const mine = job();
    const script = `
      import Docker from 'dockerode';
      import { Toolchains } from '${new URL('../../../src/run/toolchain/toolchain.ts', import.meta.url).pathname}';
      const toolchains = new Toolchains(new Docker(), { serverId: '${engine.serverId}' });
      const signal = new AbortController().signal;
      const toolchain = await toolchains.start(${JSON.stringify(mine)}, signal);
      await toolchain.run('echo running; sleep 1234', '/src', (chunk) => process.stdout.write(chunk));`;
    const server = spawn(process.execPath, ['--input-type=module', '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await Promise.race([once(server.stdout, 'data'), once(server, 'exit')]);
    assert.equal(server.exitCode, null, 'it runs');
    assert.equal((await containersOf(mine.app)).length, 1);
    server.kill('SIGKILL');
    await until('the container ends', async () => (await containersOf(mine.app)).length === 0);
  });

  test('what a dead server left is swept', async () => {
    // An engine side of its own: what is swept is the server's, and the other tests run beside this one.
    await using dead = await startEngine();
    const mine = job({ image: formatImageRef(dead.image) });
    await using _left = await new Toolchains(dead.docker, { serverId: dead.serverId }).start(mine, NEVER);
    assert.equal((await containersOf(mine.app)).length, 1);
    assert.deepEqual(await dead.target.list(mine.app), [], 'it is no instance');
    await dead.target.removeLeftovers();
    assert.deepEqual(await containersOf(mine.app), []);
  });

  test('an image without a shell is refused by name', async () => {
    const tar = pack();
    tar.entry({ name: 'nothing', mode: 0o644 }, 'here');
    tar.finalize();
    const image = `${engine.serverId}-empty:1`;
    const stream = await engine.docker.importImage(tar as unknown as NodeJS.ReadableStream, {
      repo: `${engine.serverId}-empty`,
      tag: '1',
    });
    for await (const _ of stream);
    const mine = job({ image });
    try {
      await assert.rejects(toolchains.start(mine, NEVER), (error: DinpError) => {
        assert.equal(error.code, 'refused');
        assert.match(error.message, /-empty:1 has no \/bin\/sh/);
        return true;
      });
      assert.deepEqual(await containersOf(mine.app), []);
    } finally {
      await engine.docker.getImage(image).remove({ force: true });
    }
  });
});

async function names(tar: Readable | undefined): Promise<string[]> {
  assert.ok(tar);
  const found: string[] = [];
  const unpack = extract();
  tar.pipe(unpack as unknown as NodeJS.WritableStream);
  for await (const entry of unpack) {
    found.push(entry.header.name);
    entry.resume();
  }
  return found;
}
