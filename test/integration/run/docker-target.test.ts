import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import Docker from 'dockerode';
import type { DinpError } from '../../../src/domain/errors.ts';
import type { InstanceSpec } from '../../../src/domain/instance.ts';
import { DockerTarget } from '../../../src/run/docker/docker-target.ts';
import type { LogLine } from '../../../src/run/target.ts';
import { collect, type Engine, freePort, quiet, startEngine } from './engine.ts';

const STOP = 'trap "exit 0" TERM; ';
const IDLE = `${STOP}while true; do sleep 0.1; done`;

describe('instances on a Docker Engine', { concurrency: 3 }, () => {
  let engine: Engine;
  before(async () => {
    engine = await startEngine();
  });
  after(async () => {
    await engine[Symbol.asyncDispose]();
  });

  async function running(script: string, changes: Partial<InstanceSpec> = {}): Promise<InstanceSpec> {
    const spec = await engine.spec(script, changes);
    await engine.target.start(spec, quiet);
    return spec;
  }
  const container = (spec: InstanceSpec) => engine.docker.getContainer(spec.name);
  const gone = (spec: InstanceSpec) => assert.rejects(container(spec).inspect(), { statusCode: 404 });
  async function output(spec: InstanceSpec, command: string[]): Promise<string> {
    const { streams, stdout } = collect();
    assert.equal(await engine.target.exec(spec.name, command, streams), 0);
    return stdout();
  }
  async function logged(names: string[], tail = 100): Promise<LogLine[]> {
    return await all(engine.target.logs(names, { tail, follow: false, signal: quiet.signal }));
  }
  async function eventually(condition: () => Promise<boolean>): Promise<void> {
    for (let waited = 0; !(await condition()); waited += 50) {
      assert.ok(waited < 10_000, 'it never came about');
      await sleep(50);
    }
  }

  test('an instance runs as asked for, on a port of the loopback address, and is listed', async () => {
    const host = await freePort();
    const spec = await running(`echo "$GREETING $TOKEN" > /www/index.html; ${STOP}httpd -f -p 8080 -h /www`, {
      port: { container: 8080, host },
      env: { GREETING: 'hello', TOKEN: 'manifest' },
      secrets: { TOKEN: 'line one\nline two' },
    });
    await eventually(async () => (await fetch(`http://127.0.0.1:${host}/`).catch(() => undefined))?.ok === true);
    assert.equal(await (await fetch(`http://127.0.0.1:${host}/`)).text(), 'hello line one\nline two\n');

    const [found, ...others] = await engine.target.list(spec.app);
    assert.deepEqual(others, []);
    assert.deepEqual(
      { ...found, startedAt: 0, address: '' },
      {
        name: spec.name,
        app: spec.app,
        release: 1,
        process: 'web',
        index: 1,
        state: 'running',
        exitCode: undefined,
        healthy: undefined,
        startedAt: 0,
        restarts: 0,
        hostPort: host,
        exitedAt: undefined,
        outOfMemory: false,
        address: '',
        healthCommand: undefined,
      },
    );
    assert.ok(Math.abs(found!.startedAt! - Date.now()) < 30_000);
    assert.deepEqual((await engine.target.list()).map(({ name }) => name).includes(spec.name), true);
  });

  test('it is confined: limits, few capabilities, no new privileges, bounded logs', async () => {
    const spec = await running(IDLE, { memoryBytes: 32 * 1024 * 1024 });
    const status = await output(spec, ['cat', '/proc/self/status']);
    // CHOWN 0, DAC_OVERRIDE 1, FOWNER 3, KILL 5, SETGID 6, SETUID 7, NET_BIND_SERVICE 10
    assert.match(status, /^CapBnd:\s+00000000000004eb$/m);
    assert.match(status, /^NoNewPrivs:\s+1$/m);
    const { HostConfig: config } = await container(spec).inspect();
    assert.equal(config.Memory, 32 * 1024 * 1024);
    assert.equal(config.MemorySwap, 32 * 1024 * 1024);
    assert.equal(config.PidsLimit, 2048);
    assert.deepEqual(config.LogConfig, { Type: 'json-file', Config: { 'max-size': '10m', 'max-file': '3' } });
    assert.equal(await output(spec, ['cat', '/proc/1/comm']), 'docker-init\n');
  });

  test('starting it again leaves it alone; a half-made one is made anew', async () => {
    const spec = await running(IDLE);
    const { Id: first } = await container(spec).inspect();
    await engine.target.start(spec, quiet);
    assert.equal((await container(spec).inspect()).Id, first);

    await container(spec).remove({ force: true });
    await engine.docker.createContainer({
      name: spec.name,
      Image: `${spec.image.repository}@${spec.image.digest}`,
      Labels: { 'dinp.server': engine.serverId },
    });
    await engine.target.start(spec, quiet);
    assert.equal((await engine.target.find(spec.name))!.state, 'running');
  });

  test('one that has only the name in common is replaced: another image, port, value or command', async () => {
    const spec = await running(IDLE, { port: { container: 8080, host: await freePort() }, env: { A: '1' } });
    const others: Partial<InstanceSpec>[] = [
      { image: await engine.derive(['LABEL t=other']) },
      { port: { container: 8080, host: await freePort() } },
      { env: { A: '2' } },
      { command: ['sh', '-c', `${IDLE} # changed`] },
      { release: 2 },
    ];
    for (const change of others) {
      const { Id: before } = await container(spec).inspect();
      const changed = { ...spec, ...change };
      await engine.target.start(changed, quiet);
      const after = await container(spec).inspect();
      assert.notEqual(after.Id, before, JSON.stringify(change));
      await engine.target.start(changed, quiet);
      assert.equal((await container(spec).inspect()).Id, after.Id);
    }
  });

  test('a missing image is pulled by its digest, one that the registry lacks is said so', async () => {
    const image = await engine.derive(['LABEL t=pulled']);
    await engine.docker.getImage(`${image.repository}@${image.digest}`).remove({ force: true });
    const spec = await engine.spec(IDLE, { image });
    const other = { ...spec, name: `${spec.name}0`, index: 2 };
    const lines: string[] = [];
    const options = { onProgress: (line: string) => void lines.push(line), signal: quiet.signal };
    await Promise.all([engine.target.start(spec, options), engine.target.start(other, options)]);
    assert.deepEqual(
      lines.map((line) => line.replace(/\d+\.\d/, 'N')),
      ['pulling the image', 'pulled the image (N s)'],
    );

    const lost = { ...spec, name: `${spec.name}1`, image: { ...image, digest: `sha256:${'0'.repeat(64)}` } };
    await assert.rejects(engine.target.start(lost, quiet), {
      code: 'start-failed',
      message: /could not pull .*manifest unknown/,
      hint: /no longer in the registry/,
    });
  });

  test('what cannot start leaves nothing behind', async () => {
    const busy = await running(IDLE, { port: { container: 8080, host: await freePort() } });
    const late = await engine.spec(IDLE, { port: busy.port });
    await assert.rejects(engine.target.start(late, quiet), {
      code: 'start-failed',
      message: `web.1 could not start: port ${busy.port!.host} of this machine is in use.`,
    });
    await gone(late);
    const image = await engine.derive(['USER nobody-here']);
    const lost = await engine.spec(IDLE, { image });
    await assert.rejects(engine.target.start(lost, quiet), { code: 'start-failed', message: /nobody-here/ });
    await gone(lost);
    const canceled = await engine.spec(IDLE);
    await assert.rejects(engine.target.start(canceled, { ...quiet, signal: AbortSignal.abort() }), {
      code: 'canceled',
    });
    await gone(canceled);
  });

  test('a crashed instance is started again by the engine', async () => {
    const spec = await running('test -e /tmp/again && exec sleep 100; touch /tmp/again; exit 5');
    await eventually(async () => {
      const { restarts, state } = (await engine.target.find(spec.name))!;
      return restarts === 1 && state === 'running';
    });
    const found = await engine.target.find(spec.name);
    assert.equal(found!.exitCode, 5);
    assert.equal((await container(spec).inspect()).HostConfig.RestartPolicy!.Name, 'unless-stopped');
  });

  test('removing gives time to end, then kills; unknown names are fine, several go at once', async () => {
    const polite = await running(`trap "echo bye; exit 0" TERM; while true; do sleep 0.1; done`, {
      volumes: { 't-bye': '/data' },
    });
    const stubborn = await running('trap "" TERM; while true; do sleep 0.1; done');
    await sleep(300);
    const begun = performance.now();
    await engine.target.remove([
      { name: polite.name, stopMs: 10_000 },
      { name: stubborn.name, stopMs: 1_000 },
      { name: 'dinp-nobody--web--v1--1', stopMs: 1_000 },
    ]);
    const took = performance.now() - begun;
    assert.ok(took >= 900 && took < 8_000, `${took} ms`);
    await gone(polite);
    await gone(stubborn);
    await Promise.all([1, 2, 3].map(() => engine.target.remove([{ name: polite.name, stopMs: 0 }])));
    await engine.target.removeVolume('t-bye');
  });

  test('removing twice at the same time is fine', async () => {
    const spec = await running(IDLE);
    await Promise.all([1, 2, 3].map(() => engine.target.remove([{ name: spec.name, stopMs: 1_000 }])));
    await gone(spec);
  });

  test('volumes keep their data, are not removed while in use, and belong to one server', async () => {
    const volume = `t-${engine.serverId}`;
    const first = await running(`echo kept > /data/file; ${IDLE}`, { volumes: { [volume]: '/data' } });
    await assert.rejects(engine.target.removeVolume(volume), {
      code: 'refused',
      message: `Volume dinp-${volume} is in use by ${first.name}.`,
    });
    await eventually(async () => (await output(first, ['cat', '/data/file']).catch(() => '')) === 'kept\n');
    await engine.target.remove([{ name: first.name, stopMs: 1_000 }]);
    const second = await running(IDLE, { volumes: { [`dinp-${volume}`]: '/other' } });
    assert.equal(await output(second, ['cat', '/other/file']), 'kept\n');

    const stranger = new DockerTarget(engine.docker, { serverId: `${engine.serverId}-b`, findLogin: () => undefined });
    await assert.rejects(stranger.removeVolume(volume), { code: 'refused', message: /another dinp server/ });
    const thief = await engine.spec(IDLE, { volumes: { [volume]: '/data' } });
    await assert.rejects(stranger.start(thief, quiet), { code: 'refused', message: /another dinp server/ });
    await engine.target.remove([{ name: second.name, stopMs: 1_000 }]);
    await engine.target.removeVolume(volume);
    await engine.target.removeVolume(volume);
  });

  test('a server neither sees nor touches the instances of another', async () => {
    const spec = await running(IDLE);
    const stranger = new DockerTarget(engine.docker, { serverId: `${engine.serverId}-c`, findLogin: () => undefined });
    assert.deepEqual(await stranger.list(), []);
    assert.equal(await stranger.find(spec.name), undefined);
    await stranger.remove([{ name: spec.name, stopMs: 0 }]);
    await assert.rejects(stranger.restart([{ name: spec.name, stopMs: 0 }]), { code: 'not-found' });
    await assert.rejects(stranger.exec(spec.name, ['id'], collect().streams), { code: 'not-found' });
    await assert.rejects(stranger.start(spec, quiet), {
      code: 'start-failed',
      message: /which this server did not make/,
    });
    assert.deepEqual(await all(stranger.logs([spec.name], { tail: 9, follow: false, signal: quiet.signal })), []);
    assert.equal((await engine.target.find(spec.name))!.state, 'running');
  });

  test('restart: in place, with a new start', async () => {
    const spec = await running(IDLE);
    const before = await engine.target.find(spec.name);
    await engine.target.restart([{ name: spec.name, stopMs: 1_000 }]);
    const found = await engine.target.find(spec.name);
    assert.equal(found!.state, 'running');
    assert.ok(found!.startedAt! > before!.startedAt!);
  });

  test('an engine that does not answer is unavailable, never empty', async () => {
    const nobody = new DockerTarget(new Docker({ socketPath: '/nowhere/docker.sock' }), {
      serverId: 'x',
      findLogin: () => undefined,
    });
    const unavailable = { code: 'unavailable', message: 'The Docker Engine cannot be reached (ENOENT).' };
    await assert.rejects(nobody.list(), unavailable);
    await assert.rejects(nobody.start(await engine.spec(IDLE), quiet), unavailable);
    await assert.rejects(nobody.remove([{ name: 'x', stopMs: 0 }]), unavailable);
    await assert.rejects(all(nobody.logs(['x'], { tail: 1, follow: true, signal: quiet.signal })), unavailable);
  });

  test('logs: both streams, the last lines, several instances in order of time, long and broken lines', async () => {
    const one = await running(`echo one; echo err >&2; sleep 0.6; echo three; ${IDLE}`);
    const two = await running(`sleep 0.3; echo two; printf "no end"; exec sleep 100`);
    const wide = await running(`yes é | head -n 20000 | awk '{ printf "%s", $0 } END { print "" }'; ${IDLE}`);
    await eventually(async () => (await logged([one.name])).length === 3 && (await logged([two.name])).length >= 1);
    assert.deepEqual((await logged([one.name])).map(({ text }) => text).sort(), ['err', 'one', 'three']);
    assert.deepEqual(
      (await logged([one.name], 1)).map(({ text }) => text),
      ['three'],
    );
    assert.deepEqual(await logged([one.name], 0), []);
    const both = await logged([one.name, 'dinp-nobody--web--v1--1', two.name]);
    const times = both.map(({ time }) => time!);
    assert.deepEqual(
      times,
      times.toSorted((a, b) => a - b),
    );
    assert.deepEqual(new Set(both.map(({ instance }) => instance)), new Set([one.name, two.name]));

    await eventually(async () => (await logged([wide.name])).map(({ text }) => text).join('').length === 20_000);
    for (const { text } of await logged([wide.name])) {
      assert.ok(Buffer.byteLength(text) <= 8_192);
      assert.match(text, /^é+$/);
    }
  });

  test('following logs goes on over restarts, misses and repeats nothing, and ends with the signal', async () => {
    const script =
      'n=$(cat /tmp/n || echo 0); n=$((n+1)); echo $n > /tmp/n; for i in 1 2 3; do echo run $n line $i; done; sleep 0.3; exit 1';
    const spec = await running(script);
    const stop = new AbortController();
    const found: string[] = [];
    for await (const { text } of engine.target.logs([spec.name], { tail: 1_000, follow: true, signal: stop.signal })) {
      if (text.startsWith('run')) found.push(text);
      if (found.length === 12) stop.abort();
    }
    const expected = [1, 2, 3, 4].flatMap((run) => [1, 2, 3].map((line) => `run ${run} line ${line}`));
    assert.deepEqual(found, expected);
  });

  test('following without a tail shows only what is new; it ends when the instance is removed', async () => {
    const spec = await running(`echo old; ${IDLE}`);
    await eventually(async () => (await logged([spec.name])).length === 1);
    const found: string[] = [];
    const following = (async () => {
      for await (const { text } of engine.target.logs([spec.name], { tail: 0, follow: true, signal: quiet.signal }))
        found.push(text);
    })();
    await sleep(300);
    await output(spec, ['sh', '-c', 'echo new > /proc/7/fd/1 || echo new > /proc/1/fd/1']);
    await eventually(async () => found.length > 0);
    await engine.target.remove([{ name: spec.name, stopMs: 0 }]);
    await following;
    assert.deepEqual(found, ['new']);
  });

  test('a flood of log lines does not fill memory when nobody reads', async () => {
    const spec = await running(
      'yes a line of some length that is written again and again | head -n 400000; exec sleep 100',
    );
    await eventually(async () => (await logged([spec.name], 1)).length === 1);
    const before = process.memoryUsage().rss;
    let count = 0;
    for await (const _ of engine.target.logs([spec.name], { tail: 300_000, follow: true, signal: quiet.signal })) {
      if (count++ === 0) await sleep(1_000);
      if (count === 1_000) break;
    }
    const grown = (process.memoryUsage().rss - before) / 2 ** 20;
    assert.ok(grown < 60, `${grown.toFixed(0)} MiB`);
  });

  test('exec: stdin, both outputs apart, exit status', async () => {
    const spec = await running(IDLE);
    const big = 'x'.repeat(3_000_000);
    const { streams, stdout, stderr } = collect({ stdin: chunks(big) });
    const status = await engine.target.exec(spec.name, ['sh', '-c', 'cat; echo oops >&2; exit 7'], streams);
    assert.equal(status, 7);
    assert.equal(stdout(), big);
    assert.equal(stderr(), 'oops\n');
    const unread = collect({ stdin: chunks(big) });
    assert.equal(await engine.target.exec(spec.name, ['echo', 'done'], unread.streams), 0, 'stdin that nobody reads');
    assert.equal(unread.stdout(), 'done\n');
  });

  test('exec: canceled, the command ends too', async () => {
    const spec = await running(IDLE);
    const { streams } = collect({ signal: AbortSignal.timeout(500) });
    await assert.rejects(engine.target.exec(spec.name, ['sleep', '4321'], streams), { code: 'canceled' });
    await eventually(async () => !JSON.stringify(await container(spec).top()).includes('4321'));
  });

  test('runOnce: a fresh container with environment and volumes, complete output, exit status, nothing left', async () => {
    const spec = await engine.spec('unused', { env: { A: 'a' }, secrets: { B: 'b' }, volumes: { 't-once': '/data' } });
    const once = async (script: string, stdin?: string) => {
      const { streams, stdout, stderr } = collect(stdin === undefined ? {} : { stdin: chunks(stdin) });
      return {
        status: await engine.target.runOnce(spec, ['sh', '-c', script], streams),
        stdout: stdout(),
        stderr: stderr(),
      };
    };
    const first = await once('echo $A$B; echo oops >&2; echo kept > /data/file; exit 3');
    assert.deepEqual(first, { status: 3, stdout: 'ab\n', stderr: 'oops\n' });
    assert.deepEqual(await once('cat /data/file'), { status: 0, stdout: 'kept\n', stderr: '' });
    assert.deepEqual(await once('cat', 'from stdin'), { status: 0, stdout: 'from stdin', stderr: '' });
    const flood = await once('yes 0123456789 | head -c 5000000');
    assert.deepEqual({ ...flood, stdout: flood.stdout.length }, { status: 0, stdout: 5_000_000, stderr: '' });
    const quick = await Promise.all(Array.from({ length: 5 }, (_, i) => once(`echo ${i}`)));
    assert.deepEqual(
      quick.map(({ stdout }) => stdout),
      ['0\n', '1\n', '2\n', '3\n', '4\n'],
    );
    assert.equal((await once('exec not-a-command')).status, 127);
    assert.deepEqual(await leftOf(spec), []);
    assert.deepEqual(await engine.target.list(spec.app), [], 'a one-off command is no instance');
    await engine.target.removeVolume('t-once');
  });

  test('runOnce: canceled, or left behind by a server that died, it is removed', async () => {
    const spec = await engine.spec('unused');
    const { streams } = collect({ signal: AbortSignal.timeout(1_000) });
    await assert.rejects(engine.target.runOnce(spec, ['sleep', '1000'], streams), { code: 'canceled' });
    assert.deepEqual(await leftOf(spec), []);

    const reborn = new DockerTarget(engine.docker, { serverId: `${engine.serverId}-d`, findLogin: () => undefined });
    await engine.docker.createContainer({
      Image: `${spec.image.repository}@${spec.image.digest}`,
      Labels: { 'dinp.server': `${engine.serverId}-d`, 'dinp.app': spec.app, 'dinp.one-off': 'true' },
    });
    assert.equal((await leftOf(spec)).length, 1);
    await reborn.removeLeftovers();
    assert.deepEqual(await leftOf(spec), []);
  });

  async function leftOf(spec: InstanceSpec): Promise<string[]> {
    const all = await engine.docker.listContainers({ all: true, filters: { label: [`dinp.app=${spec.app}`] } });
    return all.flatMap(({ Names }) => Names);
  }
});

test('a registry that asks for a login gets it, from nobody else', async () => {
  let password = 'wrong';
  const asked: string[] = [];
  await using engine = await startEngine({
    login: (repository) => {
      asked.push(repository);
      return { username: 'pusher', password };
    },
  });
  const reference = `${engine.image.repository}@${engine.image.digest}`;
  await engine.docker.getImage(reference).remove({ force: true });
  const spec = await engine.spec('exec sleep 100');
  await assert.rejects(engine.target.start(spec, quiet), (error: DinpError) => {
    assert.equal(error.code, 'start-failed');
    assert.match(error.hint ?? '', /refused the login/);
    assert.ok(!JSON.stringify([error.message, error.hint]).includes(password));
    return true;
  });
  password = 'secret';
  await engine.target.start(spec, quiet);
  assert.equal((await engine.target.find(spec.name))!.state, 'running');
  assert.deepEqual(asked, [engine.image.repository, engine.image.repository]);
});

async function* chunks(text: string): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < text.length; at += 50_000) yield Buffer.from(text.slice(at, at + 50_000));
}

async function all<T>(source: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const one of source) found.push(one);
  return found;
}
