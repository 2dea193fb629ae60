import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { Fixture, finished } from './front-door-fixture.ts';
import { openssh10 } from './openssh10.ts';

describe('an OpenSSH 10 client', () => {
  const ssh = openssh10();

  it('agrees on mlkem768x25519-sha256 and prints no warning at a push', async () => {
    await using door = await Fixture.open({
      settle: async (_request, answer) => {
        await answer.write(2, 'built\n');
        answer.exit(0);
      },
    });
    const work = door.workTree('app');
    const ownLevel = door.sshArguments().map((word) => word.replace('LogLevel=ERROR', 'LogLevel=INFO'));
    // The first connection of a client says that it has added the host key.
    await door.ssh(['x']);
    const push = (level: string) => {
      const words = ownLevel.map((word) => word.replace('LogLevel=INFO', level));
      const env = { ...door.env(), GIT_SSH_COMMAND: [...ssh, ...words].join(' ') };
      return finished(door.start('git', ['push', 'dinp', 'master'], { cwd: work, env }));
    };
    const quiet = await push('LogLevel=INFO');
    assert.equal(quiet.code, 0, quiet.stderr);
    assert.match(quiet.stderr, /^built\nTo ssh:/);
    const debug = await push('LogLevel=DEBUG1');
    assert.match(debug.stderr, /kex: algorithm: mlkem768x25519-sha256/);
    assert.match(debug.stderr, /server-sig-algs=<ssh-ed25519,.*rsa-sha2-512,rsa-sha2-256>/);
    assert.doesNotMatch(debug.stderr, /post-quantum/i);
  });

  for (const [client, kex] of [
    ['OpenSSH 10', 'mlkem768x25519-sha256'],
    ['the OpenSSH of this machine', 'curve25519-sha256'],
  ] as const) {
    for (const cipher of ['chacha20-poly1305@openssh.com', 'aes128-gcm@openssh.com', 'aes256-ctr']) {
      it(`renews keys in the middle of a push and a clone: ${client}, ${cipher}`, async () => {
        await using door = await Fixture.open();
        const work = door.workTree('app');
        writeFileSync(join(work, 'large'), execFileSync('head', ['-c', '3000000', '/dev/urandom'], { maxBuffer: 1e8 }));
        await door.git(work, 'add', '.');
        await door.git(work, 'commit', '-qm', 'large');
        const program = client === 'OpenSSH 10' ? ssh : ['ssh'];
        const options = ['RekeyLimit=700K', `KexAlgorithms=${kex}`, `Ciphers=${cipher}`].flatMap((one) => ['-o', one]);
        const env = { ...door.env(), GIT_SSH_COMMAND: [...program, ...options, ...door.sshArguments()].join(' ') };
        const push = await finished(door.start('git', ['push', '-q', 'dinp', 'master'], { cwd: work, env }));
        assert.deepEqual(push, { code: 0, stdout: '', stderr: '' });
        const clone = await finished(door.start('git', ['clone', '-q', door.url('app'), 'clone'], { env }));
        assert.deepEqual(clone, { code: 0, stdout: '', stderr: '' });
        execFileSync('cmp', [join(work, 'large'), join(door.dir, 'clone', 'large')]);
      });
    }
  }

  it('follows when the server renews keys', async () => {
    await using door = await Fixture.open(
      {
        command: async (_request, answer) => {
          for (let i = 0; i < 600; i++) {
            await answer.write(1, `${i} ${'x'.repeat(2000)}\n`);
            await new Promise((resolve) => setTimeout(resolve, 5));
          }
          answer.exit(0);
        },
      },
      { limits: { rekeyBytes: 100_000 } },
    );
    const options = ['-o', 'LogLevel=DEBUG1', ...door.sshArguments()];
    const target = ['-p', String(door.door.port), 'dinp@127.0.0.1', 'logs'];
    const words = [...ssh, ...options, ...target];
    const client = door.start(words[0]!, words.slice(1));
    client.stdin?.end();
    const result = await finished(client);
    assert.equal(result.code, 0, result.stderr);
    assert.equal(result.stdout.trimEnd().split('\n').length, 600);
    assert.match(result.stderr, /rekeying in progress|SSH2_MSG_KEXINIT received[\s\S]*SSH2_MSG_KEXINIT received/);
  });
});
