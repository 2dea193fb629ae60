import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { DinpError } from '../../src/domain/errors.ts';
import { type InstanceSpec, instanceName } from '../../src/domain/instance.ts';
import { DEFAULT_HEALTH } from '../../src/domain/process.ts';
import type { UnitFile } from '../../src/domain/unit-file.ts';
import { SystemdTarget } from '../../src/run/systemd/systemd-target.ts';
import { dockerEngine } from '../../src/run/systemd/unit-engine.ts';
import type { LogLine } from '../../src/run/target.ts';
import { RunUnits } from '../../src/unit/run-unit.ts';
import { verifyUnits } from '../../src/unit/verify.ts';
import { SystemdMachine } from '../support/systemd-host.ts';

const PEM = '-----BEGIN KEY-----\nline "two" \\ $HOME `x` %n\n\ttabbed\n-----END KEY-----\n';
const SECRETS = { PEM, TOKEN: 'tok$en %n "q" \\ x', 'spring.datasource.url': "jdbc:x?a='b'" };
/** Says what it is, warns, and serves on PORT. */
const SERVE =
  'echo "hello from $NAME"; echo oops >&2; echo "$NAME" > /www/index.html; exec httpd -f -p "$PORT" -h /www';

let machine: SystemdMachine;
let image: { repository: string; digest: string };
let target: SystemdTarget;
const never = new AbortController().signal;

function makeTarget(server: string): SystemdTarget {
  const options = { server, environmentFolder: '/etc/dinp/instances' };
  const renderer = new RunUnits('unit-templates', { ...options, docker: '/usr/bin/docker' });
  const engine = dockerEngine('/usr/bin/docker');
  const verify = (files: UnitFile[]) => verifyUnits(files, machine.host);
  return new SystemdTarget(machine.host, { ...options, engine, renderer, verify });
}

function spec(app: string, index: number, change: Partial<InstanceSpec> = {}): InstanceSpec {
  const name = instanceName(app, app, 'web', 1, index);
  return {
    ...{ name, app, release: 1, service: app, process: 'web', index, image },
    command: ['sh', '-c', SERVE],
    env: { PORT: '8080', NAME: `${app} ${index} 100% $5` },
    secrets: SECRETS,
    memoryBytes: 64 * 1024 * 1024,
    port: { container: 8080, host: 21000 + index },
    volumes: {},
    health: DEFAULT_HEALTH,
    stopMs: 2_000,
    ...change,
  };
}

async function start(instance: InstanceSpec): Promise<string[]> {
  const progress: string[] = [];
  await target.start(instance, { onProgress: (line) => progress.push(line), signal: never });
  return progress;
}

async function answer(port: number): Promise<string> {
  return await machine.exec(
    `curl -fsS --retry 20 --retry-delay 1 --retry-connrefused --retry-all-errors http://127.0.0.1:${port}/`,
  );
}

async function run(doing: 'exec' | 'once', on: InstanceSpec, command: string[], stdin?: string) {
  const out: Uint8Array[] = [];
  const streams = {
    stdin:
      stdin === undefined
        ? undefined
        : (async function* () {
            yield Buffer.from(stdin);
          })(),
    onStdout: (chunk: Uint8Array) => void out.push(chunk),
    onStderr: () => undefined,
    signal: AbortSignal.timeout(60_000),
  };
  const code =
    doing === 'exec' ? await target.exec(on.name, command, streams) : await target.runOnce(on, command, streams);
  return { code, out: Buffer.concat(out).toString() };
}

async function waitFor(what: string, check: () => Promise<boolean>): Promise<void> {
  for (let tries = 0; tries < 150; tries++) {
    if (await check()) return;
    await sleep(200);
  }
  assert.fail(`waited 30 s in vain for: ${what}`);
}

async function lines(source: AsyncIterable<LogLine>): Promise<LogLine[]> {
  const all: LogLine[] = [];
  for await (const line of source) all.push(line);
  return all;
}

before(async () => {
  machine = await SystemdMachine.boot();
  image = await machine.pushBusybox('busy');
  await machine.exec(`docker rmi -f $(docker images -q) >/dev/null`);
  target = makeTarget('test');
});
after(async () => await machine?.[Symbol.asyncDispose]());

test('two instances start, after a pull that shows its progress, and answer', async () => {
  const progress = await start(spec('blog', 1));
  assert.ok(
    progress.some((line) => line.endsWith('pulls the image')),
    progress.join('\n'),
  );
  await start(spec('blog', 2));
  assert.equal(await answer(21001), 'blog 1 100% $5');
  assert.equal(await answer(21002), 'blog 2 100% $5');
});

test('starting what runs already leaves it as it is', async () => {
  const pid = () => machine.exec('systemctl show -P MainPID dinp-blog--web--v1--1.service');
  const before = await pid();
  await start(spec('blog', 1));
  assert.equal(await pid(), before);
});

test('list says what runs, of one app or all, and nothing of other servers', async () => {
  const [first, second, ...more] = await target.list();
  assert.equal(more.length, 0);
  const { startedAt, address, ...rest } = first!;
  assert.ok(startedAt! > Date.now() - 120_000 && startedAt! < Date.now() + 1000);
  assert.match(address!, /^172\./);
  assert.partialDeepStrictEqual(rest, {
    ...{ name: 'dinp-blog--web--v1--1', app: 'blog', release: 1, process: 'web', index: 1 },
    ...{ state: 'running', exitCode: undefined, healthy: undefined, restarts: 0, hostPort: 21001 },
  });
  assert.equal(second!.index, 2);
  assert.equal((await target.list('blog')).length, 2);
  assert.deepEqual(await target.list('other'), []);
  assert.deepEqual(await makeTarget('other').list(), []);
  assert.equal((await target.find('dinp-blog--web--v1--2'))?.hostPort, 21002);
  assert.equal(await target.find('dinp-blog--web--v9--2'), undefined);
  assert.deepEqual(await target.listeners('dinp-blog--web--v1--1'), [{ address: '::', port: 8080 }]);
});

test('another server on the same host may not touch them', async () => {
  const other = makeTarget('other');
  await assert.rejects(other.remove([spec('blog', 1)]), /belongs to the dinp server test/);
  await assert.rejects(other.start(spec('blog', 1), { onProgress: () => undefined, signal: never }), /belongs to/);
});

test('config values arrive as they are, several lines too, and stand in no unit, argv or container log', async () => {
  const { out } = await run('exec', spec('blog', 1), ['env']);
  assert.ok(out.includes(`TOKEN=${SECRETS.TOKEN}\n`), out);
  assert.ok(out.includes(`spring.datasource.url=${SECRETS['spring.datasource.url']}\n`));
  const printed = await run('exec', spec('blog', 1), ['sh', '-c', 'printf %s "$PEM"']);
  assert.equal(printed.out, PEM);
  const visible = await machine.exec(
    'cat /etc/systemd/system/dinp-*.service; systemctl show "dinp-*"; ps axww -o args; journalctl -o cat',
  );
  for (const part of ['tok$en', 'BEGIN KEY', 'jdbc:x']) assert.ok(!visible.includes(part), part);
  assert.equal(await machine.exec('stat -c "%a %U" /etc/dinp/instances/* | sort -u'), '600 root');
});

test('the container is confined', async () => {
  const { out } = await run('exec', spec('blog', 1), ['sh', '-c', 'cat /proc/1/status']);
  // CHOWN, DAC_OVERRIDE, FOWNER, KILL, SETGID, SETUID, NET_BIND_SERVICE and nothing else.
  assert.match(out, /CapBnd:\t00000000000004eb/);
  assert.match(out, /NoNewPrivs:\t1/);
  assert.equal(
    await machine.exec("docker inspect -f '{{.HostConfig.Memory}}' dinp-blog--web--v1--1"),
    String(64 * 1024 * 1024),
  );
});

test('exec passes stdin, output and the exit status', async () => {
  assert.deepEqual(await run('exec', spec('blog', 1), ['sh', '-c', 'tr a-z A-Z; exit 7'], 'in\n'), {
    code: 7,
    out: 'IN\n',
  });
  await assert.rejects(run('exec', spec('blog', 9), ['true']), /no instance/);
});

test('a canceled command leaves no process behind, in an instance or a one-off container', async () => {
  for (const doing of ['exec', 'once'] as const) {
    const stop = new AbortController();
    const streams = { stdin: undefined, onStdout: () => stop.abort(), onStderr: () => undefined, signal: stop.signal };
    const command = ['sh', '-c', 'echo started; sleep 12345 & sleep 12345'];
    const on = spec('blog', 1);
    const ended = doing === 'exec' ? target.exec(on.name, command, streams) : target.runOnce(on, command, streams);
    await assert.rejects(ended, { code: 'canceled' });
    await waitFor(
      'an end',
      async () => (await machine.exec('ps axww -o args | grep -c "[s]leep 12345" || true')) === '0',
    );
  }
  assert.equal(await machine.exec('docker ps -a --format "{{.Names}}" | grep -c run || true'), '0');
});

test('runOnce has the environment, stdin and volumes, gives the exit status and leaves nothing', async () => {
  const once = spec('blog', 1, { volumes: { 'dinp-blog--data': '/data' } });
  const script = 'printf %s "$PEM"; printf "%s|" "$TOKEN" "$0" "$1"; cat; echo kept > /data/file; exit 3';
  const first = await run('once', once, ['sh', '-c', script, 'a $HOME %n', '$(x) "']);
  assert.deepEqual(first, { code: 3, out: `${PEM}${SECRETS.TOKEN}|a $HOME %n|$(x) "|` });
  const second = await run('once', { ...once, secrets: {} }, ['sh', '-c', 'cat /data/file -'], 'typed');
  assert.deepEqual(second, { code: 0, out: 'kept\ntyped' });
  assert.equal(await machine.exec('docker ps -a --format "{{.Names}}" | grep -c run || true'), '0');
  assert.equal(await machine.exec('ls /etc/dinp/instances | grep -c run || true'), '0');
});

test('a volume of another server is neither mounted nor removed; one of ours goes with its data', async () => {
  await machine.exec('docker volume create --label dinp.server=other dinp-blog--foreign');
  await assert.rejects(target.removeVolume('dinp-blog--foreign'), /belongs to another dinp server/);
  const foreign = spec('blog', 3, { volumes: { 'dinp-blog--foreign': '/data' } });
  await assert.rejects(start(foreign), /belongs to another dinp server/);
  await target.removeVolume('dinp-blog--data');
  await target.removeVolume('dinp-blog--data');
  assert.equal(await machine.exec('docker volume ls -q'), 'dinp-blog--foreign');
});

test('logs: what the instances printed and nothing else; then what comes', async () => {
  const past = await lines(
    target.logs(['dinp-blog--web--v1--1', 'dinp-blog--web--v1--2'], { tail: 10, follow: false, signal: never }),
  );
  const texts = past.map(({ instance, text }) => `${instance.at(-1)} ${text}`);
  assert.deepEqual(texts.sort(), ['1 hello from blog 1 100% $5', '1 oops', '2 hello from blog 2 100% $5', '2 oops']);
  assert.ok(past.every(({ time }) => Math.abs(time! - Date.now()) < 120_000));

  const stop = new AbortController();
  const coming: string[] = [];
  const following = (async () => {
    for await (const { text } of target.logs(['dinp-blog--web--v1--2'], {
      tail: 1,
      follow: true,
      signal: stop.signal,
    })) {
      coming.push(text);
      if (text.startsWith('later')) stop.abort();
    }
  })();
  await sleep(1500);
  const say = 'for i in 1 2 3; do printf "line $i\\033[0m\\n" > /proc/1/fd/1; done; echo later > /proc/1/fd/1';
  await run('exec', spec('blog', 2), ['sh', '-c', say]);
  await following;
  assert.equal(coming.length, 5);
  assert.deepEqual(coming.slice(1), ['line 1\x1b[0m', 'line 2\x1b[0m', 'line 3\x1b[0m', 'later']);
});

test('what runs under a name with other settings than it should have is replaced', async () => {
  await start(spec('blog', 1, { secrets: { ...SECRETS, TOKEN: 'another' } }));
  const { out } = await run('exec', spec('blog', 1), ['sh', '-c', 'printf %s "$TOKEN"']);
  assert.equal(out, 'another');
});

test('a killed instance comes back and the restart is counted', async () => {
  await machine.exec('docker kill dinp-blog--web--v1--1');
  await waitFor('a restart', async () => {
    const found = await target.find('dinp-blog--web--v1--1');
    return found?.state === 'running' && found.restarts === 1;
  });
  assert.equal(await answer(21001), 'blog 1 100% $5');
});

test('a killed docker client leaves no container behind and comes back', async () => {
  await machine.exec('kill -9 $(systemctl show -P MainPID dinp-blog--web--v1--1.service)');
  await waitFor('a restart', async () => (await target.find('dinp-blog--web--v1--1'))?.restarts === 2);
  assert.equal(await answer(21001), 'blog 1 100% $5');
});

test('restart starts a new container in place; an unknown instance is said', async () => {
  const id = () => machine.exec('docker inspect -f "{{.Id}}" dinp-blog--web--v1--2');
  const before = await id();
  await target.restart([spec('blog', 2)]);
  assert.equal(await answer(21002), 'blog 2 100% $5');
  assert.notEqual(await id(), before);
  await assert.rejects(target.restart([spec('nope', 1)]), /no instance dinp-nope/);
});

test('an instance that cannot start says why, with its last lines, and leaves nothing', async () => {
  const crash = spec('bad', 5, { command: ['sh', '-c', 'echo "config is missing: TOKEN2"; sleep 0.1; exit 3'] });
  const missing = spec('bad', 6, { command: ['/no/such/program'] });
  const unknown = spec('bad', 7, { image: { ...image, digest: `sha256:${'0'.repeat(64)}` } });
  const taken = spec('bad', 8, { port: { container: 8080, host: 21001 } });
  const failure = async (instance: InstanceSpec) => {
    const error = await start(instance).then(
      () => undefined,
      (caught: unknown) => caught,
    );
    assert.ok(error instanceof DinpError, `${instance.name} started: ${error}`);
    assert.equal(error.code, 'start-failed');
    return `${error.message}\n${error.detail}`;
  };
  // A crash a moment after the start may also be left to the health check: then the list has to say it.
  await start(crash).then(
    () => waitFor('the crash', async () => (await target.find(crash.name))?.state === 'restarting'),
    (error: DinpError) => assert.match(error.detail!, /config is missing: TOKEN2/),
  );
  await target.remove([crash]);
  assert.match(await failure(missing), /exit status 127\.\n[\s\S]*\/no\/such\/program/);
  assert.match(await failure(unknown), /cannot pull .*\n[\s\S]*(not found|unknown)/);
  assert.match(await failure(taken), /port is already allocated/);
  assert.deepEqual(await target.list('bad'), []);
  assert.equal(await machine.exec('ls /etc/systemd/system /etc/dinp/instances | grep -c bad || true'), '0');
});

test('a reboot brings them back', async () => {
  await machine.reboot();
  assert.equal(await answer(21001), 'blog 1 100% $5');
  assert.equal(await answer(21002), 'blog 2 100% $5');
  await waitFor('both in the list', async () => (await target.list()).every(({ state }) => state === 'running'));
});

test('remove stops cleanly, also a program that ignores SIGTERM, and leaves nothing', async () => {
  const stubborn = spec('blog', 4, { command: ['sh', '-c', 'trap "" TERM; while :; do sleep 1; done'], stopMs: 1_000 });
  await start(stubborn);
  await target.remove([spec('blog', 1), spec('blog', 2), stubborn, spec('blog', 77)]);
  assert.deepEqual(await target.list(), []);
  assert.equal(await machine.exec('docker ps -aq'), '');
  assert.equal(await machine.exec('find /etc/systemd/system /etc/dinp -name "*dinp-*"'), '');
  assert.equal(await machine.exec('systemctl list-units --all --no-legend "dinp-*"'), '');
  assert.equal(await machine.exec('systemctl list-units --failed --no-legend'), '');
  await target.remove([spec('blog', 1)]);
});
