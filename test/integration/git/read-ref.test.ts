import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { readRef } from '../../../src/git/read-ref.ts';
import { Repositories } from '../../../src/git/repositories.ts';
import { commitFiles, GIT, git } from './commit-files.ts';

let folder: string;
let path: string;
let first: string;
let second: string;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'dinp-read-ref-'));
  const repositories = new Repositories(folder, GIT);
  await repositories.create('shop');
  path = repositories.path('shop');
  first = commitFiles(path, { a: '1' });
  second = commitFiles(path, { a: '2' });
});
after(() => rm(folder, { recursive: true, force: true }));

test('a ref is found loose, packed, and loose again above its packed value', async () => {
  git(path, ['update-ref', 'refs/heads/turns', first]);
  assert.equal(await readRef(path, 'refs/heads/turns'), first);
  git(path, ['pack-refs', '--all', '--prune']);
  assert.equal(await readRef(path, 'refs/heads/turns'), first);
  git(path, ['update-ref', 'refs/heads/turns', second]);
  assert.equal(await readRef(path, 'refs/heads/turns'), second);
  git(path, ['update-ref', '-d', 'refs/heads/turns']);
  assert.equal(await readRef(path, 'refs/heads/turns'), undefined);
});

test('every ref reads as git reads it, packed or not, also beside names that begin or end alike', async () => {
  for (const name of ['heads/a', 'heads/ab', 'heads/x/a', 'tags/a', 'dinp/releases/1', 'dinp/releases/11', 'heads/ä']) {
    git(path, ['update-ref', `refs/${name}`, name.length % 2 === 0 ? first : second]);
  }
  git(path, ['-c', 'user.name=A', '-c', 'user.email=a@example.org', 'tag', '-a', '-m', 'said', 'noted', first]);
  for (const packed of [false, true]) {
    if (packed) git(path, ['pack-refs', '--all', '--prune']);
    const lines = git(path, ['for-each-ref', '--format=%(objectname) %(refname)']).trim().split('\n');
    assert.ok(lines.length >= 9);
    for (const line of lines) assert.equal(await readRef(path, line.slice(41)), line.slice(0, 40), line);
  }
});

test('a symbolic ref is followed, one in a circle is none', async () => {
  git(path, ['symbolic-ref', 'refs/heads/alias', 'refs/heads/main']);
  assert.equal(await readRef(path, 'refs/heads/alias'), second);
  await writeFile(join(path, 'refs/heads/circle'), 'ref: refs/heads/circle\n');
  assert.equal(await readRef(path, 'refs/heads/circle'), undefined);
  await rm(join(path, 'refs/heads/circle'));
});

test('what is no ref is none: folders, files below a ref, half-written files', async () => {
  git(path, ['update-ref', 'refs/heads/deep/one', first]);
  assert.equal(await readRef(path, 'refs/heads/deep'), undefined);
  assert.equal(await readRef(path, 'refs/heads/deep/one/more'), undefined);
  await writeFile(join(path, 'refs/heads/empty'), '');
  assert.equal(await readRef(path, 'refs/heads/empty'), undefined);
  await rm(join(path, 'refs/heads/empty'));
  assert.equal(await readRef(path, `refs/heads/${'x'.repeat(300)}`), undefined);
});

test('a name cannot lead out of the repository', async () => {
  await mkdir(join(folder, 'other/refs/heads'), { recursive: true });
  await writeFile(join(folder, 'other/refs/heads/main'), `${first}\n`);
  for (const name of [
    'refs/heads/../../../../other/refs/heads/main',
    'refs/../refs/heads/main',
    'refs//heads/main',
    'refs/heads/main/',
    'refs/heads/main\n',
    'refs/./heads/main',
    'HEAD',
    'refs',
    '',
  ]) {
    assert.equal(await readRef(path, name), undefined, JSON.stringify(name));
  }
});
