import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { DinpError } from '../../../src/domain/errors.ts';
import type { ImagePlan } from '../../../src/domain/plan.ts';
import { BaseCatalogue } from '../../../src/image/bases/bases.ts';
import { memoryTree } from '../../support/memory-tree.ts';
import type { Built } from './fixture.ts';
import { ImageFixture } from './fixture.ts';

let images: ImageFixture;
before(async () => {
  images = await ImageFixture.start({ bases: [] });
});
after(async () => {
  await images?.[Symbol.asyncDispose]();
});

const BUILT_IN = [
  ...['busybox', 'glibc', 'jre11', 'jre17', 'jre21', 'jre25', 'jre8', 'musl', 'node', 'php', 'plain', 'python'],
  ...['static', 'static-site', 'tomcat10', 'tomcat9'],
];
const never = new AbortController().signal;

/** Makes a base and has the engine fetch it. */
async function make(name: string): Promise<{ ref: { repository: string; digest: string } }> {
  const { digest } = await images.bases.build(name, () => {}, never);
  const state = await images.bases.check(name);
  assert.deepEqual([state.digest, state.problem], [digest, undefined]);
  await images.engine.pull(`${state.repository}@${digest}`, { signal: never });
  return { ref: { repository: state.repository, digest } };
}

describe('bases from Debian packages', () => {
  it('busybox has a shell, certificates and time zones, and is the same when built again', async () => {
    const base = await make('busybox');
    assert.match(
      await images.run(base, [
        'sh',
        '-c',
        'id -un; TZ=Europe/Berlin date +%Z; grep -c BEGIN /etc/ssl/certs/ca-certificates.crt',
      ]),
      /^root\nCES?T\n1\d\d\n$/,
    );
    assert.equal((await images.bases.build('busybox', () => {}, never)).digest, base.ref.digest);
  });

  it('glibc runs programs that are linked against it', async () => {
    const base = await make('glibc');
    const facts = images.bases.facts('glibc');
    assert.deepEqual([facts?.into, facts?.shell, facts?.usable], [undefined, false, true]);
    const openssl = await images.run(base, [
      '/lib64/ld-linux-x86-64.so.2',
      '--list',
      '/usr/lib/x86_64-linux-gnu/libssl.so.3',
    ]);
    assert.match(openssl, /libcrypto\.so\.3 => \/\S+\/libcrypto/);
    assert.doesNotMatch(openssl, /not found/);
  });

  it('plain has the usual tools', async () => {
    const base = await make('plain');
    const text = await images.run(base, [
      'bash',
      '-c',
      'curl --version | head -1; ps --version; busybox | head -1; getent passwd nobody; locale -a; test -s /etc/ssl/certs/ca-certificates.crt && echo certified',
    ]);
    for (const word of ['curl 7', 'procps', 'BusyBox', 'nobody:', 'C.utf8', 'certified'])
      assert.ok(text.includes(word), `${word} in ${text}`);
  });

  it('says what the catalogue has and what is missing', async () => {
    assert.deepEqual(
      images.bases.list().map((base) => base.name),
      BUILT_IN,
    );
    const state = await images.bases.check('static');
    assert.equal(state.digest, undefined);
    assert.match(state.problem ?? '', /base\/static:1 is not in the registry$/);
    await assert.rejects(
      images.bases.check('glibcc'),
      (error: DinpError) => error.code === 'not-found' && error.hint === 'Did you mean glibc?',
    );
  });

  it('finds a base of another architecture unusable', async () => {
    await images.bases.build('static', () => {}, never);
    const other = new BaseCatalogue({ registries: images.registries, architecture: 'arm64' });
    assert.match((await other.check('static')).problem ?? '', /is not for arm64$/);
  });

  it('takes the operator’s entries over its own, and names a wrong key', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'dinp-bases-'));
    const file = join(folder, 'bases.yml');
    await writeFile(
      file,
      'mine: {image: base/mine:2, build: {method: extract, packages: [busybox-static], keep: [/usr/bin]}}\nplain: null\n',
    );
    const own = new BaseCatalogue({ registries: images.registries, file });
    assert.deepEqual(
      own.list().map((base) => base.name),
      [...BUILT_IN.filter((name) => name !== 'plain'), 'mine'].sort(),
    );
    assert.match((await own.build('mine', () => {}, never)).digest, /^sha256:/);
    await writeFile(file, 'mine: {image: x, prot: 1}\n');
    assert.throws(
      () => new BaseCatalogue({ registries: images.registries, file }),
      (error: DinpError) => error.code === 'config' && /prot/.test(error.message),
    );
    await rm(folder, { recursive: true });
  });

  it('ends quickly when it is canceled', async () => {
    const controller = new AbortController();
    const failed = images.bases
      .build('plain', () => controller.abort(), controller.signal)
      .then(
        () => undefined,
        (error: unknown) => error,
      );
    const error = await failed;
    assert.ok(error instanceof DinpError && error.code === 'canceled', String(error));
  });

  it('says which line installs mmdebstrap where it is missing', async () => {
    const path = process.env.PATH;
    process.env.PATH = await mkdtemp(join(tmpdir(), 'dinp-path-'));
    await writeFile(join(process.env.PATH, 'apt-get'), '', { mode: 0o755 });
    try {
      await assert.rejects(
        images.bases.build('plain', () => {}, never),
        (error: DinpError) => error.hint === 'apt-get install -y mmdebstrap',
      );
    } finally {
      await rm(process.env.PATH, { recursive: true });
      process.env.PATH = path;
    }
  });
});

describe('the web server of static sites', () => {
  let site: Built;
  let address: string;
  const plan = (files: string[]): ImagePlan => ({
    kind: 'layers',
    artifact: 'static',
    base: 'static-site',
    files: files.map((path) => ({ to: `/srv/www/${path}`, from: path })),
    dependencies: [],
    workdir: undefined,
    command: undefined,
    env: {},
    port: undefined,
  });
  const hardened = { HostConfig: { ReadonlyRootfs: true, CapDrop: ['ALL'], SecurityOpt: ['no-new-privileges'] } };

  before(async () => {
    const tree = memoryTree({
      'index.html': '<h1>one</h1>',
      '404.html': '<h1>lost</h1>',
      'app.mjs': 'export {}',
      'pic.svg': '<svg/>',
      '.env': 'SECRET=1',
      '.well-known/x': 'known',
      'sub/index.html': 'sub',
      'big.txt': 'abcdefghij'.repeat(1000),
    });
    site = await images.build(tree, { plan: plan(tree.entries.map((entry) => entry.path)) });
    address = await images.serve(site.ref.repository, site.ref.digest, hardened);
    await answers(address);
  });

  it('is known to listen on 8080 with a command of its own', () => {
    assert.deepEqual([site.exposedPort, site.hasCommand], [8080, true]);
  });

  it('serves files with type, ETag and ranges, on a read-only root without any capability', async () => {
    const index = await fetch(`${address}/`);
    assert.equal(await index.text(), '<h1>one</h1>');
    assert.match(index.headers.get('content-type') ?? '', /^text\/html/);
    const etag = index.headers.get('etag');
    assert.ok(etag);
    assert.equal((await fetch(`${address}/`, { headers: { 'if-none-match': etag } })).status, 304);
    assert.match((await fetch(`${address}/app.mjs`)).headers.get('content-type') ?? '', /javascript/);
    assert.match((await fetch(`${address}/pic.svg`)).headers.get('content-type') ?? '', /^image\/svg\+xml/);
    const part = await fetch(`${address}/big.txt`, { headers: { range: 'bytes=5-9' } });
    assert.deepEqual([part.status, await part.text()], [206, 'fghij']);
    assert.equal(
      (await fetch(`${address}/big.txt`, { headers: { 'accept-encoding': 'gzip' } })).headers.get('content-encoding'),
      'gzip',
    );
    assert.equal(await (await fetch(`${address}/sub/`)).text(), 'sub');
  });

  it('answers 404 with the site’s page, also for hidden files', async () => {
    for (const path of ['/nothing', '/.env', '/sub/.git/config']) {
      const answer = await fetch(address + path);
      assert.deepEqual([answer.status, await answer.text()], [404, '<h1>lost</h1>'], path);
    }
    assert.equal(await (await fetch(`${address}/.well-known/x`)).text(), 'known');
  });

  it('gives changed content of the same length another ETag, listens on PORT and does without 404.html', async () => {
    const etag = (await fetch(`${address}/`)).headers.get('etag');
    const tree = memoryTree({ 'index.html': '<h1>two</h1>' });
    const next = await images.build(tree, { plan: plan(['index.html']) });
    const other = await images.serve(next.ref.repository, next.ref.digest, { ...hardened, Env: ['PORT=9001'] }, 9001);
    await answers(other);
    const index = await fetch(`${other}/`);
    assert.equal(await index.text(), '<h1>two</h1>');
    assert.notEqual(index.headers.get('etag'), etag);
    const lost = await fetch(`${other}/nothing`);
    assert.deepEqual([lost.status, await lost.text()], [404, '404 Not Found']);
  });
});

async function answers(address: string): Promise<void> {
  for (let tries = 0; tries < 100; tries++) {
    if (
      await fetch(address).then(
        () => true,
        () => false,
      )
    )
      return;
    await delay(50);
  }
  assert.fail(`${address} does not answer`);
}
