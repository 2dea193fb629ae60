import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { extract } from 'tar-stream';
import type { TarEntry } from '../../../../src/image/direct/tar-header.ts';
import { TAR_END, tarHeader, tarPadding } from '../../../../src/image/direct/tar-header.ts';

const entry = (changes: Partial<TarEntry>): TarEntry => ({
  path: 'a',
  type: 'file',
  mode: 0o644,
  uid: 0,
  gid: 0,
  size: 0,
  mtime: 1_000_000_000,
  target: '',
  ...changes,
});

/** What Debian's tar lists of an archive. */
function list(archive: Buffer): string[] {
  const args = ['-tvf', '-', '--numeric-owner', '--full-time', '--utc', '--quoting-style=literal', '--force-local'];
  return execFileSync('tar', args, { input: archive, encoding: 'utf8' }).trimEnd().split('\n');
}

describe('headers of a tar archive', () => {
  it('are what tar reads: modes, owners, links, long paths on either side of each limit', () => {
    const paths = [99, 100, 101, 155, 156, 255, 256, 257, 300].flatMap((length) => [
      'x'.repeat(length),
      `${'d'.repeat(length - 51)}/${'n'.repeat(50)}`,
      `${'d/'.repeat(Math.floor(length / 2))}n`.slice(-length),
    ]);
    const entries = [
      entry({ path: 'bin/', type: 'folder', mode: 0o755 }),
      entry({ path: 'bin/run', mode: 0o755 }),
      entry({ path: 'bin/link', type: 'link', mode: 0o777, target: '../somewhere else' }),
      entry({ path: 'bin/far', type: 'link', mode: 0o777, target: 't'.repeat(101) }),
      ...paths.map((path) => entry({ path })),
      entry({ path: `${'ö'.repeat(120)}/ü` }),
      entry({ path: `${'f/'.repeat(140)}`, type: 'folder', mode: 0o755 }),
    ];
    const listed = list(Buffer.concat([...entries.map(tarHeader), TAR_END]));
    const kinds = { file: '-rw-r--r--', folder: 'drwxr-xr-x', link: 'lrwxrwxrwx' };
    assert.deepEqual(
      listed.map((line) => line.replace(/ +/, ' ').replace(/0\/0 +0 /, '0/0 0 ')),
      entries.map(({ path, type, mode, target }) => {
        const kind = mode === 0o755 && type === 'file' ? '-rwxr-xr-x' : kinds[type];
        return `${kind} 0/0 0 2001-09-09 01:46:40 ${path}${type === 'link' ? ` -> ${target}` : ''}`;
      }),
    );
  });

  it('say owners, also those whose numbers are too large for the plain format', () => {
    const owners = [
      { uid: 65532, gid: 65533 },
      { uid: 0o7777777, gid: 0o10000000 },
      { uid: 4_000_000_000, gid: 0 },
    ];
    const listed = list(Buffer.concat([...owners.map((owner) => tarHeader(entry(owner))), TAR_END]));
    assert.deepEqual(
      listed.map((line) => line.split(/ +/)[1]),
      owners.map(({ uid, gid }) => `${uid}/${gid}`),
    );
  });

  it('say sizes over 8 GiB', () => {
    const size = 9 * 1024 ** 3 + 1;
    const header = tarHeader(entry({ path: 'big', size }));
    const record = header.subarray(512, 1024).toString('latin1').replaceAll('\0', '');
    assert.equal(record, `19 size=${size}\n`);
    assert.equal(tarPadding(size).length, 511);
    assert.equal(tarPadding(1024).length, 0);
  });

  it('give any path and target back', async () => {
    const part = fc.string({ minLength: 1, maxLength: 90, unit: 'grapheme' }).filter((text) => !/[/\0]/.test(text));
    const path = fc.array(part, { minLength: 1, maxLength: 8 }).map((parts) => parts.join('/'));
    await fc.assert(
      fc.asyncProperty(path, path, async (name, target) => {
        const reader = extract();
        reader.end(Buffer.concat([tarHeader(entry({ path: name, type: 'link', target })), TAR_END]));
        for await (const { header } of reader) assert.deepEqual([header.name, header.linkname], [name, target]);
      }),
      { numRuns: 200 },
    );
  });
});
