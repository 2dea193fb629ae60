import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { extract } from 'tar-stream';
import type { DinpError } from '../../../../src/domain/errors.ts';
import type { PlacedFile } from '../../../../src/domain/plan.ts';
import type { Base } from '../../../../src/image/direct/base.ts';
import { layerTar, timeOfContent } from '../../../../src/image/direct/layer-tar.ts';
import type { LayersPlan } from '../../../../src/image/direct/layout.ts';
import { layOut } from '../../../../src/image/direct/layout.ts';
import { giveFolders } from '../../../../src/image/direct/owned-folders.ts';
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

describe('the folders that belong to the user of the base', () => {
  const withUser = (User: unknown) => ({ config: { config: { User } } }) as unknown as Base;
  const given = (changes: Partial<LayersPlan>, user: unknown = '65532:65532', files = all) => {
    const whole = { ...plan(files, ['/app/node_modules']), writable: ['/app'], ...changes };
    return giveFolders(layOut(whole, tree), whole, withUser(user));
  };
  const keys = (layouts: ReturnType<typeof layOut>) => layouts.map(({ key }) => key);
  async function list(layouts: ReturnType<typeof layOut>) {
    const { files, owned } = layouts.at(-1)!;
    const reader = extract();
    reader.end(Buffer.concat(await Array.fromAsync(layerTar(tree, files, owned))));
    const lines: string[] = [];
    for await (const entry of reader) {
      entry.resume();
      const { name, uid, gid, mode } = entry.header;
      lines.push(`${name} ${uid}:${gid} ${mode!.toString(8)}`);
    }
    return lines;
  }

  it('are the app’s own and those in it, of the upper layer; files stay root’s', async () => {
    const layouts = given({});
    assert.equal(layouts[0]!.owned, undefined);
    assert.deepEqual(await list(layouts), [
      'app/ 65532:65532 755',
      'app/app.js 0:0 644',
      'app/bin/ 65532:65532 755',
      'app/bin/run 0:0 755',
    ]);
    assert.deepEqual((await list(given({}, '1000')))[0], 'app/ 1000:0 755');
    assert.deepEqual(await list(given({ writable: ['/app/bin'] })), [
      'app/ 0:0 755',
      'app/bin/ 65532:65532 755',
      'app/app.js 0:0 644',
      'app/bin/run 0:0 755',
    ]);
  });

  it('are those of volumes too, with what is in them, though no file needs them', async () => {
    const changes = { volumes: ['/var/lib/shop/', '/app/bin', '/lib/x', '/tmp'] };
    assert.deepEqual(await list(given(changes)), [
      'app/ 65532:65532 755',
      'app/bin/ 65532:65532 755',
      'tmp/ 65532:65532 1777',
      'var/ 0:0 755',
      'var/lib/ 0:0 755',
      'var/lib/shop/ 65532:65532 755',
      'app/app.js 0:0 644',
      'app/bin/run 65532:65532 755',
    ]);
    const alone = given({ writable: [], volumes: ['/data'] }, '1:1', []);
    assert.deepEqual(await list(alone), ['data/ 1:1 755']);
  });

  it('are none where the base runs as root, or as somebody by name', () => {
    const plain = keys(layOut(plan(all, ['/app/node_modules']), tree));
    for (const user of [null, '', '0', '0:0', 'root', 'nonroot:nonroot', 7.5])
      assert.deepEqual(keys(given({ volumes: ['/data'] }, user)), plain, String(user));
    assert.equal(keys(given({}))[0], plain[0]);
    assert.notEqual(keys(given({}))[1], plain[1]);
    assert.notEqual(keys(given({}, '1:1'))[1], keys(given({}, '1:2'))[1]);
    assert.notEqual(keys(given({ volumes: ['/a'] }))[1], keys(given({ volumes: ['/b'] }))[1]);
    assert.deepEqual(keys(given({ volumes: ['/a'] })), keys(given({ volumes: ['/a/'] })));
  });

  it('are refused where the app has a file, and left to the engine behind a link', () => {
    for (const [volume, file] of [
      ['/app/app.js', '/app/app.js'],
      ['/app/bin/run/data', '/app/bin/run'],
    ])
      assert.throws(
        () => given({ volumes: [volume!] }),
        refused(new RegExp(`^A volume is to be mounted at ${volume}, and ${file} is a file of the app`)),
      );
    const files = [...all, { to: '/app/current', from: 'current' }];
    assert.deepEqual(given({ volumes: ['/app/current/x'] }, '1:1', files)[1]!.owned?.volumes, []);
  });
});
