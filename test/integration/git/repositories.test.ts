import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { Repositories } from '../../../src/git/repositories.ts';
import { commitFiles, GIT, git } from './commit-files.ts';

let folder: string;
let repositories: Repositories;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'dinp-repositories-'));
  repositories = new Repositories(folder, GIT);
});
after(() => rm(folder, { recursive: true, force: true }));

async function fresh(app: string): Promise<string> {
  await repositories.create(app);
  return repositories.path(app);
}

test('a new repository is bare, empty, checked by fsck, and shows only branches, tags and deploy requests', async () => {
  const path = await fresh('blog');
  assert.equal(git(path, ['symbolic-ref', 'HEAD']).trim(), 'refs/heads/main');
  assert.equal(git(path, ['config', '--bool', 'receive.fsckObjects']).trim(), 'true');
  assert.equal(
    git(path, ['config', '--get-all', 'transfer.hideRefs']),
    'refs\n!refs/heads\n!refs/tags\n!refs/deploy\n',
  );
  assert.deepEqual(await repositories.list(), ['blog']);
  await assert.rejects(repositories.create('blog'), { code: 'exists' });
  await assert.rejects(repositories.create('../x'), { code: 'usage' });
});

test('release refs are kept out of sight of clients', async () => {
  const path = await fresh('hidden');
  const sha = commitFiles(path, { a: '1' });
  await repositories.keepRef('hidden', 1, sha);
  assert.equal(await repositories.readRef('hidden', 'refs/dinp/releases/1'), sha);
  assert.deepEqual(git(path, ['-c', 'protocol.allow=always', 'ls-remote', path]).trim().split('\n'), [
    `${sha}\tHEAD`,
    `${sha}\trefs/heads/main`,
  ]);
  await repositories.dropRef('hidden', 1);
  await repositories.dropRef('hidden', 1);
  assert.equal(await repositories.readRef('hidden', 'refs/dinp/releases/1'), undefined);
});

test('a kept commit survives a forced push and a collection; a dropped one does not', async () => {
  const path = await fresh('kept');
  const first = commitFiles(path, { a: '1' });
  await repositories.keepRef('kept', 1, first);
  commitFiles(path, { a: '2' });
  git(path, ['gc', '--prune=now', '--quiet']);
  assert.equal((await repositories.commitInfo('kept', first)).subject, 'A commit');
  await repositories.dropRef('kept', 1);
  git(path, ['gc', '--prune=now', '--quiet']);
  await assert.rejects(repositories.commitInfo('kept', first), { code: 'not-found' });
});

test('resolve takes branches, tags and shortened ids, and no revision expressions', async () => {
  const path = await fresh('resolve');
  const first = commitFiles(path, { a: '1' });
  const second = commitFiles(path, { a: '2' }, { parent: first });
  git(path, ['tag', 'v1', first]);
  assert.equal(await repositories.resolve('resolve', 'main'), second);
  assert.equal(await repositories.resolve('resolve', 'v1'), first);
  assert.equal(await repositories.resolve('resolve', first.slice(0, 8)), first);
  for (const name of ['main~1', 'HEAD', '--all', 'main:a', '', '0000', 'ma*', '@{-1}', 'refs/heads/main']) {
    await assert.rejects(repositories.resolve('resolve', name), { code: 'not-found' }, name);
  }
  await assert.rejects(repositories.resolve('nobody', 'main'), { code: 'not-found' });
});

test('commits tell who wrote what and when, safe for a terminal', async () => {
  const path = await fresh('info');
  const first = commitFiles(path, { a: '1', b: '1' }, { message: 'Add \u001b[31mred\u001b[0m things\n\nand more' });
  const second = commitFiles(path, { a: '1', c: '1' }, { parent: first });
  const info = await repositories.commitInfo('info', first);
  assert.equal(info.subject, 'Add ?[31mred?[0m things');
  assert.equal(info.author, 'Ann');
  assert.equal(info.authoredAt, 1_700_000_000_000);
  assert.deepEqual(info.parents, []);
  assert.equal(info.tree, git(path, ['rev-parse', `${first}^{tree}`]).trim());
  assert.equal(await repositories.isAncestor('info', first, second), true);
  assert.equal(await repositories.isAncestor('info', second, first), false);
  assert.deepEqual(await repositories.changedPaths('info', first, second), ['b', 'c']);
});

test('a repository is renamed and removed whole; HEAD follows a branch', async () => {
  await fresh('old');
  await fresh('taken');
  commitFiles(repositories.path('taken'), { a: '1' });
  await assert.rejects(repositories.rename('old', 'taken'), { code: 'exists' });
  await repositories.rename('old', 'renamed');
  await repositories.setHead('renamed', 'trunk');
  assert.equal(git(repositories.path('renamed'), ['symbolic-ref', 'HEAD']).trim(), 'refs/heads/trunk');
  await repositories.remove('renamed');
  await assert.rejects(repositories.remove('renamed'), { code: 'not-found' });
  assert.ok(!(await repositories.list()).includes('renamed'));
});

test('sweep removes what killed processes left, and nothing else', async () => {
  const path = await fresh('swept');
  const sha = commitFiles(path, { a: '1' });
  await mkdir(join(path, 'objects/tmp_objdir-incoming-AbCdEf/pack'), { recursive: true });
  await writeFile(join(path, 'objects/tmp_objdir-incoming-AbCdEf/pack/tmp_pack_1'), 'x');
  await writeFile(join(path, 'refs/heads/main.lock'), '');
  await writeFile(join(path, 'packed-refs.lock'), '');
  await writeFile(join(path, 'config'), '[core]\n\tbare = true\n');
  await mkdir(join(folder, 'repositories/.new-0123'), { recursive: true });
  assert.deepEqual((await repositories.sweep()).sort(), [
    '.new-0123',
    'swept.git/objects/tmp_objdir-incoming-AbCdEf',
    'swept.git/packed-refs.lock',
    'swept.git/refs/heads/main.lock',
  ]);
  await assert.rejects(stat(join(path, 'objects/tmp_objdir-incoming-AbCdEf')), { code: 'ENOENT' });
  assert.equal(await repositories.readRef('swept', 'refs/heads/main'), sha);
  assert.equal(git(path, ['config', 'receive.unpackLimit']).trim(), '1');
  assert.deepEqual(await repositories.sweep(), []);
});

test('a pushed refs/replace changes nothing that we read', async () => {
  const path = await fresh('replaced');
  const good = commitFiles(path, { a: 'good' }, { message: 'Good' });
  const evil = commitFiles(path, { a: 'evil' }, { branch: 'evil', message: 'Evil' });
  git(path, ['replace', good, evil]);
  assert.equal((await repositories.commitInfo('replaced', good)).subject, 'Good');
  await using tree = await repositories.openTree('replaced', good);
  assert.equal(String(await tree.head(tree.find('a')!, 10)), 'good');
});

test('packs are joined once many have gathered, and nothing that a ref reaches is lost', async () => {
  const path = await fresh('packs');
  const first = commitFiles(path, { a: '1' });
  await repositories.keepRef('packs', 1, first);
  let last = first;
  for (let i = 0; i < 51; i++) {
    assert.equal(await repositories.maintain('packs'), false);
    last = commitFiles(path, { a: `${i}`, [`file-${i}`]: 'x' });
    git(path, ['repack', '--quiet']);
  }
  assert.equal(await repositories.maintain('packs'), true);
  const packs = (await readdir(join(path, 'objects/pack'))).filter((name) => name.endsWith('.pack'));
  assert.equal(packs.length, 1);
  for (const sha of [first, last]) assert.equal((await repositories.commitInfo('packs', sha)).subject, 'A commit');
});
