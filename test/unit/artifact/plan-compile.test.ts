import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { planCompile } from '../../../src/artifact/plan-compile.ts';
import { planCompiled, planDeploy } from '../../../src/artifact/plan-deploy.ts';
import type { CompilePlan } from '../../../src/domain/compile-plan.ts';
import type { DinpError } from '../../../src/domain/errors.ts';
import { BASES } from '../../support/base-facts.ts';
import { type MemoryFile, memoryTree } from '../../support/memory-tree.ts';
import { rawZip } from '../../support/raw-zip.ts';

const options = () => ({ app: 'shop', hostArch: 'amd64', bases: BASES, scope: new AsyncDisposableStack() });
const BUILDER = 'builder: {image: "maven:3"}\nscripts: {build: mvn package}\n';

async function compileOf(files: Record<string, MemoryFile>): Promise<CompilePlan> {
  const plan = await planCompile(memoryTree(files), { app: 'shop' });
  assert.ok(plan);
  return plan;
}
function withManifest(manifest: string, more: Record<string, MemoryFile> = {}): Record<string, MemoryFile> {
  return { 'dinp.yml': manifest, 'src/Main.java': 'class Main {}', ...more };
}

describe('what a builder is to do', () => {
  it('is nothing without a builder in dinp.yml', async () => {
    assert.equal(await planCompile(memoryTree({ 'index.html': 'hi' }), { app: 'shop' }), undefined);
  });

  it('is all of dinp.yml, build before test, over the whole commit', async () => {
    const files = withManifest(
      'builder: {image: "maven:3", workdir: /srv/}\nscripts: {test: [mvn verify], build: [mvn -v, mvn package]}\noutput: target\ntimeout: 20m\nenv: {A: 1, B: 2}\nargs: {B: 3}\n',
    );
    const { packaging, ...plan } = await compileOf(files);
    assert.deepEqual(plan, {
      image: 'maven:3',
      workdir: '/srv',
      sources: '.',
      dir: '.',
      commands: [
        { script: 'scripts.build', line: 'mvn -v' },
        { script: 'scripts.build', line: 'mvn package' },
        { script: 'scripts.test', line: 'mvn verify' },
      ],
      output: 'target',
      env: { A: '1', B: '3' },
      watch: [memoryTree(files).oid],
      timeoutMs: 20 * 60_000,
      repository: undefined,
    });
    assert.match(packaging, /mvn package/);
  });

  it('has the sources of dir, or of a context around it', async () => {
    const own = await compileOf(withManifest(`${BUILDER}dir: src\n`));
    assert.deepEqual([own.workdir, own.sources, own.dir, own.output], ['/src', 'src', '.', '.']);
    const wide = await compileOf(withManifest(`${BUILDER}dir: src\ncontext: .\n`));
    assert.deepEqual([wide.sources, wide.dir], ['.', 'src']);
    await refused(
      planCompile(memoryTree(withManifest(`${BUILDER}dir: src\ncontext: lib\n`, { 'lib/a': '' })), { app: 'shop' }),
      /dir: src, which is not in its context: lib/,
    );
  });

  it('changes with what decides the image, and not with how it runs', async () => {
    const base = await compileOf(withManifest(`${BUILDER}watch: [src]\n`));
    const same = await compileOf(
      withManifest(`${BUILDER}watch: [src]\nmemory: 1G\ndomains: [a.example]\n`, { README: '' }),
    );
    assert.deepEqual(same, base);
    for (const [manifest, more] of [
      ['base: plain\n', {}],
      ['type: jar\n', {}],
      ['env: {A: b}\n', {}],
      ['', { Procfile: 'web: ./run\n' }],
      ['', { 'src/More.java': 'class More {}' }],
    ] as const) {
      const other = await compileOf(withManifest(`${BUILDER}watch: [src]\n${manifest}`, more));
      assert.notDeepEqual(other, base, manifest + Object.keys(more).join());
    }
  });

  it('is refused in folders of the system', async () => {
    for (const workdir of ['/src/..', '/proc/x', '/cache', '/dev']) {
      const files = withManifest(`builder: {image: m, workdir: ${workdir}}\nscripts: {build: make}\n`);
      await refused(planCompile(memoryTree(files), { app: 'shop' }), /builder\.workdir/);
    }
  });
});

describe('what a builder left', () => {
  const commit = (manifest = '', more: Record<string, MemoryFile> = {}) =>
    memoryTree(withManifest(BUILDER + manifest, more));

  it('is looked at as if it had been pushed, under the rules of the commit', async () => {
    const tree = memoryTree({ 'dist/index.html': 'hi', 'dinp.yml': 'memory: 1G\n' });
    const plan = await planCompiled(commit('memory: 64M\n'), { kind: 'files', tree }, options());
    const [service] = plan.services;
    assert.equal(service?.image.kind === 'layers' && service.image.artifact, 'static');
    assert.equal(service?.tree, tree);
    assert.equal(service?.processes[0]?.memoryBytes, 64 * 1024 ** 2);
    await refused(planDeploy(commit(), options()), /has a builder/);
    await refused(
      planCompiled(commit(), { kind: 'files', tree: memoryTree({ 'a.txt': '' }) }, options()),
      /Nothing to deploy/,
    );
  });

  it('may be an archive', async () => {
    const zip = rawZip([{ name: 'index.html', content: 'hi' }]);
    const plan = await planCompiled(commit(), { kind: 'files', tree: memoryTree({ 'shop.zip': zip }) }, options());
    assert.deepEqual(
      plan.services[0]?.tree.entries.map(({ path }) => path),
      ['index.html'],
    );
  });

  it('is the context of the Dockerfile that dinp.yml asks for, whichever side has it', async () => {
    const files = memoryTree({ 'app.bin': 'x' });
    const asked = commit('dockerfile: deploy.Dockerfile\n', { 'deploy.Dockerfile': 'FROM scratch\nCOPY app.bin /\n' });
    const [service] = (await planCompiled(asked, { kind: 'files', tree: files }, options())).services;
    assert.deepEqual(service?.image, {
      kind: 'dockerfile',
      context: '.',
      dockerfile: 'deploy.Dockerfile',
      stage: undefined,
      args: {},
    });
    assert.deepEqual(
      service.tree.entries.map(({ path }) => path),
      ['app.bin', 'deploy.Dockerfile'],
    );
    const own = memoryTree({ Dockerfile: 'FROM scratch\n' });
    const found = (await planCompiled(commit(), { kind: 'files', tree: own }, options())).services[0];
    assert.equal(found?.tree, own);
    // The repository's own is not meant where nobody asks for it.
    const page = memoryTree({ 'index.html': 'hi' });
    const plan = await planCompiled(
      commit('', { Dockerfile: 'FROM scratch\n' }),
      { kind: 'files', tree: page },
      options(),
    );
    assert.equal(plan.services[0]?.image.kind, 'layers');
  });

  it('is not needed where its image is there: dinp.yml and Procfile say what runs', async () => {
    const tree = commit('', { Procfile: 'web: ./serve\nworker: ./work\n' });
    const plan = await planCompiled(tree, { kind: 'kept', contentKey: 'k' }, options());
    const [service] = plan.services;
    assert.deepEqual(service?.image, { kind: 'kept', contentKey: 'k' });
    assert.deepEqual(
      service.processes.map(({ name, command }) => [name, command]),
      [
        ['web', ['./serve']],
        ['worker', ['./work']],
      ],
    );
    const [bare] = (await planCompiled(commit(), { kind: 'kept', contentKey: 'k' }, options())).services;
    assert.deepEqual(
      bare?.processes.map(({ name, command }) => [name, command]),
      [['web', undefined]],
    );
  });
});

async function refused(planning: Promise<unknown>, message: RegExp): Promise<void> {
  await assert.rejects(planning, (error: DinpError) => {
    assert.equal(error.code, 'refused');
    assert.match(error.message, message);
    return true;
  });
}
