import assert from 'node:assert/strict';
import fs, { chmodSync, copyFileSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { add, commit, init } from 'isomorphic-git';
import { detectLocally } from '../../../src/cli/detect.ts';
import { openWorkingTree } from '../../../src/git/working-tree.ts';
import { tempFolder } from '../../support/temp-folder.ts';

/** A repository whose files are all added; no git program is needed. */
async function repository(files: Record<string, string>): Promise<string> {
  const dir = tempFolder();
  await init({ fs, dir });
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(join(dir, path, '..'), { recursive: true });
    writeFileSync(join(dir, path), text);
    await add({ fs, dir, filepath: path });
  }
  await commit({ fs, dir, message: 'one', author: { name: 'Ann', email: 'ann@example.org' } });
  return dir;
}

test('a checkout is told what its push would become', async () => {
  const dir = await repository({ 'public/index.html': '<h1>hi</h1>', 'public/style.css': 'a{}' });
  assert.equal(
    await detectLocally(join(dir, 'public'), undefined),
    "Found:      static site in public (2 files)\nImage:      2 files laid over base static-site\nProcesses:  web        the image's own command\n",
  );
});

test('changes that are not committed yet count, files that git does not know do not', async () => {
  const dir = await repository({ 'index.html': 'one', gone: 'x' });
  writeFileSync(join(dir, 'Dockerfile'), 'FROM scratch\n');
  rmSync(join(dir, 'gone'));
  assert.match(await detectLocally(dir, undefined), /^Found: {6}static site in the top folder \(1 file\)\n/);
  await add({ fs, dir, filepath: 'Dockerfile' });
  assert.match(
    await detectLocally(dir, undefined),
    /^Found: {6}Dockerfile\nImage: {6}built from Dockerfile, context \.\n/,
  );
});

test('names and submodules are refused as the server would refuse them', async () => {
  const named = await repository({ 'index.html': 'x', 'a\tb': 'x' });
  await assert.rejects(detectLocally(named, undefined), /names that cannot be deployed: "a\?b" holds a control/);
  const dir = await repository({ 'index.html': 'x', lib: 'x' });
  rmSync(join(dir, 'lib'));
  mkdirSync(join(dir, 'lib'));
  await assert.rejects(detectLocally(dir, undefined), /^DinpError: lib is a submodule/);
});

test('modes, links and contents are read from disk', async () => {
  const dir = await repository({ control: '#!/bin/sh\n', 'a/b': 'content' });
  chmodSync(join(dir, 'control'), 0o755);
  symlinkSync('a/b', join(dir, 'link'));
  await add({ fs, dir, filepath: 'link' });
  const tree = await openWorkingTree(dir);
  assert.deepEqual(
    tree.entries.map(({ path, mode }) => [path, mode]),
    [
      ['a/b', '100644'],
      ['control', '100755'],
      ['link', '120000'],
    ],
  );
  assert.equal((await tree.head(tree.find('a/b')!, 4)).toString(), 'cont');
  assert.equal((await tree.head(tree.find('link')!, 100)).toString(), 'a/b');
  const before = [tree.treeId('.'), tree.treeId('a'), tree.treeId('none')];
  writeFileSync(join(dir, 'a/b'), 'changed!');
  const after = await openWorkingTree(dir);
  assert.notEqual(after.treeId('.'), before[0]);
  assert.notEqual(after.treeId('a'), before[1]);
  assert.equal(before[2], undefined);
});

test('what a push would be refused for is told here too', async () => {
  await assert.rejects(
    detectLocally(await repository({ 'go.mod': 'module x\n', 'main.go': 'package main\n' }), 'shop'),
    { code: 'refused' },
  );
});

test('a folder that is in no repository yet, a file, and an older commit', async () => {
  const folder = tempFolder();
  mkdirSync(join(folder, 'dist'));
  writeFileSync(join(folder, 'dist/index.html'), 'x');
  assert.match(await detectLocally('.', undefined, folder), /in no git repository.*\nFound: {6}static site in dist/);
  copyFileSync('/bin/true', join(folder, 'server'));
  assert.match(await detectLocally('server', undefined, folder), /^Found: {6}Linux program for glibc server \(/);
  await assert.rejects(detectLocally('nothing', undefined, folder), { code: 'not-found' });

  const dir = await repository({ 'index.html': 'one' });
  writeFileSync(join(dir, 'Dockerfile'), 'FROM scratch\n');
  await add({ fs, dir, filepath: 'Dockerfile' });
  assert.match(await detectLocally(dir, undefined), /Found: {6}Dockerfile/);
  assert.match(await detectLocally('HEAD', undefined, dir), /Found: {6}static site/);
  await assert.rejects(detectLocally('HEAD~1', undefined, dir), { code: 'not-found', message: /neither a file/ });
  await assert.rejects(detectLocally('--all', undefined, dir), { code: 'not-found' });
});
