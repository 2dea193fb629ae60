import assert from 'node:assert/strict';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { askHostKey } from '../../../src/run/ssh/ssh-connection.ts';
import { SshHost } from '../../../src/run/ssh/ssh-host.ts';
import { SshSessions } from '../../../src/run/ssh/ssh-sessions.ts';
import { isGone, testHostContract } from '../../support/host-contract.ts';
import { TestSshd } from '../../support/sshd.ts';
import { until } from '../../support/until.ts';

let sshd: TestSshd;
let sessions: SshSessions;
let host: SshHost;
const never = new AbortController().signal;

before(async () => {
  sshd = await TestSshd.start();
  sessions = new SshSessions(sshd.login());
  host = new SshHost('h1', sessions);
  await host.run(['true']);
});
after(async () => {
  sessions?.close();
  await sshd?.[Symbol.asyncDispose]();
});

testHostContract(() => host);

test('the host key is asked for without a login, and another one than the pinned is refused', async () => {
  const { address } = sshd.login();
  assert.deepEqual(await askHostKey('h1', address), sshd.hostKey());
  const hostKey = { type: 'ssh-ed25519', fingerprint: 'SHA256:other' };
  const other = new SshSessions({ ...sshd.login(), hostKey });
  await assert.rejects(new SshHost('h1', other).run(['true']), (error: Error & { code: string; detail: string }) => {
    assert.equal(error.code, 'denied');
    assert.match(error.message, /^h1 \(127\.0\.0\.1\) shows another host key than the one that is pinned\.$/);
    assert.equal(error.detail, `pinned   SHA256:other\npresented ${sshd.hostKey().fingerprint}`);
    return true;
  });
});

test('a server that does not know our key, and one that is not there', async () => {
  sshd.newKey('stranger');
  const privateKey = readFileSync(`${sshd.folder}/stranger`, 'utf8');
  const stranger = new SshHost('h1', new SshSessions({ ...sshd.login(), privateKey }));
  await assert.rejects(stranger.run(['true']), { code: 'denied', message: /^h1 does not let us in as / });
  const login = sshd.login();
  const nowhere = new SshSessions({ ...login, address: { ...login.address, port: 1 } });
  await assert.rejects(new SshHost('h1', nowhere).run(['true']), {
    code: 'unavailable',
    message: /^h1 cannot be reached at 127\.0\.0\.1 port 1: .*ECONNREFUSED/,
  });
});

test('more programs at once than a connection has sessions', async () => {
  const results = await Promise.all(
    Array.from({ length: 40 }, (_, i) => host.run(['sh', '-c', `sleep 0.2; echo ${i}`])),
  );
  assert.deepEqual(
    results.map(({ stdout }) => Number(stdout)),
    Array.from({ length: 40 }, (_, i) => i),
  );
});

test('large output and input arrive whole', async () => {
  const text = 'ä line\n'.repeat(400_000);
  const { stdout } = await host.run(['cat'], { stdin: text });
  assert.equal(stdout === text, true);
});

test('a connection that breaks is an error of what ran, not of what comes next', async () => {
  const running = host.run(['sleep', '60']);
  const following = (async () => {
    for await (const _ of host.follow(['sh', '-c', 'echo a; sleep 60'], { signal: never })) sshd.cut();
  })();
  await assert.rejects(running, {
    code: 'unavailable',
    message: 'The connection to h1 was lost while sleep ran there.',
  });
  await assert.rejects(following, { code: 'unavailable' });
  assert.equal((await host.run(['echo', 'again'])).stdout, 'again\n');
});

test('a file whose input was cut off does not come to be', async () => {
  const path = `${sshd.folder}/cut`;
  const writing = host.putFile(path, 'x'.repeat(64 * 1024 * 1024), 0o600);
  const begun = () => readdirSync(sshd.folder).filter((name) => name.startsWith('cut'));
  const size = () => Math.max(0, ...begun().map((name) => statSync(join(sshd.folder, name)).size));
  const cut = until('a part of it is there', () => size() > 0).then(() => sshd.cut());
  await assert.rejects(writing, { code: 'unavailable' });
  await cut;
  await until('nothing of it is left', () => begun().length === 0, 10_000);
});

test('a kept connection comes back by itself when the host does', async () => {
  const opened: number[] = [];
  const kept = new SshSessions(sshd.login());
  await kept.keep(async () => void opened.push(Date.now()));
  await sshd.stop();
  await assert.rejects(new SshHost('h1', kept).run(['true']), { code: 'unavailable' });
  // While nobody answers, nobody waits.
  const begin = performance.now();
  await assert.rejects(new SshHost('h1', kept).run(['true']), { code: 'unavailable' });
  assert.ok(performance.now() - begin < 1_000);
  await sshd.start();
  await until('it is open again', () => opened.length === 2);
  kept.close();
});

test('children of a killed program go with it', async () => {
  const stop = new AbortController();
  let pid = 0;
  const running = host.stream(['sh', '-c', 'sh -c "sleep 60" & sleep 61 & echo $!; wait'], {
    stdin: undefined,
    onStdout: (chunk) => {
      pid = Number(Buffer.from(chunk).toString());
      stop.abort();
    },
    onStderr: () => undefined,
    signal: stop.signal,
  });
  await assert.rejects(running, { code: 'canceled' });
  await isGone(pid);
});
