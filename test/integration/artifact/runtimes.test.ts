import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, cpSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, test } from 'node:test';
import { planDeploy } from '../../../src/artifact/plan-deploy.ts';
import type { BaseFacts, DeployPlan } from '../../../src/domain/plan.ts';
import { Repositories } from '../../../src/git/repositories.ts';
import { BASES } from '../../support/base-facts.ts';
import { debianPackage } from '../../support/debian-package.ts';
import { npmPackage } from '../../support/npm-package.ts';
import { makeWheel } from '../../support/wheel.ts';
import { GIT } from '../git/commit-files.ts';

const HOST_ARCH = process.arch === 'x64' ? 'amd64' : process.arch;
const CATALOGUE = new Map<string, BaseFacts>([
  ...BASES,
  ...['php', 'python', 'node'].map((kind) => [kind, { for: [kind], shell: true, usable: true }] as const),
]);

let folder: string;
let repositories: Repositories;
let made = 0;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'dinp-runtimes-'));
  repositories = new Repositories(folder, GIT);
});
after(() => rm(folder, { recursive: true, force: true }));

/** Commits a folder as it is, links and all, and gives its plan to `use` while its tree is open. */
async function planFolder(source: string, use: (plan: DeployPlan) => Promise<void>): Promise<void> {
  const app = `shop-${++made}`;
  await repositories.create(app);
  const git = (...args: string[]) =>
    execFileSync(GIT, [`--git-dir=${repositories.path(app)}`, `--work-tree=${source}`, ...args], { encoding: 'utf8' });
  git('-c', 'core.bare=false', 'add', '-A', '-f', '.');
  const tree = git('write-tree').trim();
  const who = ['-c', 'user.name=Ann', '-c', 'user.email=ann@example.org'];
  const sha = git(...who, 'commit-tree', '-m', 'All of it', tree).trim();
  await using scope = new AsyncDisposableStack();
  const opened = scope.use(await repositories.openTree(app, sha));
  await use(await planDeploy(opened, { app, hostArch: HOST_ARCH, bases: CATALOGUE, scope }));
}

/** Writes what the image would hold below a folder, `/app` there. */
async function layOut({
  services,
}: DeployPlan): Promise<{ root: string; command: string[]; env: Record<string, string> }> {
  const { image, tree } = services[0]!;
  assert.ok(image.kind === 'layers');
  const root = join(folder, `image-${made}`);
  const places = new Map(image.files.map((file) => [file.from, file]));
  const entries = [...places.keys()].map((path) => tree.find(path)!);
  for await (const { entry, content } of tree.streamAll(entries)) {
    const { to, mode } = places.get(entry.path)!;
    const chunks: Buffer[] = [];
    for await (const chunk of content) chunks.push(chunk);
    const path = join(root, to);
    mkdirSync(dirname(path), { recursive: true });
    if (entry.mode === '120000') symlinkSync(Buffer.concat(chunks).toString(), path);
    else writeFileSync(path, Buffer.concat(chunks));
    if (mode === '100755') chmodSync(path, 0o755);
  }
  const env = Object.fromEntries(
    Object.entries(image.env).map(([name, value]) => [name, value.replaceAll(/(^|:)\/app/g, `$1${root}/app`)]),
  );
  return { root: join(root, 'app'), command: image.command ?? [], env };
}

test("Debian's WordPress, with its links, is a PHP app", async () => {
  const wordpress = join(debianPackage('wordpress'), 'usr/share/wordpress');
  await planFolder(wordpress, async ({ services }) => {
    const { found, image } = services[0]!;
    assert.equal(found, 'PHP app (index.php)');
    assert.ok(image.kind === 'layers');
    assert.equal(image.base, 'php');
    assert.deepEqual(image.env, { DOCUMENT_ROOT: '/app' });
    const links = image.files.filter(({ mode }) => mode === '120000').length;
    assert.ok(links > 20, `${links} links`);
    assert.ok(image.files.length > 1000);
  });
});

test('http-server of npm starts as npm would start it', async () => {
  const source = join(folder, 'http-server');
  cpSync(npmPackage('http-server@14.1.1'), source, { recursive: true, verbatimSymlinks: true });
  writeFileSync(
    join(source, 'package.json'),
    '{"scripts":{"start":"http-server site -p 0"},"dependencies":{"http-server":"14.1.1"}}',
  );
  mkdirSync(join(source, 'site'));
  writeFileSync(join(source, 'site/index.html'), 'hello');
  await planFolder(source, async (plan) => {
    const { root, command, env } = await layOut(plan);
    assert.deepEqual(command, ['http-server', 'site', '-p', '0']);
    const program = join(root, 'node_modules/.bin', command[0]!);
    const path = `${dirname(process.execPath)}:${env.PATH}`;
    const child = spawn(program, command.slice(1), { cwd: root, env: { ...env, PATH: path } });
    try {
      const [line] = (await once(child.stdout, 'data')) as [Buffer];
      assert.match(line.toString(), /Starting up http-server, serving.*site/s);
    } finally {
      child.kill();
      await once(child, 'close');
    }
  });
});

test('Flask out of wheels answers, and a missing one is named', async () => {
  const source = join(folder, 'flask');
  const wheels = join(source, 'wheels');
  mkdirSync(wheels, { recursive: true });
  const libraries: Record<string, string> = {
    'python3-flask': 'Flask',
    'python3-werkzeug': 'Werkzeug',
    'python3-jinja2': 'Jinja2',
    'python3-itsdangerous': 'itsdangerous',
    'python3-click': 'click',
    'python3-markupsafe': 'MarkupSafe',
  };
  for (const [debian, name] of Object.entries(libraries)) await makeWheel(debian, name, wheels);
  writeFileSync(join(source, 'requirements.txt'), Object.values(libraries).join('\n'));
  writeFileSync(
    join(source, 'app.py'),
    'from flask import Flask\napp = Flask(__name__)\n@app.get("/")\ndef up():\n    return "up"\nif __name__ == "__main__":\n    print(app.test_client().get("/").text)\n',
  );
  await planFolder(source, async (plan) => {
    assert.equal(plan.services[0]!.found, 'Python app (app.py) with 6 wheels');
    const { root, command, env } = await layOut(plan);
    const output = execFileSync('/usr/bin/python3', command.slice(1), { cwd: root, env, encoding: 'utf8' });
    assert.equal(output.trim(), 'up');
  });
  execFileSync('sh', ['-c', 'rm MarkupSafe-*'], { cwd: wheels });
  await assert.rejects(
    planFolder(source, async () => {}),
    {
      code: 'refused',
      message: /^requirements\.txt asks for packages that wheels\/ does not have: MarkupSafe/,
    },
  );
});
