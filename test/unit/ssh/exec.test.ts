import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { parseExec, splitWords } from '../../../src/ssh/exec.ts';

const push = (name: string) => ({ kind: 'git', service: 'git-receive-pack', name });

/** git's own quoting (quote.c, sq_quote_buf). */
function sqQuote(text: string): string {
  return `'${text.replace(/['!]/g, (char) => `'\\${char}'`)}'`;
}

describe('parseExec', () => {
  it('reads what git clients send', () => {
    assert.deepEqual(parseExec("git-receive-pack 'app.git'"), push('app'));
    assert.deepEqual(parseExec("git-receive-pack '/app.git'"), push('app'));
    assert.deepEqual(parseExec("git-receive-pack '~/app'"), push('app'));
    assert.deepEqual(parseExec("git-receive-pack '/~/app.git/'"), push('app'));
    assert.deepEqual(parseExec('git receive-pack app'), push('app'));
    assert.deepEqual(parseExec('git-upload-pack "app.git"'), { ...push('app'), service: 'git-upload-pack' });
    assert.deepEqual(parseExec("git-receive-pack 'it'\\''s'"), push("it's"));
  });

  it('refuses git-upload-archive, two names, options and no name', () => {
    for (const line of [
      "git-upload-archive 'app'",
      'git upload-archive app',
      'git-receive-pack',
      'git-receive-pack a b',
      'git-receive-pack --stateless-rpc',
      "git-upload-pack --strict 'a'",
      "git-receive-pack ''",
      "git-receive-pack '/.git'",
      "git-receive-pack 'a",
      `git-receive-pack '${'a'.repeat(1100)}'`,
      "git-receive-pack 'a\ufffd'",
      'git-receive-pack a\0b',
      'x'.repeat(64 * 1024 + 1),
      'ps \\',
    ]) {
      assert.equal(parseExec(line).kind, 'refused', line.slice(0, 60));
    }
  });

  it('takes everything else for a command, and expands nothing', () => {
    assert.deepEqual(parseExec(''), { kind: 'command', argv: [] });
    assert.deepEqual(parseExec('config set A="b c" \'d $E\' f\\ g'), {
      kind: 'command',
      argv: ['config', 'set', 'A=b c', 'd $E', 'f g'],
    });
    assert.deepEqual(parseExec('logs; rm -rf / | $(id) `id` *'), {
      kind: 'command',
      argv: ['logs;', 'rm', '-rf', '/', '|', '$(id)', '`id`', '*'],
    });
    assert.deepEqual(parseExec('git-receive-packs a'), { kind: 'command', argv: ['git-receive-packs', 'a'] });
    assert.deepEqual(parseExec('git push'), { kind: 'command', argv: ['git', 'push'] });
    assert.equal(parseExec(`say ${'é'.repeat(2000)}`).kind, 'command');
  });

  it('gives back any name that git quotes', () => {
    const name = fc.string({ unit: 'binary', minLength: 1, maxLength: 200 });
    fc.assert(
      fc.property(name, (text) => {
        fc.pre(!/[\0\ufffd]|^-|^\/|^~|\/$|\.git$/.test(text) && Buffer.byteLength(text) < 300);
        assert.deepEqual(parseExec(`git-receive-pack ${sqQuote(text)}`), push(text));
      }),
    );
  });

  it('never throws and never leaves a git service to a command', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        const exec = parseExec(text);
        if (exec.kind === 'command') assert.ok(!/^git-(receive|upload)-pack$/.test(exec.argv[0] ?? ''));
        const git = parseExec(`git-upload-pack ${text}`);
        assert.notEqual(git.kind, 'command');
      }),
    );
  });
});

describe('splitWords', () => {
  it('splits as sh does', () => {
    const char = fc.constantFrom('a', 'b', ' ', '\t', "'", '"', '\\', 'é', '=', '.');
    fc.assert(
      fc.property(fc.array(char, { maxLength: 12 }), (chars) => {
        const line = chars.join('');
        const words = splitWords(line);
        if (words === undefined || line.endsWith('\\')) return;
        const out = execFileSync('/bin/sh', ['-c', `for w in ${line}; do printf '%s\\0' "$w"; done`]).toString();
        assert.deepEqual(words, out.split('\0').slice(0, -1));
      }),
      { numRuns: 150 },
    );
  });

  it('knows what is not closed', () => {
    for (const line of ["'", '"', 'a "b', '"\\"', 'a\\']) assert.equal(splitWords(line), undefined, line);
  });
});
