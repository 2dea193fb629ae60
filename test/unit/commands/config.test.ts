import assert from 'node:assert/strict';
import { test } from 'node:test';
import { deployer, Terminal } from './terminal.ts';

const ok = (stdout: string) => ({ status: 0, stdout, stderr: '' });
const failed = (status: number, stderr: string) => ({ status, stdout: '', stderr });

test('config set releases at once; the value shows nowhere', async (t) => {
  const terminal = new Terminal(t);
  terminal.deployed('blog');
  assert.deepEqual(
    await terminal.type('config set blog TOKEN=a=b MODE=fast'),
    ok('Changed TOKEN and MODE; released as v2.\n'),
  );
  assert.deepEqual(terminal.operations.calls, [['changeConfig', 'blog', { TOKEN: 'a=b', MODE: 'fast' }, 'root']]);
  assert.deepEqual(await terminal.type('config list blog'), ok('NAME   VALUE\nMODE   (hidden)\nTOKEN  (hidden)\n'));
  assert.deepEqual(
    await terminal.type('config set blog MODE=fast'),
    ok('Nothing changed: MODE had that value already.\n'),
  );
});

test('before the first release the next one takes it', async (t) => {
  const terminal = new Terminal(t);
  terminal.store.apps.create('blog');
  assert.deepEqual(await terminal.type('config set blog A=1'), ok('Changed A; the next release has it.\n'));
});

test('a secret comes by standard input, less one newline at its end', async (t) => {
  const terminal = new Terminal(t);
  const app = terminal.store.apps.create('blog');
  await terminal.type('config set blog KEY', { stdin: '-----BEGIN-----\nx\n-----END-----\n' });
  await terminal.type('config set blog OTHER=-', { stdin: 'plain\r\n' });
  assert.deepEqual(terminal.store.config.get(app.id), { KEY: '-----BEGIN-----\nx\n-----END-----', OTHER: 'plain' });
  assert.deepEqual(
    await terminal.type('config set blog KEY OTHER', { stdin: 'x' }),
    failed(
      2,
      'error: standard input holds one value, and more than one is asked of it.\nhint:  Several at once:  dinp config set blog --file - < file\n',
    ),
  );
  assert.deepEqual(
    await terminal.type('config set blog KEY'),
    failed(2, 'error: the value of KEY is read from standard input, and there is none.\n'),
  );
});

test('an env file sets several; what list --show prints is one', async (t) => {
  const terminal = new Terminal(t);
  const app = terminal.store.apps.create('blog');
  const file = '# comment\nexport A=1\nB="two\\nlines # no comment"\nC=\'$x\'\n\nD= spaced # comment\nE=\n';
  assert.deepEqual(
    await terminal.type('config set blog --file -', { stdin: file }),
    ok('Changed A, B, C, D and E; the next release has it.\n'),
  );
  const values = { A: '1', B: 'two\nlines # no comment', C: '$x', D: 'spaced', E: '' };
  assert.deepEqual(terminal.store.config.get(app.id), values);
  const { stdout } = await terminal.type('config blog --show');
  assert.equal(stdout, 'A=1\nB="two\\nlines # no comment"\nC="\\$x"\nD=spaced\nE=\n');
  terminal.store.apps.create('copy');
  await terminal.type('config set copy --file copy.env', { stdin: stdout });
  assert.deepEqual(terminal.store.config.get(terminal.store.apps.find('copy')!.id), values);
});

test('values are shown to admins only', async (t) => {
  const terminal = new Terminal(t);
  terminal.store.apps.create('blog');
  await terminal.type('config set blog A=secret');
  const bob = deployer('bob', 'blog');
  assert.deepEqual(await terminal.type('config list blog', { as: bob }), ok('NAME  VALUE\nA     (hidden)\n'));
  assert.equal((await terminal.type('config list blog --show', { as: bob })).status, 1);
  assert.deepEqual(JSON.parse((await terminal.type('config list blog --json', { as: bob })).stdout), [
    { name: 'A', value: null },
  ]);
  assert.deepEqual(JSON.parse((await terminal.type('config list blog --json --show')).stdout), [
    { name: 'A', value: 'secret' },
  ]);
});

test('names and values that cannot be are refused, all or nothing', async (t) => {
  const terminal = new Terminal(t);
  const app = terminal.store.apps.create('blog');
  const messages: Record<string, string> = {
    'config set blog A=1 MY-KEY=2': '"MY-KEY" cannot be the name of a setting.',
    'config set blog =x': '"" cannot be the name of a setting.',
    'config set blog 1A=x': '"1A" cannot be the name of a setting.',
    'config set blog PORT=80': 'PORT is given to every process by the server: the port that it must listen on.',
    'config set blog A=1 A=2': 'A is given twice.',
    'config set blog': 'nothing to set.',
  };
  for (const [line, message] of Object.entries(messages)) {
    const { status, stderr } = await terminal.type(line, { stdin: '' });
    assert.deepEqual([line, status, stderr.split('\n')[0]], [line, 2, `error: ${message}`]);
  }
  const big = await terminal.type(['config', 'set', 'blog', `A=${'é'.repeat(40_000)}`]);
  assert.match(big.stderr, /^error: the value of A has 80000 bytes; at most 65536 are allowed\./);
  assert.match(
    (await terminal.type('config set blog A', { stdin: 'x'.repeat(70_000) })).stderr,
    /^error: the value of A is longer than/,
  );
  assert.match((await terminal.type(['config', 'set', 'blog', 'A=\0'])).stderr, /NUL byte/);
  assert.match(
    (await terminal.type('config set blog --file -', { stdin: 'A=1\nSECRET\n' })).stderr,
    /^error: line 2 is not NAME=VALUE\.\n/,
  );
  assert.deepEqual(terminal.store.config.get(app.id), {});
});

test('a value of exactly 64 KiB with its newline is taken', async (t) => {
  const terminal = new Terminal(t);
  const app = terminal.store.apps.create('blog');
  assert.equal((await terminal.type('config set blog A', { stdin: `${'x'.repeat(65_536)}\n` })).status, 0);
  assert.equal(terminal.store.config.get(app.id).A!.length, 65_536);
});

test('config unset', async (t) => {
  const terminal = new Terminal(t);
  terminal.deployed('blog');
  await terminal.type('config set blog DATABASE_URL=x OTHER=y');
  assert.deepEqual(
    await terminal.type('config unset blog OTHER DATABASE_ULR'),
    failed(1, 'error: DATABASE_ULR is not set in blog.\nhint:  Did you mean DATABASE_URL?\n'),
  );
  assert.deepEqual(await terminal.type('config unset blog OTHER'), ok('Changed OTHER; released as v3.\n'));
  assert.deepEqual(await terminal.type('config blog'), ok('NAME          VALUE\nDATABASE_URL  (hidden)\n'));
  await terminal.type('config unset blog DATABASE_URL');
  assert.deepEqual(
    await terminal.type('config blog'),
    ok('blog has no config. Set some:\n  dinp config set blog NAME=VALUE\n'),
  );
});

test('a hint that repeats the command line leaves values out', async (t) => {
  const terminal = new Terminal(t);
  terminal.store.apps.create('blog');
  for (const line of ['config set blgo A=secret', 'confg set blog A=secret', 'config:set blog A=secret']) {
    const { stderr } = await terminal.type(line);
    assert.match(stderr, /Did you mean: {2}dinp config set blog A=…\n$/);
  }
});
