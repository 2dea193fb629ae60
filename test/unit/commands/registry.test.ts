import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseCommand } from '../../../src/commands/registry.ts';
import { DinpError } from '../../../src/domain/errors.ts';
import { Terminal } from './terminal.ts';

const failed = (status: number, stderr: string) => ({ status, stdout: '', stderr });

const mistakes: [line: string, message: string, hint: string][] = [
  ['lgos blog -f', 'there is no command "lgos".', 'Did you mean:  dinp logs blog -f'],
  ['apps:create blog', 'there is no command "apps:create".', 'Did you mean:  dinp apps create blog'],
  ['create blog', 'there is no command "create".', 'Did you mean:  dinp apps create blog'],
  ['env blog', 'there is no command "env".', 'Did you mean:  dinp config blog'],
  ['exec blog ls', 'there is no command "exec".', 'Did you mean:  dinp run blog ls'],
  ['apps lst', 'there is no command "apps lst".', 'Did you mean:  dinp apps list'],
  ['apps frobnicate', 'there is no command "apps frobnicate".', 'dinp apps --help lists what there is.'],
  ['builds lgo blog', 'there is no command "builds lgo".', 'Did you mean:  dinp builds log blog'],
  ['frobnicate', 'there is no command "frobnicate".', 'dinp help lists what there is.'],
  ['help frobnicate', 'there is no command "frobnicate".', 'dinp help lists what there is.'],
  ['constructor', 'there is no command "constructor".', 'dinp help lists what there is.'],
  ['apps list --jsno', 'there is no option "--jsno" here.', 'Did you mean:  dinp apps list --json'],
  ['--frob', 'there is no option "--frob" here.', 'dinp help lists what there is.'],
  ['logs', '<app> is missing.', 'Usage:  dinp logs <app>\n       dinp logs --help says more.'],
  ['config', '<app> is missing.', 'Usage:  dinp config list <app>\n       dinp config list --help says more.'],
  [
    'whoami x',
    "too many arguments for 'whoami'. Expected 0 arguments but got 1: x.",
    'Usage:  dinp whoami\n       dinp whoami --help says more.',
  ],
];

for (const [line, message, hint] of mistakes) {
  test(`dinp ${line}`, async (t) => {
    assert.deepEqual(await new Terminal(t).type(line), failed(2, `error: ${message}\nhint:  ${hint}\n`));
  });
}

test('help of everything and of each command comes without a server, in the words of the caller', () => {
  const help = (...argv: string[]) => {
    const parsed = parseCommand(argv, { program: 'ssh dinp@h', columns: 80 });
    assert.equal(parsed.kind, 'print', argv.join(' '));
    return parsed.kind === 'print' ? parsed.text : '';
  };
  const all = help('help');
  assert.equal(all, help('--help'));
  assert.ok(all.split('\n').every((line) => line.length <= 140));
  const commands = [...all.matchAll(/^ {2}([a-z]+) (\S*)/gm)].filter(([, noun]) => noun !== 'help');
  assert.ok(commands.length > 15);
  for (const [, noun, verbs] of commands) {
    assert.match(help(noun!, '--help'), new RegExp(`^Usage: ssh dinp@h ${noun}`));
    for (const verb of /^[a-z]+(?:\|[a-z]+)*$/.test(verbs!) ? verbs!.split('|') : []) {
      assert.equal(help('help', noun!, verb), help(noun!, verb, '-h'));
      assert.match(help(noun!, verb, '--help'), new RegExp(`^Usage: ssh dinp@h ${noun} ${verb}`));
    }
  }
});

test('an error nobody expected shows an id, and the log has it under that id', async (t) => {
  const terminal = new Terminal(t);
  terminal.deployed('blog');
  terminal.operations.failure = new TypeError('secret detail');
  const { status, stdout, stderr } = await terminal.type('restart blog');
  const id = /^error: internal error ([0-9a-f]{8})\.\nhint: {2}The log of the server says more under that id\.\n$/.exec(
    stderr,
  )?.[1];
  assert.deepEqual([status, stdout], [1, '']);
  assert.deepEqual(terminal.logged, [{ err: terminal.operations.failure, errorId: id }]);
});

test('detail stands between message and hint; our own commands are in the words of the caller', async (t) => {
  const terminal = new Terminal(t);
  terminal.deployed('blog');
  terminal.operations.failure = new DinpError('start-failed', 'web.1 did not start:\nit exited.', {
    detail: 'line 1\n\u001b[31mline 2\u001b[0m\n',
    hint: 'dinp logs blog says more; to retry: git push dinp main',
  });
  assert.deepEqual(
    await terminal.type('restart blog', { program: 'ssh dinp@h' }),
    failed(
      1,
      `error: web.1 did not start:
       it exited.
       line 1
       line 2
hint:  ssh dinp@h logs blog says more; to retry: git push dinp main
`,
    ),
  );
});

test('a command that Ctrl-C ended says nothing and gives 130', async (t) => {
  const terminal = new Terminal(t);
  terminal.deployed('blog');
  terminal.operations.failure = new DinpError('canceled', 'canceled');
  assert.deepEqual(await terminal.type('restart blog', { signal: AbortSignal.abort() }), failed(130, ''));
});

test('no words make the parser fail with anything but a usage error', () => {
  const word = fc.oneof(
    fc.constantFrom(
      'apps',
      'keys',
      'config',
      'run',
      'list',
      'set',
      'add',
      'help',
      '--json',
      '--',
      '-n',
      '-f',
      '--app',
      '-h',
      '',
    ),
    fc.string({ unit: 'binary', maxLength: 12 }),
  );
  fc.assert(
    fc.property(fc.array(word, { maxLength: 6 }), (argv) => {
      try {
        parseCommand(argv, { program: 'dinp', columns: undefined });
      } catch (error) {
        assert.ok(error instanceof DinpError && error.code === 'usage', `${JSON.stringify(argv)}: ${error}`);
      }
    }),
  );
});
