import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { deployer, Terminal } from './terminal.ts';

const IMAGE = '127.0.0.1:5000/blog@sha256:11';

function terminalWith(t: TestContext) {
  const terminal = new Terminal(t);
  terminal.deployed('blog');
  terminal.deployed('shop');
  terminal.cleanedUp = {
    untouched: [{ app: 'shop', why: 'what runs on its target docker cannot be seen' }],
    removed: [
      { kind: 'image', name: IMAGE, bytes: 1_234_567 },
      { kind: 'release', name: 'blog v1', bytes: 0 },
      { kind: 'layer', name: 'blog:layer-1', bytes: undefined },
    ],
    kept: [
      { name: '127.0.0.1:5000/blog@sha256:22', why: ['v2 of blog is live', 'an instance of v2 of blog is there'] },
    ],
    notes: ['Something to know.'],
  };
  return terminal;
}

test('gc says what it removed, and what it could not look at', async (t) => {
  const terminal = terminalWith(t);
  assert.deepEqual(await terminal.type('gc'), {
    status: 0,
    stdout: `Nothing of shop is removed: what runs on its target docker cannot be seen.
Something to know.
REMOVED                                SIZE
image 127.0.0.1:5000/blog@sha256:11  1.2 MB
release blog v1                         0 B
layer blog:layer-1                        -
1.2 MB in 3 things removed; the registry frees the disk of images at its own garbage collection.
`,
    stderr: '',
  });
  assert.deepEqual(terminal.operations.calls, [['gc', ['blog', 'shop'], false]]);
});

test('gc --dry-run also says why the rest stays; of one app where one is named', async (t) => {
  const terminal = terminalWith(t);
  const { stdout } = await terminal.type('gc blog --dry-run');
  assert.match(stdout, /^127\.0\.0\.1:5000\/blog@sha256:22 {2}v2 of blog is live \(and 1 more reason\)$/m);
  assert.match(stdout, /^WOULD BE REMOVED/m);
  assert.deepEqual(terminal.operations.calls, [['gc', ['blog'], true]]);
  const json = JSON.parse((await terminal.type('gc --dry-run --json')).stdout);
  assert.deepEqual([json.dryRun, json.removed[2].bytes, json.kept[0].why.length], [true, null, 2]);
  terminal.cleanedUp = { untouched: [], removed: [], kept: [], notes: [] };
  assert.equal((await terminal.type('gc')).stdout, 'Nothing removed.\n');
});

test('gc is for admins', async (t) => {
  const terminal = terminalWith(t);
  const { status, stderr } = await terminal.type('gc blog', { as: deployer('bob', 'blog') });
  assert.equal(status, 1);
  assert.match(stderr, /only admins may do that/);
  assert.deepEqual(terminal.operations.calls, []);
});
