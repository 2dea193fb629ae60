import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, linkSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { test } from 'node:test';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { type Header, pack } from 'tar-stream';
import { tempFolder } from '../../../support/temp-folder.ts';
import { contentsOf, refusal, upload } from './open.ts';

type Entry = Partial<Header> & { name: string; content?: string | Buffer };

async function tar(entries: Entry[]): Promise<Buffer> {
  const packer = pack();
  for (const { content, ...header } of entries) packer.entry(header, content ?? '');
  packer.finalize();
  return await buffer(packer as unknown as AsyncIterable<Buffer>);
}

async function targz(entries: Entry[]): Promise<Buffer> {
  return gzipSync(await tar(entries));
}

const OK: Entry = { name: 'ok', content: 'ok' };

test('What GNU tar packs is read: plain, gzip and zstd, long names, links and hard links', async (t) => {
  const folder = tempFolder();
  const deep = `deep/${'long-folder-name/'.repeat(20)}`;
  mkdirSync(join(folder, 'app', deep), { recursive: true });
  writeFileSync(join(folder, 'app/control'), '#!/bin/sh\n');
  chmodSync(join(folder, 'app/control'), 0o755);
  writeFileSync(join(folder, 'app', deep, 'größe'), 'viel');
  symlinkSync('../control', join(folder, 'app/deep/link'));
  linkSync(join(folder, 'app/control'), join(folder, 'app/start'));
  const expected = {
    control: '100755 #!/bin/sh\n',
    [`${deep}größe`]: '100644 viel',
    'deep/link': '120000 ../control',
    start: '100755 #!/bin/sh\n',
  };
  for (const format of ['gnu', 'pax', 'oldgnu']) {
    const plain = execFileSync('tar', ['-c', `--format=${format}`, '-C', folder, 'app']);
    const trees = await Promise.all([
      upload(t, plain, 'app.tar'),
      upload(t, gzipSync(plain), 'app.tar.gz'),
      upload(t, zstdCompressSync(plain), 'app.tar.zst'),
      upload(t, execFileSync('tar', ['-c', `--format=${format}`, '-C', join(folder, 'app'), '.']), 'dot.tar'),
    ]);
    for (const tree of trees) assert.deepEqual(await contentsOf(tree), expected);
    assert.equal(new Set(trees.map(({ oid }) => oid)).size, 1);
  }
});

test('Large files are read from where they lie', async (t) => {
  const large = Buffer.alloc(3_000_000, 'large ');
  const tree = await upload(
    t,
    await targz([
      { name: 'a', content: large },
      { name: 'b', content: 'b' },
      { name: 'c', content: large },
    ]),
  );
  assert.equal((await buffer(tree.stream(tree.find('c')!))).equals(large), true);
  assert.equal((await tree.head(tree.find('a')!, 10)).toString(), 'large larg');
  assert.equal(tree.find('a')!.oid, tree.find('c')!.oid);
});

test('Entries that an archive must not have are refused by name', async (t) => {
  const cases: [Entry[], RegExp][] = [
    [[OK, { name: '../evil' }], /"\.\.\/evil".*leads out/],
    [[OK, { name: '/etc/passwd' }], /absolute/],
    [[OK, { name: 'a\u0007b' }], /control character/],
    [[OK, { name: 'a' }, { name: 'a' }], /"a" more than once/],
    [[OK, { name: 'a', type: 'symlink', linkname: 'ok' }, { name: 'a/b' }], /below the link "a"/],
    [[OK, { name: 'a', type: 'symlink', linkname: '/etc' }], /link "a".*leads out/],
    [[OK, { name: 'a/b', type: 'symlink', linkname: '../../etc' }], /link "a\/b".*leads out/],
    [[OK, { name: 'a', type: 'link', linkname: '../../etc/passwd' }], /hard link "a" to "\.\.\/\.\.\/etc\/passwd"/],
    [[OK, { name: 'a', type: 'character-device' }], /"a", which is a device/],
    [[OK, { name: 'a', type: 'block-device' }], /device/],
    [[OK, { name: 'a', type: 'fifo' }], /named pipe/],
    [[OK, { name: 'a', pax: { 'GNU.sparse.major': '1' } } as Entry], /sparse/],
  ];
  for (const [entries, message] of cases)
    await assert.rejects(upload(t, await targz(entries)), refusal(message), String(message));
});

test('Limits hold while it is inflated', async (t) => {
  const many = await targz(Array.from({ length: 4 }, (_, i) => ({ name: `f${i}`, content: 'x'.repeat(100) })));
  await assert.rejects(upload(t, many, 'a', { limits: { maxEntries: 3 } }), refusal(/more than 3 entries.*"f3"/));
  await assert.rejects(upload(t, many, 'a', { limits: { maxBytes: 300 } }), refusal(/more than 300 bytes.*"f3"/));
  const bomb = await targz([OK, { name: 'zeros', content: Buffer.alloc(8_000_000) }]);
  await assert.rejects(upload(t, bomb, 'a', { limits: { ratioFrom: 1_000_000 } }), refusal(/200 times.*"zeros"/));
  // A tar of headers alone has no bytes of content, and goes on for ever.
  const header = (await tar([{ name: 'x', type: 'directory' }])).subarray(0, 512);
  const endless = gzipSync(Buffer.concat(Array.from({ length: 5000 }, () => header)));
  await assert.rejects(upload(t, endless, 'a', { limits: { maxEntries: 1000 } }), refusal(/more than 1000 entries/));
});

test('A damaged tar.gz is refused and never anything else, wherever it is cut or changed', async (t) => {
  const archive = await targz([OK, { name: 'a/b', content: 'text '.repeat(200) }, { name: 'c', content: 'c' }]);
  for (let length = 12; length < archive.length; length += 7) {
    await assert.rejects(upload(t, archive.subarray(0, length)), refusal(/damaged or cut off/));
  }
  const broken = Buffer.from(archive);
  broken[broken.length - 6]! ^= 1;
  await assert.rejects(upload(t, broken), refusal(/checksum is wrong/));
  const plain = await tar([OK, { name: 'a', content: 'text '.repeat(200) }]);
  await assert.rejects(upload(t, plain.subarray(0, 1700)), refusal(/its end is missing/));
  for (let at = 10; at < archive.length; at += 3) {
    const changed = Buffer.from(archive);
    changed[at]! ^= 0xff;
    try {
      await contentsOf(await upload(t, changed));
    } catch (error) {
      refusal(/./)(error);
    }
  }
});

test('Old tars without a magic, and what git archive packs, are read', async (t) => {
  const folder = tempFolder();
  writeFileSync(join(folder, 'index.html'), 'hello');
  const git = (...args: string[]) =>
    execFileSync('git', ['-c', 'user.name=t', '-c', 'user.email=t@localhost', ...args], { cwd: folder });
  git('init', '-q');
  git('add', '.');
  git('commit', '-q', '-m', 'x');
  for (const archive of [
    execFileSync('tar', ['-cz', '--format=v7', '-C', folder, 'index.html']),
    git('archive', '--format=tar.gz', '--prefix=site/', 'HEAD'),
    git('archive', '--format=zip', '--prefix=site/', 'HEAD'),
  ]) {
    assert.deepEqual(await contentsOf(await upload(t, archive)), { 'index.html': '100644 hello' });
  }
});
