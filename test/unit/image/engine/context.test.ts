import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { extract } from 'tar-stream';
import type { DinpError } from '../../../../src/domain/errors.ts';
import { contextTar, readContext } from '../../../../src/image/engine/context.ts';
import { memoryTree } from '../../../support/memory-tree.ts';

async function paths(
  files: Record<string, string>,
  ownIgnore = true,
  context = '.',
  dockerfile = 'Dockerfile',
): Promise<string[]> {
  return (await readContext(memoryTree(files), context, dockerfile, ownIgnore)).files.map((file) => file.path);
}

describe('the files of a build context', () => {
  it('are what .dockerignore leaves, with exceptions, case and the builders’ own files', async () => {
    const files = {
      '.dockerignore': '*\n!src\n**/*.log\n',
      Dockerfile: '',
      README: '',
      'src/a': '',
      'src/x/b.log': '',
      'src/B.LOG': '',
    };
    assert.deepEqual(await paths(files), ['.dockerignore', 'Dockerfile', 'src/B.LOG', 'src/a']);
  });

  it('are those of the context’s folder', async () => {
    const files = {
      'web/Dockerfile': '',
      'web/.dockerignore': 'tmp',
      'web/tmp/x': '',
      'web/y': '',
      z: '',
      '.dockerignore': 'y',
    };
    assert.deepEqual(await paths(files, true, 'web', 'web/Dockerfile'), ['.dockerignore', 'Dockerfile', 'y']);
  });

  it('follow the ignore file beside the Dockerfile first, where the builder knows it', async () => {
    const files = { 'build.Dockerfile': '', 'build.Dockerfile.dockerignore': 'a', '.dockerignore': 'b', a: '', b: '' };
    assert.deepEqual(await paths(files, true, '.', 'build.Dockerfile'), [
      '.dockerignore',
      'b',
      'build.Dockerfile',
      'build.Dockerfile.dockerignore',
    ]);
    assert.deepEqual(await paths(files, false, '.', 'build.Dockerfile'), [
      '.dockerignore',
      'a',
      'build.Dockerfile',
      'build.Dockerfile.dockerignore',
    ]);
  });

  it('are refused where the ignore file is a link', async () => {
    const tree = memoryTree({ Dockerfile: '', '.dockerignore': { mode: '120000', content: '/etc/passwd' } });
    await assert.rejects(
      readContext(tree, '.', 'Dockerfile', true),
      (error: DinpError) => error.code === 'refused' && /symbolic link/.test(error.message),
    );
  });
});

describe('a context as tar', () => {
  const files = {
    b: 'two',
    'a/deep/er': { mode: '100755' as const, content: 'one' },
    link: { mode: '120000' as const, content: '../etc' },
    [`${'long/'.repeat(60)}x`]: 'far',
  };

  async function unpack(): Promise<{
    bytes: Buffer;
    entries: { name: string; type: string; mode: number; mtime: number; link: string; text: string }[];
  }> {
    const tree = memoryTree(files);
    const { files: list } = await readContext(tree, '.', 'Dockerfile', true);
    const chunks: Buffer[] = [];
    for await (const chunk of contextTar(tree, list) as AsyncIterable<Buffer>) chunks.push(chunk);
    const bytes = Buffer.concat(chunks);
    const reader = extract();
    reader.end(bytes);
    const entries = [];
    for await (const entry of reader) {
      let text = '';
      for await (const chunk of entry as unknown as AsyncIterable<Buffer>) text += chunk.toString();
      const { name, type, mode, mtime, linkname, uid, gid } = entry.header;
      assert.deepEqual([uid, gid], [0, 0]);
      entries.push({ name, type, mode, mtime: mtime.getTime(), link: linkname, text });
    }
    return { bytes, entries };
  }

  it('has folders first, modes, links as links, long names, and is the same every time', async () => {
    const { bytes, entries } = await unpack();
    const short = entries.filter((entry) => !entry.name.startsWith('long'));
    assert.deepEqual(
      short.map(({ name, type, mode, link, text }) => [name, type, mode.toString(8), link ?? '', text]),
      [
        ['a/', 'directory', '755', '', ''],
        ['a/deep/', 'directory', '755', '', ''],
        ['a/deep/er', 'file', '755', '', 'one'],
        ['b', 'file', '644', '', 'two'],
        ['link', 'symlink', '777', '../etc', ''],
      ],
    );
    assert.equal(entries.at(-1)?.text, 'far');
    assert.equal(entries.at(-1)?.name, `${'long/'.repeat(60)}x`);
    assert.equal(new Set(entries.map((entry) => entry.mtime)).size, 1);
    assert.deepEqual((await unpack()).bytes, bytes);
  });

  it('fails when a blob cannot be read or is not as long as git said', async () => {
    const tree = memoryTree({ a: 'x' });
    for (const content of [Buffer.from('longer'), Buffer.alloc(0)]) {
      const wrong = {
        ...tree,
        async *streamAll() {
          yield {
            entry: tree.entries[0]!,
            content: (async function* () {
              yield content;
            })(),
          };
        },
      };
      const { files: list } = await readContext(wrong, '.', 'Dockerfile', true);
      await assert.rejects(async () => {
        for await (const _chunk of contextTar(wrong, list)) {
          // Only its end counts.
        }
      });
    }
  });
});
