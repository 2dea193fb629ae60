import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { DinpError } from '../../../src/domain/errors.ts';
import type { ImagePlan } from '../../../src/domain/plan.ts';
import type { Tree } from '../../../src/domain/tree.ts';
import { DirectImageBuilder } from '../../../src/image/direct/direct-builder.ts';
import { copyImage } from '../../../src/image/registry/copy-image.ts';
import { ImageCopier } from '../../../src/image/registry/image-copier.ts';
import { inspectImage } from '../../../src/image/registry/inspect-image.ts';
import { Registries } from '../../../src/image/registry/registries.ts';
import { memoryTree } from '../../support/memory-tree.ts';
import { HOST_PLATFORM, ImageFixture } from './fixture.ts';

type LayersPlan = Extract<ImagePlan, { kind: 'layers' }>;

let images: ImageFixture;
before(async () => {
  images = await ImageFixture.start();
});
after(async () => {
  await images?.[Symbol.asyncDispose]();
});

/** A plan that lays all of a tree into /app. */
function planOf(tree: Tree, changes: Partial<LayersPlan> = {}): LayersPlan {
  return {
    kind: 'layers',
    artifact: 'plain',
    base: 'busybox',
    files: tree.entries.map(({ path }) => ({ to: `/app/${path}`, from: path })),
    dependencies: ['/app/node_modules'],
    workdir: undefined,
    command: ['/app/run'],
    env: {},
    port: undefined,
    ...changes,
  };
}

/** The same tree, counting what is read of it. */
function counting(tree: Tree): Tree & { read: string[] } {
  const read: string[] = [];
  return {
    ...tree,
    read,
    async *streamAll(entries) {
      for await (const each of tree.streamAll(entries)) {
        read.push(each.entry.path);
        yield each;
      }
    },
  };
}

const build = (tree: Tree, changes: Parameters<ImageFixture['build']>[1] = {}, builder = images.direct()) =>
  images.build(tree, { plan: planOf(tree), ...changes }, builder);

async function failure(promise: Promise<unknown>): Promise<DinpError> {
  return promise.then(
    () => assert.fail('it was expected to fail'),
    (error: DinpError) => error,
  );
}

describe('images made without an engine', () => {
  it('run: exactly the placed files over the base, with command, environment and port', async () => {
    const tree = memoryTree({
      'out/hello': '#!/bin/sh\necho "$GREETING" $PWD $#\n',
      'out/data file': 'x',
      link: { mode: '120000', content: 'data file' },
      'README.md': 'no',
    });
    const plan = planOf(tree, {
      files: [
        { to: '/opt/app/hello', from: 'out/hello', mode: '100755' },
        { to: '/opt/app/data file', from: 'out/data file' },
        { to: '/opt/app/link', from: 'link' },
        { to: `/opt/app/${'long/'.repeat(60)}x`, from: 'README.md' },
      ],
      workdir: '/opt/app',
      command: ['./hello', 'a b', '$HOME'],
      env: { GREETING: 'say "hi" to $USER \\o/\nagain' },
      port: 8080,
    });
    const built = await build(tree, { plan });
    assert.equal(built.exposedPort, 8080);
    assert.equal(built.hasCommand, true);
    assert.equal(await images.run(built, ['./hello', 'a b', '$HOME']), 'say "hi" to $USER \\o/\nagain /opt/app 2\n');
    const found = await images.run(built, ['find', '/opt', '-exec', 'stat', '-c', '%a %u:%g %n', '{}', ';']);
    const lines = found
      .trim()
      .split('\n')
      .filter((line) => !line.includes('/long'));
    assert.deepEqual(lines.sort(), [
      '644 0:0 /opt/app/data file',
      '755 0:0 /opt',
      '755 0:0 /opt/app',
      '755 0:0 /opt/app/hello',
      '777 0:0 /opt/app/link',
    ]);
    assert.equal(await images.run(built, ['cat', '/opt/app/link', `/opt/app/${'long/'.repeat(60)}x`]), 'xno');
    assert.match(
      built.output,
      /^Base busybox@sha256:[0-9a-f]{12} \(1 layer, in the registry\)\napplication {2}4 files, 47 bytes → 1\.\d kB in \d/,
    );
  });

  it('are equal on two servers, whatever their registry, time and build number', async () => {
    await using other = await ImageFixture.start({ bases: [] });
    await copyImage(
      { registry: images.registries.own, repository: 'base/busybox', reference: '1' },
      { registry: other.registries.own, repository: 'base/busybox', tags: ['1'] },
    );
    const tree = memoryTree({ run: 'x', 'node_modules/a.js': 'a', big: randomBytes(3_000_000) });
    const request = { app: 'same', plan: planOf(tree) };
    const one = await build(tree, { ...request, repository: `t-${images.id}/same`, buildNumber: 1 });
    const two = await other.build(tree, { ...request, repository: 'elsewhere', buildNumber: 77, branch: 'other' });
    assert.equal(two.ref.digest, one.ref.digest);
    assert.equal(two.contentKey, one.contentKey);
  });

  it('are found again by their content: only tags are set, and nothing is read', async () => {
    const tree = counting(memoryTree({ run: images.id }));
    const first = await build(tree);
    assert.equal(first.reused, false);
    const again = await build(tree, { buildNumber: 2, tag: 'f'.repeat(40), revision: 'f'.repeat(40), branch: 'next' });
    assert.equal(again.reused, true);
    assert.equal(again.ref.digest, first.ref.digest);
    assert.deepEqual(tree.read, ['run']);
    const { own } = images.registries;
    for (const tag of ['f'.repeat(40), 'next', 'b2', 'b1', `key-${first.contentKey}`])
      assert.equal((await own.findManifest(`t-${images.id}`, tag))?.digest, first.ref.digest, tag);
  });

  it('leave unchanged dependencies unread, on a server that never saw them', async () => {
    const modules = { 'node_modules/a.js': randomBytes(2_000_000), 'node_modules/b/c.js': 'c' };
    const first = await build(memoryTree({ ...modules, run: 'one' }));
    assert.match(
      first.output,
      /^dependencies {2}2 files, 2\.0 MB → 2\.0 MB in \d+\.\d s\napplication {2}1 file, 3 bytes → /m,
    );
    const tree = counting(memoryTree({ ...modules, run: 'two' }));
    await using registries = disposable(new Registries({ own: { address: images.registry.address } }));
    const { bases } = images;
    const fresh = new DirectImageBuilder({ registries, bases, autoBases: false, platform: HOST_PLATFORM });
    const second = await build(tree, {}, fresh);
    assert.deepEqual(tree.read, ['run']);
    assert.match(second.output, /^dependencies {2}2 files, 2\.0 MB: unchanged, reused$/m);
    assert.equal(await images.run(second, ['cat', '/app/run', '/app/node_modules/b/c.js']), 'twoc');
  });

  it('make a kept layer anew that has gone from the registry', async () => {
    const modules = { 'node_modules/a.js': randomBytes(100_000) };
    const first = await build(memoryTree({ ...modules, run: 'one' }));
    const inspected = await inspectImage(images.registries.own, `t-${images.id}`, first.ref.digest, HOST_PLATFORM);
    const { digest } = inspected!.layers.find(({ holds }) => holds === 'dependencies')!;
    const hex = digest.slice('sha256:'.length);
    const blobs = join(images.registry.root, 'docker/registry/v2/blobs/sha256');
    await rm(join(blobs, hex.slice(0, 2), hex), { recursive: true });
    const second = await build(memoryTree({ ...modules, run: 'two' }));
    assert.match(second.output, /^dependencies {2}1 file, 0\.1 MB → /m);
    assert.equal(await images.run(second, ['cat', '/app/run']), 'two');
    // The image itself is found by its key, but lacks a part: it is made again too.
    await rm(join(blobs, hex.slice(0, 2), hex), { recursive: true });
    const third = await build(memoryTree({ ...modules, run: 'two' }), { buildNumber: 3 });
    assert.equal(third.reused, false);
    assert.equal(third.ref.digest, second.ref.digest);
  });

  it('say what they are made of', async () => {
    const tree = memoryTree({ run: 'x', 'node_modules/a.js': images.id });
    const built = await build(tree);
    const inspected = await inspectImage(images.registries.own, `t-${images.id}`, built.ref.digest, HOST_PLATFORM);
    assert.deepEqual(
      inspected?.layers.map(({ holds }) => holds),
      ['base', 'dependencies', 'application'],
    );
    assert.equal(inspected.key, built.contentKey);
    assert.equal(inspected.platform, HOST_PLATFORM);
    const base = await images.bases.check('busybox');
    assert.deepEqual(Object.fromEntries(Object.entries(inspected.labels).filter(([name]) => name.startsWith('org.'))), {
      'org.opencontainers.image.revision': tree.oid,
      'org.opencontainers.image.base.name': 'base/busybox:1',
      'org.opencontainers.image.base.digest': base.digest,
    });
    assert.equal(await inspectImage(images.registries.own, 'none', 'x', HOST_PLATFORM), undefined);
  });

  it('without files are the base with other settings', async () => {
    const tree = memoryTree({ x: 'x' });
    const built = await build(tree, { plan: planOf(tree, { files: [], command: ['echo', images.id] }) });
    const inspected = await inspectImage(images.registries.own, `t-${images.id}`, built.ref.digest, HOST_PLATFORM);
    assert.deepEqual(
      inspected?.layers.map(({ holds }) => holds),
      ['base'],
    );
    assert.equal(await images.run(built, ['echo', 'there']), 'there\n');
  });

  it('that are refused leave nothing', async () => {
    const tree = memoryTree({ 'a/.wh.b': 'x' });
    const error = await failure(build(tree, { repository: `t-${images.id}/none` }));
    assert.match(error.message, /^a\/\.wh\.b cannot be \/app\/a\/\.wh\.b in an image/);
    assert.deepEqual(await images.registries.own.listTags(`t-${images.id}/none`), []);
  });

  it('make a missing base on first need, or say which line makes it', async () => {
    const tree = memoryTree({ x: randomBytes(8).toString('hex') });
    const plan = planOf(tree, { base: 'static', command: ['/app/x'] });
    const error = await failure(build(tree, { plan }, images.direct(false)));
    assert.equal(error.code, 'refused');
    assert.match(error.hint ?? '', /dinp bases build static$/);
    const built = await build(tree, { plan });
    assert.match(built.output, /^The base static is not in the registry yet/);
    assert.equal((await images.bases.check('static')).problem, undefined);
  });
});

describe('images over a base of another registry', () => {
  it('copy its layers as they are, and take its media types over', async () => {
    await using far = await ImageFixture.start({ bases: ['busybox'] });
    const registry = far.registries.own;
    const docker = JSON.parse((await registry.getManifest('base/busybox', '1'))!.bytes.toString());
    const oci = {
      schemaVersion: 2,
      mediaType: 'application/vnd.oci.image.manifest.v1+json',
      config: { ...docker.config, mediaType: 'application/vnd.oci.image.config.v1+json' },
      layers: docker.layers.map((layer: object) => ({
        ...layer,
        mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip',
      })),
    };
    const bytes = Buffer.from(JSON.stringify(oci));
    const digest = `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
    await registry.putManifest('base/busybox', '1', { digest, mediaType: oci.mediaType, bytes });
    const { bases } = far;
    const registries = images.registries;
    const builder = new DirectImageBuilder({ registries, bases, autoBases: false, platform: HOST_PLATFORM });
    const tree = memoryTree({ run: 'far' });
    const repository = `t-${images.id}/far`;
    const built = await build(tree, { repository }, builder);
    assert.match(
      built.output,
      new RegExp(`^Base busybox@.*\\(1 layer, 1 copied from ${far.registry.address}\\)$`, 'm'),
    );
    const manifest = JSON.parse(
      (await images.registries.own.getManifest(repository, built.ref.digest))!.bytes.toString(),
    );
    assert.deepEqual(manifest.layers[0], oci.layers[0]);
    const types = [
      manifest.mediaType,
      manifest.config.mediaType,
      ...manifest.layers.map((each: { mediaType: string }) => each.mediaType),
    ];
    assert.ok(
      types.every((type) => type.startsWith('application/vnd.oci.')),
      String(types),
    );
    assert.equal(await images.run(built, ['cat', '/app/run']), 'far');
  });
});

describe('images by address', () => {
  it('are copied once, and found again by their digest', async () => {
    await using far = await ImageFixture.start({ bases: ['busybox'] });
    const copier = new ImageCopier({ registries: images.registries, platform: HOST_PLATFORM });
    const reference = `${far.registry.address}/base/busybox:1`;
    const plan: ImagePlan = { kind: 'image', reference };
    const repository = `t-${images.id}/copied`;
    const tree = memoryTree({});
    const request = { plan, repository, tag: 'img-1', revision: undefined, branch: undefined };
    const built = await images.build(tree, request, copier);
    const source = await far.registries.own.findManifest('base/busybox', '1');
    assert.equal(built.ref.digest, source?.digest);
    assert.equal(built.output, `Copying ${reference} (${HOST_PLATFORM})\n`);
    await far.registry.stop();
    assert.equal(await images.run(built, ['echo', 'here']), 'here\n');
    await far.registry.start();
    const again = await images.build(tree, { ...request, buildNumber: 2 }, copier);
    assert.deepEqual([again.reused, again.output, again.contentKey], [true, '', built.contentKey]);
    const { own } = images.registries;
    for (const tag of ['img-1', 'b1', 'b2'])
      assert.equal((await own.findManifest(repository, tag))?.digest, built.ref.digest);
    const none = images.build(
      tree,
      { ...request, plan: { kind: 'image', reference: `${far.registry.address}/no:1` } },
      copier,
    );
    const error = await failure(none);
    assert.equal(error.code, 'refused');
    assert.match(error.message, /^There is no image 127\.0\.0\.1:\d+\/no:1/);
  });
});

describe('what can go wrong around an image made without an engine', () => {
  const size = 200 * 1024 * 1024;
  /** A tree with one file that is made up while it is read. */
  function bigTree(piece: () => Buffer): Tree {
    const small = memoryTree({ run: 'x' });
    const big = { path: 'big', mode: '100644' as const, oid: randomBytes(20).toString('hex'), size };
    const content = async function* (): AsyncGenerator<Buffer> {
      for (let left = size; left > 0; left -= 65_536) yield piece();
    };
    return {
      ...small,
      entries: [big, ...small.entries],
      find: (path) => (path === 'big' ? big : small.find(path)),
      async *streamAll(entries) {
        for (const entry of entries) yield { entry, content: entry === big ? content() : small.stream(entry) };
      },
    };
  }

  it('takes little memory, whatever the size', async () => {
    for (const random of [false, true]) {
      const text = Buffer.from('a line of a log, with some sense\n'.repeat(2000)).subarray(0, 65_536);
      const tree = bigTree(() => (random ? randomBytes(65_536) : Buffer.from(text)));
      const at = process.memoryUsage().rss;
      let most = 0;
      const watch = setInterval(() => {
        most = Math.max(most, process.memoryUsage().rss);
      }, 5);
      const built = await build(tree);
      clearInterval(watch);
      assert.equal(built.reused, false);
      assert.ok(most - at < 100e6, `grew by ${((most - at) / 1e6).toFixed()} MB`);
    }
  });

  it('ends at once when it is canceled', async () => {
    const cancel = new AbortController();
    let read = 0;
    const tree = bigTree(() => {
      read += 65_536;
      if (read === 50 * 1024 * 1024) cancel.abort();
      return randomBytes(65_536);
    });
    const start = Date.now();
    const repository = `t-${images.id}/canceled`;
    const error = await failure(build(tree, { signal: cancel.signal, repository }));
    assert.equal(error.code, 'canceled');
    assert.ok(read < 70 * 1024 * 1024, `${read} bytes read`);
    assert.ok(Date.now() - start < 3000);
    assert.deepEqual(await images.registries.own.listTags(repository), []);
  });

  it('uploads a layer anew when the registry goes away in its midst', async () => {
    await using own = await ImageFixture.start();
    let read = 0;
    let broken: Promise<void> | undefined;
    const tree = bigTree(() => {
      read += 65_536;
      if (read === 20 * 1024 * 1024) broken = own.registry.stop().then(() => own.registry.start());
      return Buffer.alloc(65_536, 'x');
    });
    const built = await own.build(tree, { plan: planOf(tree) });
    await broken;
    assert.ok(read > size, `${read} bytes read`);
    assert.ok(await own.registries.own.findManifest(`t-${own.id}`, built.ref.digest));
  });

  it('passes on why a file cannot be read', async () => {
    const tree = bigTree(() => {
      throw new Error('the object is broken');
    });
    await assert.rejects(build(tree), /the object is broken/);
  });

  it('says so when the registry is down, or does not let it in', async () => {
    await using own = await ImageFixture.start();
    const tree = memoryTree({ run: own.id });
    await own.registry.stop();
    const error = await failure(own.build(tree, { plan: planOf(tree) }));
    assert.equal(error.code, 'unavailable');
    assert.match(error.message, /does not answer \(connection refused\)/);
    await using locked = await ImageFixture.start({ password: true });
    const built = await locked.build(tree, { plan: planOf(tree) });
    assert.ok(await locked.registries.own.findManifest(`t-${locked.id}`, built.ref.digest));
    await using registries = disposable(new Registries({ own: { address: locked.registry.address } }));
    const { bases } = locked;
    const stranger = new DirectImageBuilder({ registries, bases, autoBases: false, platform: HOST_PLATFORM });
    const refused = await failure(
      locked.build(memoryTree({ run: 'y' }), { plan: planOf(memoryTree({ run: 'y' })) }, stranger),
    );
    assert.equal(refused.code, 'denied');
  });
});

function disposable(registries: Registries): Registries & AsyncDisposable {
  return Object.assign(registries, { [Symbol.asyncDispose]: () => registries.close() });
}
