import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { extract } from 'tar-stream';
import type { DinpError } from '../../../../src/domain/errors.ts';
import type { PlacedFile } from '../../../../src/domain/plan.ts';
import { layerTar, timeOfContent } from '../../../../src/image/direct/layer-tar.ts';
import type { LayersPlan } from '../../../../src/image/direct/layout.ts';
import { layOut } from '../../../../src/image/direct/layout.ts';
import { memoryTree } from '../../../support/memory-tree.ts';

const tree = memoryTree({
  'app.js': 'run()',
  'node_modules/a/index.js': 'a',
  'node_modules/b.js': 'b',
  'bin/run': { mode: '100755', content: '#!/bin/sh\n' },
  current: { mode: '120000', content: 'app.js' },
  same: 'a',
});
const plan = (files: PlacedFile[], dependencies: string[] = []): LayersPlan => ({
  kind: 'layers',
  artifact: 'node',
  base: 'node',
  files,
  dependencies,
  workdir: undefined,
  command: undefined,
  env: {},
  port: undefined,
});
const all: PlacedFile[] = [
  { to: '/app/node_modules/b.js', from: 'node_modules/b.js' },
  { to: '/app/app.js', from: 'app.js' },
  { to: '/app/node_modules/a/index.js', from: 'node_modules/a/index.js' },
  { to: '/app/bin/run', from: 'bin/run' },
];
const paths = (layouts: ReturnType<typeof layOut>) =>
  layouts.map(({ name, files, bytes }) => [name, files.map((file) => file.path), bytes]);
const refused = (text: RegExp) => (error: DinpError) => error.code === 'refused' && text.test(error.message);

describe('the layers of a plan', () => {
  it('are dependencies below and the rest above, sorted', () => {
    assert.deepEqual(paths(layOut(plan(all, ['/app/node_modules']), tree)), [
      ['dependencies', ['app/node_modules/a/index.js', 'app/node_modules/b.js'], 2],
      ['application', ['app/app.js', 'app/bin/run'], 15],
    ]);
  });

  it('are one without dependencies, or of them alone; none without files', () => {
    assert.deepEqual(
      paths(layOut(plan(all), tree)).map(([name]) => name),
      ['application'],
    );
    // A folder whose name only begins alike is another one.
    assert.deepEqual(
      paths(layOut(plan(all, ['/app/node_mod', '/none/']), tree)).map(([name]) => name),
      ['application'],
    );
    assert.deepEqual(
      paths(layOut(plan(all, ['/app/']), tree)).map(([name]) => name),
      ['dependencies'],
    );
    assert.deepEqual(layOut(plan([], ['/app']), tree), []);
  });

  it('have equal keys exactly for equal paths, modes and contents', () => {
    const key = (...files: PlacedFile[]): string => layOut(plan(files), tree)[0]!.key;
    const one = { to: '/x', from: 'same' };
    assert.equal(key(one), key({ to: '/x', from: 'node_modules/a/index.js' }));
    assert.equal(key(all[0]!, all[1]!), key(all[1]!, all[0]!));
    const keys = [
      key(one),
      key({ ...one, to: '/y' }),
      key({ ...one, mode: '100755' }),
      key({ ...one, from: 'app.js' }),
    ];
    assert.equal(new Set(keys).size, 4);
    assert.match(keys[0]!, /^[0-9a-f]{64}$/);
  });

  it('take one file for one path', () => {
    const twice = [
      { to: '/x', from: 'same' },
      { to: '/x', from: 'node_modules/a/index.js' },
    ];
    assert.equal(layOut(plan(twice), tree)[0]!.files.length, 1);
    const other = [
      { to: '/x', from: 'same' },
      { to: '/x', from: 'app.js' },
    ];
    assert.throws(() => layOut(plan(other), tree), refused(/^same and app\.js would both be \/x in the image/));
    const mode = [
      { to: '/x', from: 'same' },
      { to: '/x', from: 'same', mode: '100755' as const },
    ];
    assert.throws(() => layOut(plan(mode), tree), refused(/would both be \/x/));
  });

  it('refuse a file or a link where another file needs a folder', () => {
    for (const from of ['app.js', 'current']) {
      const files = [
        { to: '/app/lib/x', from: 'same' },
        { to: '/app/lib', from },
      ];
      const text = new RegExp(`^${from} would be a file at /app/lib, where same needs a folder`);
      assert.throws(() => layOut(plan(files), tree), refused(text));
      assert.throws(() => layOut(plan(files, ['/app/lib']), tree), refused(text));
    }
  });

  it('refuse paths that an image cannot have', () => {
    const bad = [
      'app',
      '/../etc/x',
      '/a//b',
      '/',
      '/a/',
      '/a/./b',
      '/a\0b',
      '/app/.wh.x',
      '/app/.wh..wh..opq',
      '/.wh.d/x',
    ];
    for (const to of [...bad, '/bin/x', '/lib64/y', '/proc/1']) {
      assert.throws(() => layOut(plan([{ to, from: 'app.js' }]), tree), refused(/cannot be .* in an image/), to);
    }
    assert.throws(() => layOut(plan([{ to: '/x', from: 'nope' }]), tree), refused(/nope is not in the commit/));
  });
});

describe('the tar of a layer', () => {
  async function read(files: PlacedFile[]) {
    const [layout] = layOut(plan(files), tree);
    const reader = extract();
    const bytes = Buffer.concat(await Array.fromAsync(layerTar(tree, layout!.files)));
    reader.end(bytes);
    const entries: [string, string, string, string, number][] = [];
    for await (const entry of reader) {
      let text = '';
      for await (const chunk of entry as unknown as AsyncIterable<Buffer>) text += chunk.toString();
      const { name, type, mode, linkname, mtime } = entry.header;
      entries.push([name, type!, mode!.toString(8), linkname ?? text, mtime!.getTime() / 1000]);
    }
    return { bytes, entries };
  }

  it('has folders before what is in them, modes, links as links, and times of the content', async () => {
    const { entries } = await read([...all, { to: '/app/current', from: 'current', mode: '100755' }]);
    assert.deepEqual(
      entries.map((entry) => entry.slice(0, 4)),
      [
        ['app/', 'directory', '755', ''],
        ['app/app.js', 'file', '644', 'run()'],
        ['app/bin/', 'directory', '755', ''],
        ['app/bin/run', 'file', '755', '#!/bin/sh\n'],
        ['app/current', 'symlink', '777', 'app.js'],
        ['app/node_modules/', 'directory', '755', ''],
        ['app/node_modules/a/', 'directory', '755', ''],
        ['app/node_modules/a/index.js', 'file', '644', 'a'],
        ['app/node_modules/b.js', 'file', '644', 'b'],
      ].map(([name, type, mode, text]) => [name, type, mode, text]),
    );
    const times = new Map(entries.map(([name, , , , time]) => [name, time]));
    assert.equal(times.get('app/app.js'), timeOfContent(tree.find('app.js')!.oid));
    assert.notEqual(times.get('app/app.js'), times.get('app/bin/run'));
    assert.ok([...times.values()].every((time) => time >= Date.UTC(2001) / 1000 && time < Date.UTC(2010) / 1000));
  });

  it('is the same every time, ends as tars do, and keeps the modes of folders that all may write to', async () => {
    const { bytes, entries } = await read([
      { to: '/tmp/x', from: 'same' },
      { to: '/var/tmp/y', from: 'same' },
    ]);
    assert.deepEqual(
      entries.map(([name, , mode]) => `${name} ${mode}`),
      ['tmp/ 1777', 'tmp/x 644', 'var/ 755', 'var/tmp/ 1777', 'var/tmp/y 644'],
    );
    assert.equal(bytes.length % 512, 0);
    assert.ok(bytes.subarray(-1024).every((byte) => byte === 0));
    assert.deepEqual(
      (
        await read([
          { to: '/var/tmp/y', from: 'same' },
          { to: '/tmp/x', from: 'same' },
        ])
      ).bytes,
      bytes,
    );
  });

  it('fails when a blob is not as long as its listing says', async () => {
    for (const content of [Buffer.from('longer than that'), Buffer.alloc(0)]) {
      const wrong = {
        ...tree,
        async *streamAll() {
          yield {
            entry: tree.find('app.js')!,
            content: (async function* () {
              yield content;
            })(),
          };
        },
      };
      const [layout] = layOut(plan([{ to: '/x', from: 'app.js' }]), wrong);
      await assert.rejects(Array.fromAsync(layerTar(wrong, layout!.files)), {
        code: 'unavailable',
        message: /another size/,
      });
    }
  });
});
