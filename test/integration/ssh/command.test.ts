import assert from 'node:assert/strict';
import { once } from 'node:events';
import { describe, it } from 'node:test';
import { Fixture, finished, makeKey, until } from './front-door-fixture.ts';

describe('ssh dinp@host', { concurrency: 2 }, () => {
  it('runs commands: words, input, both streams, exit status', async () => {
    await using door = await Fixture.open({
      command: async ({ argv, stdin }, answer) => {
        let bytes = 0;
        if (stdin) for await (const chunk of answer.stdin) bytes += chunk.length;
        await answer.write(1, `out ${argv.join('|')} ${bytes}\n`);
        await answer.write(2, 'err\n');
        answer.exit(42);
      },
    });
    const input = 'x'.repeat(3_000_000);
    const result = await door.ssh(['config set', `'a  b'`, '--', '"c\'d"'], { input });
    assert.deepEqual(result, { code: 42, stdout: "out config|set|a  b|--|c'd 3000000\n", stderr: 'err\n' });
    assert.equal(door.commands[0]?.program, 'ssh dinp@host');
    const unclosed = await door.ssh(["'a"]);
    assert.equal(unclosed.code, 1);
    assert.match(unclosed.stderr, /ends inside a quotation/);
  });

  it('answers a shell, with and without a terminal', async () => {
    await using door = await Fixture.open({
      command: async ({ identity, argv }, answer) => {
        await answer.write(1, `you are ${identity?.name}\n${argv.length} words\n`);
        answer.exit(0);
      },
    });
    assert.deepEqual(await door.ssh([]), { code: 0, stdout: 'you are ada\n0 words\n', stderr: '' });
    const terminal = await door.ssh([], { flags: ['-tt'] });
    assert.deepEqual(terminal, { code: 0, stdout: 'you are ada\r\n0 words\r\n', stderr: '' });
    assert.equal(door.commands[0]?.columns, undefined);
    assert.notEqual(door.commands[1]?.columns, undefined);
  });

  it('ends at Ctrl-C in a terminal', async () => {
    await using door = await Fixture.open({
      command: async (_request, answer) => {
        await new Promise((resolve) => answer.signal.addEventListener('abort', resolve));
      },
    });
    const arguments_ = [...door.sshArguments(), '-tt', '-p', String(door.door.port), 'dinp@127.0.0.1', 'logs'];
    const ssh = door.start('ssh', arguments_);
    const done = finished(ssh);
    await until(() => door.commands.length === 1, 'the command runs');
    ssh.stdin?.write('\x03');
    assert.equal((await done).code, 130);
  });

  it('never holds more than a little for a reader that stalls, and loses nothing when it goes on', async () => {
    const line = `${'x'.repeat(1023)}\n`;
    const total = 40_000;
    let written = 0;
    await using door = await Fixture.open({
      command: async (_request, answer) => {
        for (; written < total; written++) await answer.write(1, line);
        answer.exit(0);
      },
    });
    const ssh = door.start('ssh', [...door.sshArguments(), '-p', String(door.door.port), 'dinp@127.0.0.1', 'logs']);
    ssh.stdout?.pause();
    await until(() => written > 100, 'output flows');
    for (let before = -1; before !== written; ) {
      before = written;
      await new Promise((resolve) => setTimeout(resolve, 300));
    }
    assert.ok(written < 12_000, `${written} KiB were taken for a reader that stalls`);
    let bytes = 0;
    ssh.stdout?.on('data', (chunk) => (bytes += chunk.length)).resume();
    const [code] = await once(ssh, 'close');
    assert.equal(code, 0);
    assert.equal(bytes, total * line.length);
  });

  it('forwards nothing', async () => {
    await using door = await Fixture.open({
      command: async (_request, answer) => {
        await answer.write(1, 'fine\n');
        answer.exit(0);
      },
    });
    const forward = await door.ssh(['x'], {
      flags: ['-A', '-X', '-o', 'ExitOnForwardFailure=yes', '-R', '0:127.0.0.1:1'],
    });
    assert.notEqual(forward.code, 0);
    assert.equal(forward.stdout, '');
    const agent = await door.ssh(['x'], { flags: ['-A', '-X'] });
    assert.equal(agent.code, 0, agent.stderr);
    const sftp = await door.ssh(['sftp'], { flags: ['-s'] });
    assert.notEqual(sftp.code, 0);
  });
});

describe('login', () => {
  it('takes the key that was let in, of every kind, and nothing else', async () => {
    await using door = await Fixture.open({
      command: async ({ identity }, answer) => {
        await answer.write(1, `${identity?.name}`);
        answer.exit(0);
      },
    });
    for (const [name, type, bits] of [
      ['rsa', 'rsa', '2048'],
      ['p256', 'ecdsa', '256'],
      ['p384', 'ecdsa', '384'],
      ['p521', 'ecdsa', '521'],
    ] as const) {
      const key = `${door.key}-${name}`;
      makeKey(key, type, '-b', bits);
      assert.equal((await door.ssh(['x'], { key })).code, 255, `${name} before it is let in`);
      door.letIn(key, name);
      assert.deepEqual(await door.ssh(['x'], { key }), { code: 0, stdout: name, stderr: '' });
    }
    const small = `${door.key}-small`;
    makeKey(small, 'rsa', '-b', '1024');
    door.letIn(small, 'small');
    assert.equal((await door.ssh(['x'], { key: small })).code, 255);
    const sha1 = ['-o', 'PubkeyAcceptedAlgorithms=ssh-rsa'];
    assert.equal((await door.ssh(['x'], { key: `${door.key}-rsa`, flags: sha1 })).code, 255);
  });

  it('refuses unknown keys and other users alike', async () => {
    await using door = await Fixture.open();
    const stranger = `${door.key}-stranger`;
    makeKey(stranger);
    const unknown = await door.ssh(['x'], { key: stranger });
    const wrongUser = await door.ssh(['x'], { user: 'root' });
    for (const { code, stderr } of [unknown, wrongUser]) {
      assert.equal(code, 255);
      assert.match(stderr, /Permission denied \(publickey\)/);
    }
    assert.equal(door.commands.length, 0);
  });
});
