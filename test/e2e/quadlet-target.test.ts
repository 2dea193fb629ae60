import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { type InstanceSpec, instanceName } from '../../src/domain/instance.ts';
import { DEFAULT_HEALTH } from '../../src/domain/process.ts';
import type { UnitFile } from '../../src/domain/unit-file.ts';
import { waitHealthy } from '../../src/run/health.ts';
import { SystemdTarget } from '../../src/run/systemd/systemd-target.ts';
import { podmanEngine } from '../../src/run/systemd/unit-engine.ts';
import type { LogLine } from '../../src/run/target.ts';
import { QuadletUnits } from '../../src/unit/quadlet.ts';
import { verifyQuadlets } from '../../src/unit/verify.ts';
import { PODMAN_MACHINE, SystemdMachine } from '../support/systemd-host.ts';
import { until } from '../support/until.ts';

const SECRETS = { PEM: 'line "one" \\ $HOME\n\tline two %n\n', TOKEN: 'tok$en %n "q" \\ x' };
const SERVE =
  'echo "hello from $NAME"; echo oops >&2; echo "$NAME" > /www/index.html; exec httpd -f -p "$PORT" -h /www';
const never = new AbortController().signal;

// Making the machine's image takes some two minutes, so that nobody waits for it who has not asked for it.
describe('quadlets on a machine with Podman', { skip: process.env.DINP_TEST_PODMAN !== '1' }, () => {
  let machine: SystemdMachine;
  let image: { repository: string; digest: string };
  let target: SystemdTarget;

  function makeTarget(server: string): SystemdTarget {
    const options = { server, environmentFolder: '/etc/dinp/instances' };
    return new SystemdTarget(machine.host, {
      ...options,
      renderer: new QuadletUnits('unit-templates', { ...options, podman: '/usr/bin/podman' }),
      engine: podmanEngine({
        cli: '/usr/bin/podman',
        folder: options.environmentFolder,
        findLogin: () => ({ username: 'dinp', password: 'not asked for' }),
      }),
      verify: (files: UnitFile[]) => verifyQuadlets(files, machine.host),
    });
  }

  function spec(index: number, change: Partial<InstanceSpec> = {}): InstanceSpec {
    return {
      ...{ name: instanceName('blog', 'blog', 'web', 1, index), app: 'blog', release: 1, service: 'blog' },
      ...{ process: 'web', index, image },
      command: ['sh', '-c', SERVE],
      env: { PORT: '8080', NAME: `blog ${index} 100% $5` },
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

  async function run(doing: 'exec' | 'once', on: InstanceSpec, command: string[], stdin?: string) {
    const out: Uint8Array[] = [];
    const streams = {
      stdin: stdin === undefined ? undefined : chunks(stdin),
      onStdout: (chunk: Uint8Array) => void out.push(chunk),
      onStderr: () => undefined,
      signal: AbortSignal.timeout(60_000),
    };
    const code =
      doing === 'exec' ? await target.exec(on.name, command, streams) : await target.runOnce(on, command, streams);
    return { code, out: Buffer.concat(out).toString() };
  }

  before(async () => {
    machine = await SystemdMachine.boot(PODMAN_MACHINE);
    image = await machine.pushBusybox('blog');
    await machine.exec('podman rmi --all --force');
    target = makeTarget('one');
  });
  after(async () => await machine?.[Symbol.asyncDispose]());

  it('starts two instances after a pull, and they are healthy and listed', async () => {
    const instances = [spec(1), spec(2)];
    const progress = await start(instances[0]!);
    assert.match(progress.join('\n'), / pulls the image\n/);
    await start(instances[1]!);
    for (const each of instances) {
      await waitHealthy(target, each, { onProgress: () => undefined, signal: never });
      const page = await machine.exec(`curl -fsS http://127.0.0.1:${each.port!.host}/`);
      assert.equal(page, each.env.NAME);
    }
    const found = await target.list('blog');
    assert.deepEqual(
      found.map(({ name, state, hostPort, release, process }) => ({ name, state, hostPort, release, process })),
      instances.map(({ name, port }) => ({ name, state: 'running', hostPort: port!.host, release: 1, process: 'web' })),
    );
    assert.deepEqual(await target.listeners(instances[0]!.name), [{ address: '::', port: 8080 }]);
    assert.deepEqual(await machine.exec('ls /etc/dinp/instances | grep login || true'), '');
    assert.deepEqual(await makeTarget('two').list(), []);
    await assert.rejects(makeTarget('two').remove([instances[0]!]), { code: 'refused' });
  });

  it('config values arrive as they are, and stand in no unit', async () => {
    for (const [name, value] of Object.entries(SECRETS)) {
      assert.deepEqual(await run('exec', spec(1), ['printenv', name]), { code: 127, out: '' });
      const { out } = await run('exec', spec(1), ['sh', '-c', `printf %s "$${name}"`]);
      assert.equal(out, value);
    }
    await machine.exec('! grep -rF "tok" /etc/containers/systemd /run/systemd/generator');
    assert.equal(await machine.exec('stat -c %a /etc/dinp/instances/*.env | sort -u'), '600');
  });

  it('logs are what the instances printed and nothing else', async () => {
    const lines: LogLine[] = [];
    const options = { tail: 100, follow: false, signal: never };
    for await (const line of target.logs([spec(1).name], options)) lines.push(line);
    assert.deepEqual(
      lines.map(({ text }) => text),
      [`hello from ${spec(1).env.NAME}`, 'oops'],
    );
  });

  it('runs commands inside and once, with stdin, status, volumes and environment', async () => {
    assert.deepEqual(await run('exec', spec(1), ['sh', '-c', 'cat; exit 3'], 'in'), { code: 3, out: 'in' });
    const withData = spec(1, { volumes: { 'dinp-blog--data': '/data' } });
    const write = await run('once', withData, ['sh', '-c', 'cat > /data/x; printf %s "$PEM"; exit 4'], 'kept');
    assert.deepEqual(write, { code: 4, out: SECRETS.PEM });
    assert.deepEqual(await run('once', withData, ['cat', '/data/x']), { code: 0, out: 'kept' });
    await assert.rejects(makeTarget('two').removeVolume('dinp-blog--data'), { code: 'refused' });
    await target.removeVolume('dinp-blog--data');
    assert.equal(await machine.exec('podman volume ls -q'), '');
    assert.doesNotMatch(await machine.exec('podman ps -a --format "{{.Names}}"'), /--run-/);
  });

  it('a killed one comes back; a reboot brings all back', async () => {
    await machine.exec(`kill -KILL $(podman inspect -f '{{.State.Pid}}' ${spec(1).name})`);
    await until('the restart', async () => (await target.find(spec(1).name))?.restarts === 1);
    await machine.reboot();
    await until('both running', async () => (await target.list()).every(({ state }) => state === 'running'));
  });

  it('one that cannot start says why and leaves nothing', async () => {
    const failing = spec(3, { command: ['sh', '-c', 'echo no database; exit 7'] });
    await assert.rejects(start(failing), { code: 'start-failed', message: /exit status 7/, detail: /no database/ });
    const missing = spec(4, { command: ['/no/such/program'] });
    await assert.rejects(start(missing), { code: 'start-failed', detail: /no such file|not found/i });
    assert.doesNotMatch(await machine.exec('ls /etc/containers/systemd /etc/dinp/instances'), /v1--[34]/);
  });

  it('removing stops cleanly and leaves nothing', async () => {
    await target.restart([spec(1)]);
    await target.remove([spec(1), spec(2), spec(9)]);
    assert.equal(await machine.exec('ls /etc/containers/systemd /etc/dinp/instances | grep dinp- || true'), '');
    assert.equal(await machine.exec('podman ps -aq; systemctl list-units --all --no-legend "dinp-*"'), '');
  });
});

async function* chunks(text: string): AsyncGenerator<Uint8Array> {
  yield Buffer.from(text);
}
