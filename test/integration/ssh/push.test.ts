import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { appendFileSync, existsSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { Fixture, finished, until } from './front-door-fixture.ts';

const accept = { ok: true, text: '', reason: '' };

function head(repository: string, ref: string): string | undefined {
  try {
    return execFileSync('git', ['rev-parse', '--verify', '-q', ref], { cwd: repository, encoding: 'utf8' }).trim();
  } catch {
    return undefined;
  }
}

describe('git push', { concurrency: 2 }, () => {
  it('moves the ref, prints the build before git says what moved, and exits as the build did', async () => {
    await using door = await Fixture.open({
      settle: async ({ outcome }, answer) => {
        const bad = outcome.applied.some(({ ref }) => ref.endsWith('bad'));
        for (let i = 0; i < 2000; i++) await answer.write(2, `-----> line ${i}\n`);
        await answer.write(2, 'the end\n');
        answer.exit(bad ? 1 : 0);
      },
    });
    const work = door.workTree('app');
    const good = await door.git(work, 'push', 'dinp', 'master');
    assert.equal(good.code, 0, good.stderr);
    assert.match(good.stderr, /^-----> line 0\n[\s\S]*-----> line 1999\nthe end\nTo ssh:[\s\S]*master -> master\n$/);
    assert.doesNotMatch(good.stderr, /remote:/);
    const bad = await door.git(work, 'push', 'dinp', 'master:refs/heads/bad');
    assert.equal(bad.code, 1);
    assert.match(bad.stderr, /the end\n[\s\S]*master -> bad/);
    const tip = head(work, 'HEAD');
    assert.equal(head(door.repository('app'), 'refs/heads/master'), tip);
    assert.equal(head(door.repository('app'), 'refs/heads/bad'), tip);
    assert.deepEqual(door.settled[0]?.outcome.applied, [{ old: '0'.repeat(40), new: tip, ref: 'refs/heads/master' }]);
    assert.equal(door.settled[0]?.identity.name, 'ada');
  });

  it('answers a push without commands, and its status counts', async () => {
    await using door = await Fixture.open({
      settle: async ({ outcome }, answer) => {
        await answer.write(2, `asked ${outcome.asked.length}\n`);
        answer.exit(outcome.asked.length > 0 ? 0 : 1);
      },
    });
    const work = door.workTree('app');
    assert.equal((await door.git(work, 'push', 'dinp', 'master')).code, 0);
    for (const args of [['master'], ['--dry-run', 'master:other']]) {
      const again = await door.git(work, 'push', 'dinp', ...args);
      assert.equal(again.code, 1);
      assert.match(again.stderr, /^asked 0\n/);
    }
    assert.equal(head(door.repository('app'), 'other'), undefined);
  });

  it('clones and fetches', async () => {
    await using door = await Fixture.open();
    const work = door.workTree('app');
    await door.git(work, 'push', 'dinp', 'master');
    const clone = await door.git(door.dir, 'clone', '-q', door.url('app'), 'clone');
    assert.equal(clone.code, 0, clone.stderr);
    appendFileSync(join(work, 'file'), 'two\n');
    await door.git(work, 'commit', '-qam', 'second');
    await door.git(work, 'push', 'dinp', 'master');
    const pull = await door.git(join(door.dir, 'clone'), 'pull', '-q');
    assert.equal(pull.code, 0, pull.stderr);
    assert.equal(head(join(door.dir, 'clone'), 'HEAD'), head(work, 'HEAD'));
    assert.deepEqual(
      new Set(door.opened.map(({ service }) => service)),
      new Set(['git-receive-pack', 'git-upload-pack']),
    );
  });

  it('refuses one ref beside others, in its own words', async () => {
    await using door = await Fixture.open({
      judge: async ({ hook, commands }) => {
        if (hook !== 'update' || commands[0]?.ref !== 'refs/heads/no') return accept;
        return { ok: false, text: 'The branch "no" is closed.', reason: 'closed' };
      },
    });
    const work = door.workTree('app');
    const push = await door.git(work, 'push', 'dinp', 'master', 'master:no');
    assert.equal(push.code, 1);
    // Two pipes lead from ssh to the terminal, so which text comes first is not ours to say on a busy machine.
    assert.match(push.stderr, /^The branch "no" is closed\.$/m);
    assert.match(push.stderr, /\[remote rejected\] master -> no/);
    assert.ok(head(door.repository('app'), 'master'));
    assert.equal(head(door.repository('app'), 'no'), undefined);
    assert.equal(door.settled[0]?.outcome.asked.length, 2);
    assert.deepEqual(
      door.settled[0]?.outcome.applied.map(({ ref }) => ref),
      ['refs/heads/master'],
    );
  });

  it('refuses a whole push before any ref moves, and shows where its objects wait', async () => {
    await using door = await Fixture.open({
      judge: async ({ quarantine }) => {
        assert.ok(quarantine !== undefined && readdirSync(join(quarantine, 'pack')).length > 0);
        return { ok: false, text: 'Too large.\nMake it smaller.', reason: 'large' };
      },
    });
    const work = door.workTree('app');
    const push = await door.git(work, 'push', 'dinp', 'master', 'master:x');
    assert.equal(push.code, 1);
    assert.match(push.stderr, /^Too large\.\nMake it smaller\.\n/);
    assert.match(push.stderr, /pre-receive hook declined/);
    assert.deepEqual(
      door.judged.map(({ hook }) => hook),
      ['pre-receive'],
    );
    assert.equal(head(door.repository('app'), 'master'), undefined);
    assert.deepEqual(door.settled[0]?.outcome.applied, []);
  });

  it('redeploys through refs/deploy/now, which is answered and never stored', async () => {
    await using door = await Fixture.open({
      judge: async ({ hook, commands }) => {
        if (hook !== 'proc-receive' || commands[0]?.ref === 'refs/deploy/now') return accept;
        return { ok: false, text: '', reason: 'only refs/deploy/now' };
      },
    });
    const work = door.workTree('app');
    await door.git(work, 'push', 'dinp', 'master');
    const push = await door.git(work, 'push', 'dinp', 'master:refs/deploy/now', 'master:refs/deploy/it');
    assert.match(push.stderr, /\[new reference\] +master -> refs\/deploy\/now/);
    assert.match(push.stderr, /\[remote rejected\] master -> refs\/deploy\/it \(only refs\/deploy\/now\)/);
    assert.equal(head(door.repository('app'), 'refs/deploy/now'), undefined);
    assert.deepEqual(
      door.settled[1]?.outcome.applied.map(({ ref }) => ref),
      ['refs/deploy/now'],
    );
  });

  it('passes push options on as they are, and refuses a line break in one', async () => {
    await using door = await Fixture.open();
    const work = door.workTree('app');
    const options = ['a=b  c', '', "it's $(id) `id`", '-n', '100% \\n ü'];
    const push = await door.git(work, 'push', ...options.flatMap((one) => ['-o', one]), 'dinp', 'master');
    assert.equal(push.code, 0, push.stderr);
    assert.deepEqual(door.settled[0]?.outcome.options, options);
    assert.deepEqual(door.judged[0]?.options, options);
  });

  it('deletes tags where it may', async () => {
    await using door = await Fixture.open();
    const work = door.workTree('app');
    await door.git(work, 'push', 'dinp', 'master', 'master:refs/tags/v1');
    const push = await door.git(work, 'push', 'dinp', ':refs/tags/v1');
    assert.equal(push.code, 0, push.stderr);
    assert.equal(door.settled[1]?.outcome.applied[0]?.new, '0'.repeat(40));
  });

  it('does not take what git itself refuses for a push without commands', async () => {
    await using door = await Fixture.open();
    const work = door.workTree('app');
    appendFileSync(join(work, 'file'), 'two\n');
    await door.git(work, 'commit', '-qam', 'second');
    await door.git(door.dir, 'clone', '-q', '--depth', '1', `file://${work}`, 'shallow');
    const shallow = join(door.dir, 'shallow');
    const push = await door.git(shallow, 'push', door.url('app'), 'master');
    assert.equal(push.code, 1);
    assert.match(push.stderr, /git fetch --unshallow/);
    const hidden = await door.git(work, 'push', 'dinp', 'master:refs/dinp/releases/1');
    assert.equal(hidden.code, 1);
    // A tree that fsck refuses: an entry called .git.
    const blob = execFileSync('git', ['hash-object', '-w', '--stdin'], {
      cwd: work,
      input: 'x',
      encoding: 'utf8',
    }).trim();
    const entry = Buffer.concat([Buffer.from('100644 .git\0'), Buffer.from(blob, 'hex')]);
    const make = ['hash-object', '-w', '-t', 'tree', '--literally', '--stdin'];
    const tree = execFileSync('git', make, { cwd: work, input: entry, encoding: 'utf8' }).trim();
    const env = { ...door.env() };
    const bad = execFileSync('git', ['commit-tree', tree, '-m', 'x'], { cwd: work, env, encoding: 'utf8' }).trim();
    const fsck = await door.git(work, 'push', 'dinp', `${bad}:refs/heads/bad`);
    assert.equal(fsck.code, 1);
    assert.match(fsck.stderr, /hasDotgit/);
    for (const { outcome } of door.settled) {
      assert.ok(outcome.asked.length > 0);
      assert.equal(outcome.applied.length, 0);
    }
  });

  it('tells why an app cannot be used', async () => {
    await using door = await Fixture.open();
    const work = door.workTree('forbidden');
    const push = await door.git(work, 'push', 'dinp', 'master');
    assert.equal(push.code, 128);
    assert.match(push.stderr, /You may not use forbidden\./);
    const archive = await door.git(work, 'archive', `--remote=${door.url('app')}`, 'HEAD');
    assert.match(archive.stderr, /git archive --remote is not served here/);
  });

  it('goes on when the pusher presses Ctrl-C while the build runs', async () => {
    let aborted = false;
    await using door = await Fixture.open({
      settle: async (_request, answer) => {
        while (!answer.signal.aborted) {
          await answer.write(2, 'working\n');
          await new Promise((resolve) => setTimeout(resolve, 5));
        }
        aborted = true;
      },
    });
    const work = door.workTree('app');
    const git = door.start('git', ['push', 'dinp', 'master'], { cwd: work });
    const done = finished(git);
    await until(() => door.settled.length > 0, 'the build runs');
    process.kill(-git.pid!, 'SIGINT');
    await done;
    await until(() => aborted, 'the watching ends');
    assert.ok(head(door.repository('app'), 'master'));
  });

  it('deploys what moved when the pusher is gone before the refs move', async () => {
    const { promise: go, resolve: release } = Promise.withResolvers<void>();
    await using door = await Fixture.open({
      judge: async ({ hook }) => {
        if (hook === 'update') await go;
        return { ...accept, text: 'x'.repeat(100_000) };
      },
    });
    const work = door.workTree('app');
    const git = door.start('git', ['push', 'dinp', 'master'], { cwd: work });
    const done = finished(git);
    await until(() => door.judged.some(({ hook }) => hook === 'update'), 'the update hook asks');
    process.kill(-git.pid!, 'SIGKILL');
    await done;
    await new Promise((resolve) => setTimeout(resolve, 100));
    release();
    await until(() => door.settled.length === 1, 'the push is settled');
    assert.ok(head(door.repository('app'), 'master'));
    assert.equal(door.settled[0]?.outcome.applied.length, 1);
  });

  it('leaves nothing behind when the pusher is gone in the middle of the pack', async () => {
    await using door = await Fixture.open();
    const work = door.workTree('app');
    writeFileSync(join(work, 'large'), execFileSync('head', ['-c', '60000000', '/dev/urandom'], { maxBuffer: 1e8 }));
    await door.git(work, 'add', '.');
    await door.git(work, 'commit', '-qm', 'large');
    const objects = join(door.repository('app'), 'objects');
    const git = door.start('git', ['push', 'dinp', 'master'], { cwd: work });
    const done = finished(git);
    const incoming = () => readdirSync(objects).filter((name) => name.startsWith('tmp_objdir'));
    await until(() => incoming().length > 0, 'the pack arrives');
    process.kill(-git.pid!, 'SIGKILL');
    await done;
    await until(() => incoming().length === 0, 'git cleans up');
    assert.equal(door.settled.length, 0);
    assert.equal((await door.git(work, 'push', 'dinp', 'master')).code, 0);
    assert.ok(existsSync(join(objects, 'pack')));
  });
});
