import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { test } from 'node:test';
import { ZipFile } from 'yazl';
import { type RawEntry, rawZip } from '../../../support/raw-zip.ts';
import { contentsOf, refusal, upload } from './open.ts';

const FILES = [
  { name: 'shop/control', content: '#!/bin/sh\n', mode: 0o100755 },
  { name: 'shop/', mode: 0o040755 },
  { name: 'shop/data/größe.txt', content: 'viel', mode: 0o100644 },
  { name: 'shop/data/link', content: '../control', mode: 0o120777 },
  { name: 'shop/.DS_Store', content: 'x' },
  { name: '__MACOSX/shop/._control', content: 'x' },
];

test('A zip becomes a tree: one top folder taken off, modes and links kept, what macOS adds left out', async (t) => {
  const tree = await upload(t, rawZip(FILES));
  assert.deepEqual(await contentsOf(tree), {
    control: '100755 #!/bin/sh\n',
    'data/größe.txt': '100644 viel',
    'data/link': '120000 ../control',
  });
  assert.deepEqual(
    tree.entries.map(({ size }) => size),
    [10, 4, 10],
  );
  assert.equal(tree.find('data/link')!.mode, '120000');
  assert.equal(tree.treeId('nothing'), undefined);
});

test('What yazl writes (data descriptors, zip64, stored and large entries) is read back', async (t) => {
  const large = Buffer.concat([randomBytes(700_000), Buffer.alloc(5_000_000, 'large ')]);
  const zip = new ZipFile();
  zip.addBuffer(Buffer.from('one'), 'a/one', { compress: false, forceZip64Format: true });
  zip.addReadStreamLazy('a/two', (callback) => {
    callback(null, Readable.from([large], { objectMode: false }));
  });
  zip.addBuffer(large, 'b/three', { compress: false });
  zip.addBuffer(Buffer.alloc(0), 'b/empty');
  zip.end({ forceZip64Format: true, comment: 'of a test' });
  const tree = await upload(t, await buffer(zip.outputStream as unknown as AsyncIterable<Buffer>));
  assert.deepEqual(
    tree.entries.map(({ path }) => path),
    ['a/one', 'a/two', 'b/empty', 'b/three'],
  );
  assert.equal((await tree.head(tree.find('a/one')!, 2)).toString(), 'on');
  for (const path of ['a/two', 'b/three']) {
    assert.equal((await buffer(tree.stream(tree.find(path)!))).equals(large), true, path);
  }
  assert.equal((await tree.head(tree.find('a/two')!, 100)).equals(large.subarray(0, 100)), true);
});

test('Names without the UTF-8 flag are read as CP437', async (t) => {
  const tree = await upload(t, rawZip([{ name: Buffer.from([0x81, 0x2e, 0x74, 0x78, 0x74]), content: 'x' }]));
  assert.deepEqual(
    tree.entries.map(({ path }) => path),
    ['ü.txt'],
  );
});

test('Ids tell contents and modes apart, and are the same for the same files packed again', async (t) => {
  const first = await upload(
    t,
    rawZip([
      { name: 'a/x', content: 'one', mode: 0o100644 },
      { name: 'b', content: 'b' },
    ]),
  );
  const again = await upload(
    t,
    rawZip([
      { name: 'b', content: 'b' },
      { name: 'a/x', content: 'one', mode: 0o100600 },
    ]),
  );
  assert.equal(again.oid, first.oid);
  assert.equal(again.treeId('a'), first.treeId('a'));
  const others: RawEntry[][] = [
    [{ name: 'a/x', content: 'two', mode: 0o100644 }],
    [{ name: 'a/x', content: 'one', mode: 0o100755 }],
    [{ name: 'a/y', content: 'one', mode: 0o100644 }],
  ];
  for (const entries of others) {
    const tree = await upload(t, rawZip([...entries, { name: 'b', content: 'b' }]));
    assert.notEqual(tree.oid, first.oid);
    assert.notEqual(tree.treeId('a'), first.treeId('a'));
    assert.equal(tree.find('b')!.oid, first.find('b')!.oid);
  }
});

test('Entries that an archive must not have are refused by name', async (t) => {
  const ok = { name: 'ok', content: 'ok' };
  const cases: [RawEntry[], RegExp][] = [
    [[ok, { name: '../evil' }], /"\.\.\/evil".*leads out/],
    [[ok, { name: 'a/../../evil' }], /leads out/],
    [[ok, { name: '/etc/passwd' }], /"\/etc\/passwd".*absolute/],
    [[ok, { name: 'C:\\windows\\evil' }], /absolute/],
    [[ok, { name: 'a\nb' }], /"a\?b".*control character/],
    [[ok, { name: 'a' }, { name: './a' }], /"\.\/a" more than once/],
    [[ok, { name: 'a' }, { name: 'a/b' }], /"a\/b" below the file "a"/],
    [[ok, { name: 'a', content: 'b', mode: 0o120777 }, { name: 'a/b' }], /"a\/b" below the link "a"/],
    [[ok, { name: 'a', content: '../etc', mode: 0o120777 }], /link "a".*leads out.*"\.\.\/etc"/],
    [[ok, { name: 'a', content: '/etc/passwd', mode: 0o120777 }], /link "a".*leads out/],
    [[ok, { name: 'disk', mode: 0o060644 }], /"disk".*device/],
    [[ok, { name: 'pipe', mode: 0o010644 }], /"pipe".*pipe/],
    [[{ name: 'secret', content: 'x', flags: 0x801 }], /encrypted \("secret"\)/],
    [[{ name: 'odd', content: 'x', method: 93 }], /"odd" packed by Zstandard/],
    [
      [
        { name: 'one', content: 'x' },
        { name: 'two', content: 'x', sharedWith: 0 },
      ],
      /"two".*shares its bytes/,
    ],
  ];
  for (const [entries, message] of cases)
    await assert.rejects(upload(t, rawZip(entries)), refusal(message), String(message));
});

test('A link that leaves by way of another link is refused', async (t) => {
  const links = [
    { name: 'a/b/up', content: '../..', mode: 0o120777 },
    { name: 'out', content: 'a/b/up/../etc', mode: 0o120777 },
  ];
  await assert.rejects(upload(t, rawZip(links)), refusal(/link "out".*leads out/));
  const inside = await upload(
    t,
    rawZip([links[0]!, { name: 'in', content: 'a/b/up/file', mode: 0o120777 }, { name: 'file' }]),
  );
  assert.equal(inside.entries.length, 3);
});

test('Limits hold: entries, bytes, and the ratio of a bomb', async (t) => {
  const many = rawZip(Array.from({ length: 4 }, (_, i) => ({ name: `f${i}`, content: 'x'.repeat(100) })));
  await assert.rejects(upload(t, many, 'app.zip', { limits: { maxEntries: 3 } }), refusal(/more than 3 entries.*"f3"/));
  await assert.rejects(upload(t, many, 'app.zip', { limits: { maxBytes: 300 } }), refusal(/more than 300 bytes.*"f3"/));
  await upload(t, many, 'app.zip', { limits: { maxEntries: 4, maxBytes: 400 } });
  const bomb = rawZip([{ name: 'zeros', content: Buffer.alloc(1_000_000) }]);
  await assert.rejects(upload(t, bomb, 'app.zip', { limits: { ratioFrom: 500_000 } }), refusal(/200 times.*"zeros"/));
});

test('Content that is not what the directory says is an error when it is read, and no longer than it says', async (t) => {
  const content = 'x'.repeat(5000);
  const wrong: [Partial<RawEntry>, RegExp][] = [
    [{ crc: 1 }, /"file": its checksum is wrong/],
    [{ size: 10 }, /"file": it is longer/],
    [{ size: 6000 }, /"file": it is shorter/],
  ];
  for (const [lie, message] of wrong) {
    const tree = await upload(t, rawZip([{ name: 'file', content, ...lie }]));
    await assert.rejects(contentsOf(tree), refusal(message));
  }
  const large = 'x'.repeat(3_000_000);
  const tree = await upload(t, rawZip([{ name: 'file', content: large, size: 2_000_000 }]));
  await assert.rejects(contentsOf(tree), refusal(/"file": it is longer/));
});

test('A damaged zip is refused and never anything else, wherever it is cut or changed', async (t) => {
  const zip = rawZip(FILES);
  for (let length = 30; length < zip.length; length += 17) {
    await assert.rejects(upload(t, zip.subarray(0, length)), refusal(/damaged or cut off/));
  }
  for (let at = 4; at < zip.length; at += 3) {
    const changed = Buffer.from(zip);
    changed[at]! ^= 0xff;
    try {
      await contentsOf(await upload(t, changed));
    } catch (error) {
      refusal(/./)(error);
    }
  }
});

test('A zip without files is refused', async (t) => {
  await assert.rejects(upload(t, rawZip([])), refusal(/is empty/));
  await assert.rejects(upload(t, rawZip([{ name: 'a/', mode: 0o040755 }])), refusal(/is empty/));
  await assert.rejects(upload(t, rawZip([{ name: '.DS_Store' }])), refusal(/is empty/));
});
