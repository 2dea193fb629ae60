import assert from 'node:assert/strict';
import type { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { describe, it } from 'node:test';
import { type Header, pack } from 'tar-stream';
import { openOutput } from '../../../src/artifact/output-tree.ts';
import type { Tree } from '../../../src/domain/tree.ts';

/** A tar as the engine makes it of a folder or a file. */
function tarOf(...entries: (Partial<Header> & { name: string; content?: string })[]): Readable {
  const tar = pack();
  for (const { content = '', ...header } of entries) tar.entry(header, content);
  tar.finalize();
  return tar as unknown as Readable;
}
const folder = (name: string) => ({ name, type: 'directory' as const, mode: 0o755 });

async function listed(tree: Tree): Promise<string[]> {
  const lines: string[] = [];
  for await (const { entry, content } of tree.streamAll(tree.entries))
    lines.push(`${entry.mode} ${entry.path} ${entry.size} ${await text(content)}`);
  return lines;
}

describe('what a builder left, as a tree', () => {
  it('has files, programs, links wherever they lead, and hard links; no repository, no pipes', async () => {
    await using tree = await openOutput(
      tarOf(
        folder('out/'),
        { name: 'out/b/run', mode: 0o755, content: '#!/bin/sh' },
        { name: 'out/a', mode: 0o600, content: 'text' },
        { name: 'out/b/up', type: 'symlink', linkname: '../../../etc/passwd' },
        { name: 'out/abs', type: 'symlink', linkname: '/usr/bin/python3' },
        { name: 'out/same', type: 'link', linkname: 'out/b/run' },
        { name: 'out/pipe', type: 'fifo' },
        folder('out/.git/'),
        { name: 'out/.git/config', content: 'secret' },
      ),
      'out',
    );
    assert.deepEqual(await listed(tree), [
      '100644 a 4 text',
      '120000 abs 16 /usr/bin/python3',
      '100755 b/run 9 #!/bin/sh',
      '120000 b/up 19 ../../../etc/passwd',
      '100755 same 9 #!/bin/sh',
    ]);
    assert.equal(tree.find('same')?.oid, tree.find('b/run')?.oid);
    assert.notEqual(tree.treeId('b'), undefined);
  });

  it('is one file where the output is one, and empty where it is an empty folder', async () => {
    await using file = await openOutput(tarOf({ name: 'app.jar', content: 'PK' }), 'target/app.jar');
    assert.deepEqual(await listed(file), ['100644 app.jar 2 PK']);
    await using empty = await openOutput(tarOf(folder('out/')), 'out');
    assert.deepEqual(empty.entries, []);
  });

  it('has equal ids for equal contents, however they were packed', async () => {
    await using one = await openOutput(tarOf({ name: 'out/a', content: '1' }, { name: 'out/b', content: '2' }), 'out');
    await using two = await openOutput(tarOf({ name: 'x/b', content: '2' }, { name: 'x/a', content: '1' }), 'x');
    await using other = await openOutput(tarOf({ name: 'x/b', content: '2' }, { name: 'x/a', content: '3' }), 'x');
    assert.equal(one.oid, two.oid);
    assert.notEqual(one.oid, other.oid);
  });

  it('refuses names that no image can hold, and too many files', async () => {
    await assert.rejects(openOutput(tarOf({ name: 'out/a\nb', content: '' }), 'out'), { code: 'refused' });
    const many = Array.from({ length: 11 }, (_, i) => ({ name: `out/${i}`, content: '' }));
    await using _ten = await openOutput(tarOf(...many.slice(1)), 'out', { maxEntries: 10 });
    await assert.rejects(openOutput(tarOf(...many), 'out', { maxEntries: 10 }), {
      code: 'refused',
      message: /more than 10 files/,
    });
  });
});
