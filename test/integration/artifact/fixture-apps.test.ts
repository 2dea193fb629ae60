import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { planDeploy } from '../../../src/artifact/plan-deploy.ts';
import { DinpError } from '../../../src/domain/errors.ts';
import { Repositories } from '../../../src/git/repositories.ts';
import { BASES } from '../../support/base-facts.ts';
import { commitFiles, type FileSpec, GIT } from '../git/commit-files.ts';

const APPS = join(import.meta.dirname, '../../fixtures/apps');
const HOST_ARCH = process.arch === 'x64' ? 'amd64' : process.arch;

let folder: string;
let repositories: Repositories;
let made = 0;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'dinp-fixtures-'));
  repositories = new Repositories(folder, GIT);
});
after(() => rm(folder, { recursive: true, force: true }));

/** What a push of these files comes to: what is found and laid where, or what is refused. */
async function push(files: Record<string, FileSpec>): Promise<string> {
  const app = `shop-${++made}`;
  await repositories.create(app);
  const sha = commitFiles(repositories.path(app), files);
  await using scope = new AsyncDisposableStack();
  await using tree = await repositories.openTree(app, sha);
  try {
    const { services } = await planDeploy(tree, { app, hostArch: HOST_ARCH, bases: BASES, scope });
    const { found, image } = services[0]!;
    return image.kind !== 'layers' ? found : `${found} on ${image.base}: ${image.files.map(({ to }) => to).join(' ')}`;
  } catch (error) {
    if (!(error instanceof DinpError)) throw error;
    return [error.message, error.detail].filter(Boolean).join('\n');
  }
}

async function filesOf(app: string): Promise<Record<string, FileSpec>> {
  const files: Record<string, FileSpec> = {};
  for (const name of await readdir(join(APPS, app), { recursive: true })) {
    const path = join(APPS, app, name);
    const { mode } = await stat(path);
    if ((mode & 0o170000) !== 0o100000) continue;
    files[name] = { mode: mode & 0o100 ? '100755' : '100644', content: await readFile(path) };
  }
  return files;
}

const built = 'dinp packages what is built, and compiles nothing without a Dockerfile.';
const EXPECTED: Record<string, string> = {
  'hello-static': 'static site in the top folder (2 files) on static-site: /srv/www/css/style.css /srv/www/index.html',
  'hello-control': 'executable control on plain: /opt/app/control /opt/app/public/index.html',
  'hello-dockerfile': 'Dockerfile',
  'broken-dockerfile': 'Dockerfile',
  'refused-go': `go.mod found but no Linux program built from it: ${built}`,
  'refused-maven': `pom.xml found but no .war or runnable .jar: ${built}`,
  'refused-node': 'package.json lists dependencies but node_modules/ is missing.',
  'refused-python': 'requirements.txt asks for flask, gunicorn, and there is no wheels/ with them.',
  'refused-cargo': `Cargo.toml found but no Linux program built from it: ${built}`,
  'refused-readme': 'Nothing to deploy was found in the only file of the commit (README.md).',
  'refused-manifest': [
    'dinp.yml has 3 mistakes:',
    'line 1: memory: found "lots"; write a size of at least 6M, such as 256M or 1G',
    'line 2: process: there is no such key; did you mean processes?',
    'line 4: services: this version of dinp does not support it yet (several services in one repository); take the key out',
  ].join('\n'),
};

for (const [app, expected] of Object.entries(EXPECTED)) {
  test(`pushing ${app}`, async () => assert.equal(await push(await filesOf(app)), expected));
}

test('an empty commit', async () => assert.equal(await push({}), 'The commit has no files.'));

test('programs that a compiler made', async () => {
  const source = join(APPS, 'hello-binary/hello.c');
  const compile = async (...flags: string[]) => {
    const out = join(folder, 'out');
    const result = spawnSync('gcc', [...flags, '-o', out, source], { encoding: 'utf8' });
    assert.equal(result.status, 0, result.stderr ?? String(result.error));
    return { mode: '100755', content: await readFile(out) };
  };
  const arch = `(${HOST_ARCH})`;
  assert.equal(
    await push({ hello: await compile('-static') }),
    `static Linux program hello ${arch} on static: /app/hello`,
  );
  assert.equal(
    await push({ hello: await compile('-static-pie') }),
    `static Linux program hello ${arch} on static: /app/hello`,
  );
  assert.equal(await push({ hello: await compile() }), `Linux program for glibc hello ${arch} on glibc: /app/hello`);
  assert.equal(
    await push({ hello: await compile('-no-pie') }),
    `Linux program for glibc hello ${arch} on glibc: /app/hello`,
  );
  const nothing = 'Nothing to deploy was found in the only file of the commit (hello).';
  assert.equal(await push({ hello: await compile('-shared', '-fPIC') }), nothing);
  assert.equal(await push({ hello: await compile('-c') }), nothing);
});

test('100,000 files are listed and planned', async () => {
  const files: Record<string, FileSpec> = { 'index.html': 'x' };
  for (let i = 0; i < 100_000; i++) files[`data/${i % 100}/${i}`] = `${i}`.repeat(100);
  assert.match(await push(files), /^static site in the top folder \(100001 files\)/);
});
