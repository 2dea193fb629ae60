import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { Repositories } from '../../../src/git/repositories.ts';
import { commitFiles, type FileSpec, GIT, git } from './commit-files.ts';

let folder: string;
let repositories: Repositories;
let made = 0;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'dinp-trees-'));
  repositories = new Repositories(folder, GIT);
});
after(() => rm(folder, { recursive: true, force: true }));

async function committed(files: Record<string, FileSpec>, options: { rawNames?: boolean } = {}) {
  const app = `app-${++made}`;
  await repositories.create(app);
  return { app, sha: commitFiles(repositories.path(app), files, options), path: repositories.path(app) };
}

async function read(stream: AsyncIterable<Buffer>): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks);
}

test('files, folders, links and modes come as git has them', async () => {
  const { app, sha, path } = await committed({
    'index.html': '<h1>hi</h1>',
    'bin/run': { mode: '100755', content: '#!/bin/sh\n' },
    'etc/link': { mode: '120000', content: '/etc/passwd' },
    empty: '',
    'odd names/ü "x" \'y\'\\$(id)': 'odd',
  });
  await using tree = await repositories.openTree(app, sha);
  assert.deepEqual(
    tree.entries.map(({ path, mode, size }) => [path, mode, size]),
    [
      ['bin/run', '100755', 10],
      ['empty', '100644', 0],
      ['etc/link', '120000', 11],
      ['index.html', '100644', 11],
      ['odd names/ü "x" \'y\'\\$(id)', '100644', 3],
    ],
  );
  assert.equal(tree.oid, git(path, ['rev-parse', `${sha}^{tree}`]).trim());
  assert.equal(tree.treeId('.'), tree.oid);
  assert.equal(tree.treeId('bin'), git(path, ['rev-parse', `${sha}:bin`]).trim());
  assert.equal(tree.treeId('none'), undefined);
  assert.equal(tree.find('bin'), undefined);
  // A link is its text; the file it names on this machine is never opened.
  assert.equal(String(await tree.head(tree.find('etc/link')!, 100)), '/etc/passwd');
  assert.equal(String(await read(tree.stream(tree.find('odd names/ü "x" \'y\'\\$(id)')!))), 'odd');
  assert.equal((await read(tree.stream(tree.find('empty')!))).length, 0);
  assert.equal(String(await tree.head(tree.find('index.html')!, 4)), '<h1>');
});

test('many reads at once and binary content of every size come back in order', async () => {
  const sizes = [0, 1, 4095, 65_535, 65_536, 1_048_575, 1_048_576, 1_048_577, 3_000_000];
  const contents = sizes.map((size) => randomBytes(size));
  const { app, sha } = await committed(Object.fromEntries(contents.map((content, i) => [`f${i}`, content])));
  await using tree = await repositories.openTree(app, sha);
  const both = await Promise.all(
    tree.entries.map((entry) => Promise.all([tree.head(entry, 100), read(tree.stream(entry))])),
  );
  for (const [i, [head, whole]] of both.entries()) {
    assert.ok(whole.equals(contents[i]!), `file of ${sizes[i]} bytes`);
    assert.ok(head.equals(contents[i]!.subarray(0, 100)));
  }
});

test('streamAll gives every blob in order, also where it is left early', async () => {
  const contents = Array.from({ length: 300 }, (_, i) => randomBytes(i % 50 === 7 ? 1_200_000 : i * 40));
  const { app, sha } = await committed(
    Object.fromEntries(contents.map((content, i) => [`f${String(i).padStart(3, '0')}`, content])),
  );
  await using tree = await repositories.openTree(app, sha);
  let i = 0;
  for await (const { entry, content } of tree.streamAll(tree.entries)) {
    assert.equal(entry, tree.entries[i]);
    assert.ok((await read(content)).equals(contents[i++]!), entry.path);
  }
  assert.equal(i, 300);
  for await (const { content } of tree.streamAll(tree.entries)) {
    await read(content);
    break;
  }
  assert.equal((await tree.head(tree.entries[1]!, 100)).length, 40);
});

test('submodules are refused with what to type', async () => {
  const { app, sha } = await committed({ a: '1', 'lib/sub': { mode: '160000', content: '1'.repeat(40) } });
  await assert.rejects(repositories.openTree(app, sha), {
    code: 'refused',
    message: 'lib/sub is a submodule: the commit holds a pointer to another repository, not its files.',
    hint: 'Commit the files themselves:\n  git rm --cached lib/sub && rm -rf lib/sub/.git && git add lib/sub\n  git commit -m "Take lib/sub into this repository"',
  });
});

test('names that no image can hold are refused, all at once', async () => {
  const { app, sha } = await committed({ 'a\nb': '1', 'c\u0007': '1' });
  await assert.rejects(repositories.openTree(app, sha), {
    code: 'refused',
    message:
      'The commit has names that cannot be deployed: "a?b" holds a control character, "c?" holds a control character.',
  });
  const raw = await committed({ 'caf\u00e9': '1' }, { rawNames: true });
  await assert.rejects(repositories.openTree(raw.app, raw.sha), { code: 'refused', message: /is not UTF-8/ });
});

test('a tree with .git or .. inside, which git itself would not make, is refused', async () => {
  for (const [name, problem] of [
    ['.GIT', '".git"'],
    ['..', '".."'],
  ] as const) {
    const { app, path } = await committed({ a: '1' });
    const blob = git(path, ['hash-object', '-w', '--stdin'], 'x').trim();
    const tree = git(
      path,
      ['hash-object', '-t', 'tree', '-w', '--literally', '--stdin'],
      Buffer.concat([Buffer.from(`100644 ${name}\0`), Buffer.from(blob, 'hex')]),
    ).trim();
    const commit = git(path, [
      '-c',
      'user.name=a',
      '-c',
      'user.email=a@example.org',
      'commit-tree',
      '-m',
      'x',
      tree,
    ]).trim();
    await assert.rejects(repositories.openTree(app, commit), {
      code: 'refused',
      message: new RegExp(`has ${problem.replaceAll('.', '\\.')} as a part`),
    });
  }
});

test('a tree that unfolds without end is left', { timeout: 60_000 }, async () => {
  const { app, path } = await committed({ a: '1' });
  let type = 'blob';
  let oid = git(path, ['hash-object', '-w', '--stdin'], 'x').trim();
  for (let level = 0; level < 10; level++) {
    const lines = Array.from(
      { length: 20 },
      (_, i) => `${type === 'blob' ? '100644' : '040000'} ${type} ${oid}\tf${i}`,
    );
    oid = git(path, ['mktree'], `${lines.join('\n')}\n`).trim();
    type = 'tree';
  }
  const commit = git(path, [
    '-c',
    'user.name=a',
    '-c',
    'user.email=a@example.org',
    'commit-tree',
    '-m',
    'x',
    oid,
  ]).trim();
  git(path, ['update-ref', 'refs/heads/main', commit]);
  git(path, ['repack', '-adq']);
  await assert.rejects(repositories.openTree(app, commit), {
    code: 'refused',
    message: 'The commit has more than 1000000 files.',
  });
});

test('processes end with the tree, with the signal, and with a stream that is left', async () => {
  const { app, sha, path } = await committed({ big: Buffer.alloc(8_000_000, 'x'), small: 'x' });
  const children = async () => {
    const found: string[] = [];
    for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
      const line = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
      if (line.includes(path)) found.push(line);
    }
    return found;
  };
  {
    await using tree = await repositories.openTree(app, sha);
    for await (const _ of tree.stream(tree.find('big')!)) break;
    await tree.head(tree.find('big')!, 10);
    await tree.head(tree.find('small')!, 10);
    assert.equal((await children()).filter((line) => line.includes('--batch')).length, 1);
  }
  assert.deepEqual(await children(), []);
  const stop = new AbortController();
  await using tree = await repositories.openTree(app, sha, stop.signal);
  const stream = tree.stream(tree.find('big')!)[Symbol.asyncIterator]();
  await stream.next();
  await tree.head(tree.find('small')!, 1);
  stop.abort();
  await assert.rejects(
    async () => {
      while (!(await stream.next()).done);
    },
    { code: 'canceled' },
  );
  await assert.rejects(tree.head(tree.find('small')!, 1), { code: 'canceled' });
  await assert.rejects(repositories.openTree(app, sha, stop.signal), { code: 'canceled' });
  while ((await children()).length > 0) await new Promise((resolve) => setTimeout(resolve, 10));
});

test('a blob of 300 MB is streamed in little memory', { timeout: 120_000 }, async () => {
  const { app, path } = await committed({ a: '1' });
  // Incompressible, as a large artifact is.
  const importer = spawn(
    GIT,
    [
      `--git-dir=${path}`,
      '-c',
      'core.bigFileThreshold=16m',
      '-c',
      'core.compression=0',
      'fast-import',
      '--force',
      '--quiet',
    ],
    { stdio: ['pipe', 'inherit', 'inherit'] },
  );
  const ended = new Promise((resolve) => importer.on('close', resolve));
  const block = randomBytes(1 << 20);
  importer.stdin.write(
    `commit refs/heads/main\ncommitter Ann <a@example.org> 1700000000 +0000\ndata 1\nx\nM 100644 inline big\ndata ${300 << 20}\n`,
  );
  for (let i = 0; i < 300; i++) {
    if (!importer.stdin.write(block)) await new Promise((resolve) => importer.stdin.once('drain', resolve));
  }
  importer.stdin.end('\n');
  assert.equal(await ended, 0);
  const sha = await repositories.resolve(app, 'main');
  await using tree = await repositories.openTree(app, sha);
  const entry = tree.find('big')!;
  assert.equal(entry.size, 300 << 20);
  const before = process.memoryUsage().rss;
  assert.equal((await tree.head(entry, 64)).length, 64);
  let highest = before;
  let length = 0;
  let largest = 0;
  for await (const chunk of tree.stream(entry)) {
    length += chunk.length;
    largest = Math.max(largest, chunk.length);
    if (length % (8 << 20) < chunk.length) highest = Math.max(highest, process.memoryUsage().rss);
  }
  assert.equal(length, 300 << 20);
  assert.ok(largest <= 1 << 20, `chunks of at most ${largest} bytes`);
  assert.ok(highest - before < 100 << 20, `memory grew by ${(highest - before) >> 20} MiB`);
});
