import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { openArchiveEntry, openZipEntry } from '../../../../src/artifact/archive/open-archive.ts';
import { memoryTree } from '../../../support/memory-tree.ts';
import { rawZip } from '../../../support/raw-zip.ts';
import { makeElf } from '../make-elf.ts';
import { contentsOf, refusal, upload } from './open.ts';

const WAR = rawZip([
  { name: 'WEB-INF/lib/x.jar', content: 'x' },
  { name: 'index.jsp', content: 'hello' },
]);
const JAR = rawZip([
  { name: 'META-INF/MANIFEST.MF', content: 'Main-Class: Shop\n' },
  { name: 'Shop.class', content: 'x' },
]);

test('A war, a jar and a program are one file of their kind, whatever they are called', async (t) => {
  const elf = makeElf({});
  const cases: [Buffer, string, string, string][] = [
    [WAR, 'shop.zip', 'app.war', '100644'],
    [JAR, 'C:\\fakepath\\shop.war', 'app.jar', '100644'],
    [elf, '../../hello world', 'hello-world', '100755'],
    [elf, '.profile', 'profile', '100755'],
  ];
  for (const [content, filename, path, mode] of cases) {
    const tree = await upload(t, content, filename);
    assert.deepEqual(
      tree.entries.map((entry) => [entry.path, entry.mode, entry.size]),
      [[path, mode, content.length]],
    );
    const chunks: Buffer[] = [];
    for await (const chunk of tree.stream(tree.entries[0]!)) chunks.push(chunk);
    assert.equal(Buffer.concat(chunks).equals(content), true);
  }
});

describe('what has a script in front, whatever it is called', () => {
  const script = Buffer.from('#!/bin/bash\nexec java -jar "$0"\n');
  const jar = [{ name: 'META-INF/MANIFEST.MF', content: 'Main-Class: A\n' }];
  const cases: [string, Buffer, string][] = [
    ['a jar whose offsets count it in', rawZip(jar, script), 'app.jar'],
    ['a jar as Spring Boot makes it, whose offsets do not', Buffer.concat([script, rawZip(jar)]), 'app.jar'],
    ['a war', Buffer.concat([script, WAR]), 'app.war'],
    ['a zip app', Buffer.concat([script, rawZip([{ name: '__main__.py', content: 'x' }])]), 'app.pyz'],
  ];
  for (const [what, content, path] of cases) {
    test(what, async (t) => {
      const tree = await upload(t, content, 'upload');
      assert.deepEqual(
        tree.entries.map((entry) => [entry.path, entry.size]),
        [[path, content.length]],
      );
      await using scope = new AsyncDisposableStack();
      const zip = await openZipEntry(tree, tree.entries[0]!, scope);
      assert.notEqual((await zip.read(zip.records[0]!, 10)).length, 0);
    });
  }

  test('a tree with a __main__.py is still a tree', async (t) => {
    const tree = await upload(t, rawZip([{ name: '__main__.py' }, { name: 'Procfile', content: 'web: x\n' }]));
    assert.equal(tree.entries.length, 2);
  });

  test('a script with nothing behind it', async (t) => {
    await assert.rejects(upload(t, Buffer.concat([script, Buffer.alloc(100)]), 'upload'), refusal(/is a script/));
  });
});

test('What is nothing of all that is refused by what it is', async (t) => {
  const pe = Buffer.alloc(256);
  pe.write('MZ');
  pe.writeUInt32LE(128, 60);
  pe.write('PE\0\0', 128);
  const cases: [Buffer | string, string, RegExp][] = [
    ['', 'a', /^a is empty/],
    ['hello', 'notes.txt', /^notes.txt is a text/],
    ['#!/bin/sh\necho', 'run', /is a script/],
    [gzipSync('hello'), 'dump.gz', /single file packed with gzip/],
    [Buffer.from('BZh91AY&SY'), 'a.tar.bz2', /packed with bzip2/],
    [Buffer.from('fd377a585a0000', 'hex'), 'a.tar.xz', /packed with xz/],
    [pe, 'hello.exe', /Windows program/],
    [Buffer.from('cffaedfe0700000100000000', 'hex'), 'hello', /macOS program/],
    [Buffer.from('cafebabe00000041', 'hex'), 'Shop.class', /single Java class/],
    [rawZip([{ name: 'META-INF/application.xml' }, { name: 'web.war' }]), 'shop.ear', /enterprise archive/],
    [Buffer.from('0000000012345678', 'hex'), 'x', /in no format/],
  ];
  for (const [content, filename, message] of cases)
    await assert.rejects(upload(t, content, filename), refusal(message), String(message));
});

test('The id of an upload tells its bytes', async (t) => {
  const first = await upload(t, WAR);
  const again = await upload(t, WAR, 'other.war');
  const other = await upload(t, rawZip([{ name: 'WEB-INF/web.xml' }]));
  assert.equal(first.oid, again.oid);
  assert.notEqual(first.oid, other.oid);
});

test('An archive inside a commit is read by its entry, and a war keeps its only folder', async (t) => {
  const scope = new AsyncDisposableStack();
  t.after(() => scope.disposeAsync());
  const commit = memoryTree({
    'target/app.war': rawZip([{ name: 'WEB-INF/web.xml', content: '<web-app/>' }]),
    'a.txt': 'x',
  });
  const entry = commit.find('target/app.war')!;
  const tree = await openArchiveEntry(commit, entry, scope, { strip: false });
  assert.deepEqual(await contentsOf(tree), { 'WEB-INF/web.xml': '100644 <web-app/>' });
  const zip = await openZipEntry(commit, entry, scope);
  assert.deepEqual(
    zip.records.map(({ name }) => name),
    ['WEB-INF/web.xml'],
  );
  await assert.rejects(openArchiveEntry(commit, commit.find('a.txt')!, scope), refusal(/a\.txt is no archive/));
});
