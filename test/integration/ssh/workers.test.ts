import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync, rmSync, statSync } from 'node:fs';
import net from 'node:net';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { ensureHostKey } from '../../../src/ssh/host-key.ts';
import { Fixture, finished, type Result, until } from './front-door-fixture.ts';

/** Keeps a command open until it is told to end. */
function waiting() {
  const { promise: go, resolve: release } = Promise.withResolvers<void>();
  const running: number[] = [];
  return {
    go: release,
    running,
    command: async (
      _request: unknown,
      answer: { write(fd: 1, text: string): Promise<void>; exit(code: number): void },
    ) => {
      running.push(1);
      await go;
      await answer.write(1, 'done');
      answer.exit(0);
    },
  };
}

describe('the front door', { concurrency: 2 }, () => {
  it('replaces a worker that is killed; other connections go on, and control hears of pushes', async () => {
    const { promise: go, resolve: release } = Promise.withResolvers<void>();
    await using door = await Fixture.open({
      settle: async () => go,
      judge: async ({ app }) => {
        if (app === 'stuck') await go;
        return { ok: true, text: '', reason: '' };
      },
    });
    const trees = Array.from({ length: 8 }, (_, i) => door.workTree(`app-${i}`));
    const pushes = trees.map((tree) => door.git(tree, 'push', 'dinp', 'master'));
    const stuck = door.git(door.workTree('stuck'), 'push', 'dinp', 'master');
    await until(() => door.settled.length === 8 && door.judged.some(({ app }) => app === 'stuck'), 'all wait');
    const [victim, other] = door.door.workers();
    process.kill(victim!, 'SIGKILL');
    await until(
      () => door.door.workers().every((pid) => pid !== victim) && door.door.workers().length === 2,
      'a new one',
    );
    release();
    const results = await Promise.all([...pushes, stuck]);
    const failed = results.filter(({ code }) => code !== 0).length;
    assert.ok(failed < 9, 'the connections of the other worker went on');
    if (failed > 0) assert.ok(door.log.some((line) => line.includes('replaced')));
    assert.ok(door.door.workers().includes(other!));
    const after = await door.git(trees[0]!, 'push', 'dinp', 'master:after');
    assert.equal(after.code, 0, after.stderr);
    const stuckWasLost = door.lost.flat().includes('stuck');
    assert.equal((await stuck).code === 0, !stuckWasLost);
  });

  it('serves on while one worker hangs', async () => {
    await using door = await Fixture.open({ command: async (_request, answer) => answer.exit(0) });
    const hanging = door.door.workers()[0]!;
    process.kill(hanging, 'SIGSTOP');
    for (let i = 0; i < 10; i++) assert.equal((await door.ssh(['x'])).code, 0);
    await until(() => !door.door.workers().includes(hanging), 'it is replaced', 25_000);
    assert.ok(door.log.some((line) => line.includes('it stalled')));
    assert.equal((await door.ssh(['x'])).code, 0);
  });

  it('takes fifty pushes at once', async () => {
    await using door = await Fixture.open();
    const trees = Array.from({ length: 50 }, (_, i) => door.workTree(`app-${i}`));
    const results = await Promise.all(trees.map((tree) => door.git(tree, 'push', '-q', 'dinp', 'master')));
    assert.deepEqual(
      results.filter(({ code }) => code !== 0).map(({ stderr }) => stderr),
      [],
    );
    assert.equal(new Set(door.settled.map(({ app }) => app)).size, 50);
  });

  it('survives garbage, and hangs up on those who never log in', async () => {
    await using door = await Fixture.open(
      { command: async (_request, answer) => answer.exit(0) },
      { limits: { loginMs: 700 } },
    );
    const before = door.door.workers();
    const pieces = ['GET / HTTP/1.1\r\n\r\n', 'SSH-2.0-OpenSSH_9.2\r\n', '', '\0'.repeat(70_000), 'SSH-1.5-old\n'];
    pieces.push(`SSH-2.0-OpenSSH_9.2\r\n${'\xff'.repeat(500)}`, `SSH-2.0-x\r\n\0\0\x01\x0c${'\x14'.repeat(300)}`);
    const closed = pieces.map(async (text) => {
      const socket = net.connect(door.door.port, '127.0.0.1');
      socket.on('error', () => {});
      socket.resume().write(Buffer.from(text, 'latin1'));
      await once(socket, 'close');
    });
    await Promise.all(closed);
    assert.equal((await door.ssh(['x'])).code, 0);
    assert.deepEqual(door.door.workers(), before);
  });

  it('tells open sessions when it closes, and ends within seconds', async () => {
    const hold = waiting();
    const door = await Fixture.open({ command: hold.command, settle: async () => new Promise(() => {}) });
    const results: Promise<Result>[] = [door.ssh(['logs']), door.git(door.workTree('app'), 'push', 'dinp', 'master')];
    await until(() => hold.running.length === 1 && door.settled.length === 1, 'both run');
    const started = Date.now();
    await door[Symbol.asyncDispose]();
    assert.ok(Date.now() - started < 3000);
    for (const { code, stderr } of await Promise.all(results)) {
      assert.equal(code, 1);
      assert.match(stderr, /the server stopped; push again to see the result/);
    }
  });

  it('tells open sessions when the control process dies', async () => {
    const script = `
      import { Fixture } from ${JSON.stringify(join(import.meta.dirname, 'front-door-fixture.ts'))};
      const door = await Fixture.open({ command: () => new Promise(() => {}) });
      process.send({ port: door.door.port, workers: door.door.workers(), dir: door.dir, args: door.sshArguments() });
      setInterval(() => {}, 1000);`;
    const { spawn } = await import('node:child_process');
    const control = spawn(process.execPath, ['--input-type=module', '-e', script], {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    });
    const [ready] = (await once(control, 'message')) as [
      { port: number; workers: number[]; dir: string; args: string[] },
    ];
    const ssh = spawn('ssh', [...ready.args, '-p', String(ready.port), 'dinp@127.0.0.1', 'logs']);
    const result = finished(ssh);
    await new Promise((resolve) => setTimeout(resolve, 600));
    control.kill('SIGKILL');
    const { code, stderr } = await result;
    assert.equal(code, 1);
    assert.match(stderr, /the server stopped/);
    const isAlive = (pid: number) => {
      try {
        return !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
      } catch {
        return false;
      }
    };
    await until(() => !ready.workers.some(isAlive), 'the workers end', 15_000);
    rmSync(ready.dir, { recursive: true, force: true });
  });

  it('says when the port is taken', async () => {
    await using door = await Fixture.open();
    await assert.rejects(Fixture.open({}, { port: door.door.port }), /another program listens there/);
  });
});

it('makes a host key once, readable by its owner only', async () => {
  await using door = await Fixture.open();
  const path = join(door.dir, 'keys', 'host_key');
  assert.equal(statSync(path).mode & 0o777, 0o600);
  assert.match(readFileSync(path, 'utf8'), /^-----BEGIN OPENSSH PRIVATE KEY-----/);
  assert.equal(ensureHostKey(path).fingerprint, door.door.hostKey.fingerprint);
});
