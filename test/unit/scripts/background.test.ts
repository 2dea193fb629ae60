import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { ROOT, run, withPieces } from './bash.ts';

const states: string[] = [];
after(() => {
  for (const state of states) rmSync(state, { recursive: true });
});

function newState(): string {
  const state = mkdtempSync(join(tmpdir(), 'dinp state-'));
  mkdirSync(join(state, 'run'));
  states.push(state);
  return state;
}

const bash = (state: string, script: string) => withPieces(['say', 'background'], `STATE="${state}"\n${script}`);

/** A zombie that nobody has waited for yet is dead. */
function isAlive(pid: number): boolean {
  try {
    return !/^State:\tZ/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

test('a program goes on after the script, is found again, and is ended by a later script', async () => {
  const state = newState();
  const started = await bash(
    state,
    'background job bash -c \'echo "output of $0 $1"; exec sleep 300\' "a b" c; is_ours job',
  );
  const pid = Number(started.stdout);
  assert.ok(isAlive(pid));
  assert.equal((await bash(state, 'is_ours job')).stdout, started.stdout);
  assert.equal((await bash(state, 'end job 5')).code, 0);
  assert.ok(!isAlive(pid));
  assert.equal(readFileSync(join(state, 'logs/job.log'), 'utf8'), 'output of a b c\n');
  assert.equal((await bash(state, 'end job 5')).code, 1, 'ended a second time');
});

test('a program that ignores SIGTERM is killed when its time is over', async () => {
  const state = newState();
  const script =
    'background job bash -c \'trap "" TERM; echo ready; while :; do sleep 0.1; done\'; sleep 0.5; is_ours job; end job 1';
  const { code, stdout } = await bash(state, script);
  assert.equal(code, 0);
  assert.ok(!isAlive(Number(stdout)));
});

test('another process that got the pid of ours is never ended, nor the same pid of another boot', async () => {
  const state = newState();
  const stranger = spawn('sleep', ['300']);
  try {
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
    for (const birth of [`1 ${boot}`, '', `${'9'.repeat(9)} ${boot}`]) {
      writeFileSync(join(state, 'run/job.pid'), `${stranger.pid} ${birth}\n`);
      assert.equal((await bash(state, 'is_ours job')).code, 1);
      assert.equal((await bash(state, 'end job 1')).code, 1);
      assert.ok(isAlive(stranger.pid!));
    }
    const { stdout } = await bash(state, `process_birth ${stranger.pid}`);
    writeFileSync(join(state, 'run/job.pid'), `${stranger.pid} ${stdout.split(' ')[0]} another-boot\n`);
    assert.equal((await bash(state, 'end job 1')).code, 1);
    assert.ok(isAlive(stranger.pid!));
  } finally {
    stranger.kill('SIGKILL');
  }
});

test('a program that is not there fails at once, with its name', async () => {
  const { code, stderr } = await bash(newState(), 'background job /no/such/program');
  assert.notEqual(code, 0);
  assert.match(stderr, /\/no\/such\/program ENOENT/);
});

test('waiting for a program ends as soon as it has died', async () => {
  const began = performance.now();
  const { code } = await bash(newState(), 'background job bash -c "exit 3"; wait_for job 60 unix /nonexistent.sock');
  assert.equal(code, 1);
  assert.ok(performance.now() - began < 20_000);
});

test('a free port is one that nobody listens on, on any address', async () => {
  const busy = createServer();
  await new Promise<void>((done) => busy.listen(0, '0.0.0.0', done));
  const { port } = busy.address() as { port: number };
  try {
    const { stdout } = await run(process.execPath, [join(ROOT, 'scripts/lib/probe.ts'), 'free-port', String(port)]);
    assert.ok(Number(stdout) > port, `${stdout} after ${port}`);
  } finally {
    busy.close();
  }
});

test('a failure says what failed, the end of its log, and what to type', async () => {
  const state = newState();
  writeFileSync(join(state, 'x.log'), `${Array.from({ length: 40 }, (_, n) => `line ${n}`).join('\n')}\n`);
  const { code, stderr } = await bash(state, `LOG="$STATE/x.log"; fail 'it broke' 'type this' 'or that'`);
  assert.equal(code, 1);
  assert.match(stderr, /: it broke\n/);
  assert.match(stderr, /line 39\n/);
  assert.doesNotMatch(stderr, /line 20\n/);
  assert.match(stderr, /What to do next:\n {4}type this\n {4}or that\n/);
});
