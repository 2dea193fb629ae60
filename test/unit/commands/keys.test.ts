import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { Terminal } from './terminal.ts';

const folder = mkdtempSync(join(tmpdir(), 'dinp-keys-'));
after(() => rmSync(folder, { recursive: true }));

function makeKey(comment: string, ...type: string[]): { line: string; fingerprint: string } {
  const file = join(folder, `k${Math.random().toString(36).slice(2)}`);
  const options = type.length > 0 ? type : ['-t', 'ed25519'];
  execFileSync('ssh-keygen', ['-q', ...options, '-N', '', '-C', comment, '-f', file]);
  const fingerprint = execFileSync('ssh-keygen', ['-lf', `${file}.pub`], { encoding: 'utf8' }).split(' ')[1]!;
  return { line: readFileSync(`${file}.pub`, 'utf8').trim(), fingerprint };
}

const alice = makeKey('alice@laptop');
const bob = makeKey('Bob B. (work)');

const ok = (stdout: string) => ({ status: 0, stdout, stderr: '' });
const failed = (status: number, stderr: string) => ({ status, stdout: '', stderr });

test('a key comes in by standard input, named by its comment or by hand', async (t) => {
  const terminal = new Terminal(t);
  assert.deepEqual(
    await terminal.type('keys add --role admin', { stdin: `${alice.line}\n` }),
    ok(`Added alice@laptop as an admin: ${alice.fingerprint} (ssh-ed25519, 256 bits).\n`),
  );
  terminal.deployed('blog');
  terminal.deployed('shop');
  assert.deepEqual(
    await terminal.type('keys add bob --app blog --app shop', { stdin: bob.line }),
    ok(`Added bob as a deployer of blog and shop: ${bob.fingerprint} (ssh-ed25519, 256 bits).\n`),
  );
  assert.deepEqual(
    await terminal.type('keys list'),
    ok(`NAME          ROLE      APPS       FINGERPRINT${' '.repeat(39)}  ADDED
alice@laptop  admin     all        ${alice.fingerprint}  just now
bob           deployer  blog,shop  ${bob.fingerprint}  just now
`),
  );
});

test('a key may stand on the command line, with or without quotes, with or without a name', async (t) => {
  const terminal = new Terminal(t);
  assert.equal((await terminal.type(['keys', 'add', 'al', alice.line, '--role', 'admin'])).status, 0);
  assert.equal((await terminal.type(`keys add --role admin ${bob.line}`)).status, 0);
  assert.deepEqual(
    terminal.store.keys.list().map((key) => [key.name, key.fingerprint]),
    [
      ['Bob-B.-work', bob.fingerprint],
      ['al', alice.fingerprint],
    ],
  );
});

test('several keys at once are all added or none', async (t) => {
  const terminal = new Terminal(t);
  const both = `# team\n${alice.line}\n\n${bob.line}\n`;
  assert.deepEqual(
    await terminal.type('keys add team --role admin', { stdin: both }),
    failed(
      2,
      'error: 2 keys came in, and one name for them.\nhint:  Leave the name out: the comments behind the keys become their names.\n',
    ),
  );
  assert.deepEqual(
    await terminal.type('keys add --role admin', { stdin: `${alice.line}\nnonsense\n` }),
    failed(
      2,
      'error: line 2 is not a public key.\nhint:  A public key is one line such as "ssh-ed25519 AAAA… name", in a file such as ~/.ssh/id_ed25519.pub.\n',
    ),
  );
  assert.deepEqual(terminal.store.keys.list(), []);
  assert.equal((await terminal.type('keys add --role admin', { stdin: both })).status, 0);
  assert.deepEqual(
    await terminal.type('keys add --role admin', { stdin: `${makeKey('carol').line}\n${bob.line}\n` }),
    failed(
      1,
      `error: the key ${bob.fingerprint} is there already, as Bob-B.-work (admin).\nhint:  None of the keys was added. Take out or rename these, then try again.\n`,
    ),
  );
  assert.equal(terminal.store.keys.list().length, 2);
});

test('the same key and the same name are refused', async (t) => {
  const terminal = new Terminal(t);
  await terminal.type('keys add al --role admin', { stdin: alice.line });
  assert.deepEqual(
    await terminal.type('keys add other --role admin', { stdin: alice.line }),
    failed(
      1,
      `error: the key ${alice.fingerprint} is there already, as al (admin).\nhint:  To change what it may do, remove it first, or:  dinp keys grant KEY APP\n`,
    ),
  );
  assert.deepEqual(
    await terminal.type('keys add al --role admin', { stdin: bob.line }),
    failed(1, 'error: another key is called al already.\nhint:  Choose another name:  dinp keys add NAME …\n'),
  );
});

test('what the key may do must be said', async (t) => {
  const terminal = new Terminal(t);
  terminal.deployed('blog');
  assert.deepEqual(
    await terminal.type('keys add', { stdin: alice.line }),
    failed(
      2,
      'error: say what the key may do.\nhint:  --role admin for everything, or --app APP for a deployer of that app.\n',
    ),
  );
  assert.equal((await terminal.type('keys add --role admin --app blog', { stdin: alice.line })).status, 2);
  assert.equal((await terminal.type('keys add --role deployer', { stdin: alice.line })).status, 2);
  assert.deepEqual(
    await terminal.type('keys add --app blgo', { stdin: alice.line }),
    failed(1, 'error: no app is called "blgo".\nhint:  Did you mean:  dinp keys add --app blog\n'),
  );
  assert.deepEqual(terminal.store.keys.list(), []);
});

test('nothing, a path, too much and bytes that are no text are told apart', async (t) => {
  const terminal = new Terminal(t);
  const stderrOf = async (line: string, stdin?: string | Uint8Array) =>
    (await terminal.type(line, { ...(stdin !== undefined && { stdin }) })).stderr.split('\n')[0];
  assert.equal(
    await stderrOf('keys add --role admin'),
    'error: the public key is read from standard input, and there is none.',
  );
  assert.equal(await stderrOf('keys add --role admin', ''), 'error: no public key came in.');
  assert.equal(
    await stderrOf('keys add ~/.ssh/id_rsa.pub --role admin', ''),
    'error: "~/.ssh/id_rsa.pub" cannot be the name of a key.',
  );
  assert.equal(
    await stderrOf('keys add --role admin', 'x'.repeat(300 * 1024)),
    'error: the public key is longer than 256 KiB.',
  );
  assert.equal(
    await stderrOf('keys add --role admin', Buffer.from([0xff, 0xfe, 0x00])),
    'error: the public key is not text in UTF-8.',
  );
});

test('a small RSA key is let in with a warning', async (t) => {
  const terminal = new Terminal(t);
  const { stderr } = await terminal.type('keys add old --role admin', {
    stdin: makeKey('x', '-t', 'rsa', '-b', '2048').line,
  });
  assert.equal(stderr, 'warning: old is an RSA key of 2048 bits; an ed25519 key is safer and faster.\n');
});

test('keys show and grant, by name or fingerprint', async (t) => {
  const terminal = new Terminal(t);
  terminal.deployed('blog');
  terminal.deployed('shop');
  await terminal.type('keys add bob --app blog', { stdin: bob.line });
  assert.deepEqual(await terminal.type('keys grant bob shop'), ok('bob is a deployer of blog and shop.\n'));
  const { createdAt } = terminal.store.keys.find('bob')!;
  const { stdout } = await terminal.type(`keys show ${bob.fingerprint} --json`);
  assert.deepEqual(JSON.parse(stdout), {
    name: 'bob',
    role: 'deployer',
    apps: ['blog', 'shop'],
    fingerprint: bob.fingerprint,
    type: 'ssh-ed25519',
    createdAt: new Date(createdAt).toISOString(),
    publicKey: bob.line.split(' ').slice(0, 2).join(' '),
  });
  assert.deepEqual(
    await terminal.type('keys show bbo'),
    failed(1, 'error: no key has the name or fingerprint "bbo".\nhint:  Did you mean bob?\n'),
  );
});

test('the last admin stays unless it is meant', async (t) => {
  const terminal = new Terminal(t);
  await terminal.type('keys add al --role admin', { stdin: alice.line });
  assert.deepEqual(
    await terminal.type('keys remove al'),
    failed(
      1,
      'error: al is the last key of an admin: nobody could operate the server over ssh any more.\nhint:  If you mean it:  dinp keys remove al --force\n',
    ),
  );
  assert.deepEqual(await terminal.type('keys remove al --force'), ok(`Removed al (${alice.fingerprint}).\n`));
  assert.deepEqual(
    await terminal.type('keys list'),
    ok('There are no keys yet. Let the first one in:\n  dinp keys add --role admin < ~/.ssh/id_ed25519.pub\n'),
  );
});
