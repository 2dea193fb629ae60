import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { planDeploy } from '../../../src/artifact/plan-deploy.ts';
import type { BaseFacts, DeployPlan } from '../../../src/domain/plan.ts';
import { BASES } from '../../support/base-facts.ts';
import { makeElf } from './make-elf.ts';
import { executable, type FileSpec, link, memoryTree } from './memory-tree.ts';

const PROGRAM = executable(makeElf());
const GLIBC = executable(makeElf({ type: 3, interpreter: '/lib64/ld-linux-x86-64.so.2' }));
const POINTER =
  'version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n';
const FRONTEND = '{"scripts":{"dev":"vite","build":"vite build"},"devDependencies":{"vite":"7"}}';

type Files = Record<string, FileSpec>;

function plan(files: Files, app = 'hello', bases: ReadonlyMap<string, BaseFacts> = BASES): Promise<DeployPlan> {
  return planDeploy(memoryTree(files), { app, hostArch: 'amd64', bases, scope: new AsyncDisposableStack() });
}

/** A plan in one line: base, files and where they go, command. */
function summary({ services: [service] }: DeployPlan): string {
  const { image, processes } = service!;
  const named = processes.map(({ name, command }) => `${name}=${command?.join(' ') ?? ''}`).join(' ');
  if (image.kind === 'dockerfile') return `dockerfile ${image.dockerfile} in ${image.context}; ${named}`;
  assert.ok(image.kind === 'layers');
  const files = image.files.map(({ from, to, mode }) => `${from}>${to}${mode === '100755' ? '*' : ''}`).join(' ');
  return `${image.artifact} on ${image.base}: ${files}; ${image.command?.join(' ') ?? '-'}; ${named}`;
}

describe('what is found', () => {
  const cases: [string, Files, string][] = [
    [
      'a Dockerfile',
      { Dockerfile: 'FROM x', 'go.mod': 'module x', hello: PROGRAM },
      'dockerfile Dockerfile in .; web=',
    ],
    [
      'a Dockerfile with a control and a Procfile',
      { Dockerfile: 'FROM x', control: executable('#!/bin/sh'), Procfile: 'web: ./run $PORT\nworker: ./work' },
      'dockerfile Dockerfile in .; web=/bin/sh -c ./run $PORT worker=./work',
    ],
    [
      'a Dockerfile elsewhere, with its context',
      { 'dinp.yml': 'dir: web\ndockerfile: docker/Dockerfile\ncontext: .', 'web/docker/Dockerfile': 'FROM x' },
      'dockerfile web/docker/Dockerfile in .; web=',
    ],
    [
      'a static program',
      { hello: PROGRAM, 'dinp.yml': 'memory: 64M' },
      'binary on static: hello>/app/hello*; /app/hello; web=',
    ],
    [
      'a program for glibc in dist',
      { 'dist/hello': GLIBC },
      'binary on glibc: dist/hello>/app/hello*; /app/hello; web=',
    ],
    [
      'a program that lost its x bit',
      { hello: makeElf({ type: 3, pie: true, gap: 100_000 }) },
      'binary on static: hello>/app/hello*; /app/hello; web=',
    ],
    [
      'a program with what lies beside it',
      { shop: PROGRAM, 'templates/a.html': 'x', '.gitignore': 'x', Procfile: 'web: ./shop serve' },
      'binary on static: shop>/app/shop* templates/a.html>/app/templates/a.html; /app/shop; web=./shop serve',
    ],
    [
      'of several programs the one called like the app',
      { 'bin/hello': PROGRAM, 'bin/tool': PROGRAM },
      'binary on static: bin/hello>/app/hello* bin/tool>/app/tool*; /app/hello; web=',
    ],
    [
      'of several architectures the right one',
      { 'hello-arm64': executable(makeElf({ machine: 183 })), 'hello-amd64': PROGRAM },
      'binary on static: hello-amd64>/app/hello-amd64* hello-arm64>/app/hello-arm64*; /app/hello-amd64; web=',
    ],
    [
      'several programs, each with its process',
      { api: PROGRAM, work: GLIBC, 'dinp.yml': 'processes: {web: ./api, worker: ./work}' },
      'binary on glibc: api>/app/api* work>/app/work*; -; web=./api worker=./work',
    ],
    [
      'the program that dinp.yml names',
      { a: PROGRAM, b: PROGRAM, 'dinp.yml': 'artifact: b' },
      'binary on static: a>/app/a* b>/app/b*; /app/b; web=',
    ],
    [
      'a program under a control: a base with a shell',
      { hello: GLIBC, control: executable('#!/bin/sh') },
      'binary on plain: control>/app/control* hello>/app/hello*; ./control start; web=',
    ],
    [
      'a program whose command needs a shell: a base with one',
      { hello: PROGRAM, Procfile: 'web: ./hello -p $PORT' },
      'binary on plain: hello>/app/hello*; /app/hello; web=/bin/sh -c ./hello -p $PORT',
    ],
    [
      'programs that commands name by their paths: all files, at the same paths',
      { 'bin/a': PROGRAM, 'bin/b': PROGRAM, 'conf/x': '1', Procfile: 'web: bin/a\nworker: ./bin/b' },
      'binary on static: bin/a>/app/bin/a* bin/b>/app/bin/b* conf/x>/app/conf/x; -; web=bin/a worker=./bin/b',
    ],
    [
      'a program with a number behind its name that lost its x bit',
      { 'hello.bin': makeElf(), 'server-1.2': 'no program, and long enough to be looked at for what it is and is not' },
      'binary on static: hello.bin>/app/hello.bin* server-1.2>/app/server-1.2; /app/hello.bin; web=',
    ],
    [
      'a program before a page',
      { hello: PROGRAM, 'index.html': 'x' },
      'binary on static: hello>/app/hello* index.html>/app/index.html; /app/hello; web=',
    ],
    [
      'a site at the top, without what is not for visitors',
      {
        'index.html': 'x',
        '.env': 's',
        '.github/w.yml': 'x',
        '.well-known/a': '1',
        'dinp.yml': 'port: 8080',
        'a/.git-x': 'x',
      },
      'static on static-site: .well-known/a>/srv/www/.well-known/a index.html>/srv/www/index.html; -; web=',
    ],
    [
      'a site in public',
      { 'public/index.html': 'x', 'README.md': 'x' },
      'static on static-site: public/index.html>/srv/www/index.html; -; web=',
    ],
    [
      'a built front end',
      { 'package.json': FRONTEND, 'index.html': 'x', 'dist/index.html': 'y' },
      'static on static-site: dist/index.html>/srv/www/index.html; -; web=',
    ],
    [
      'a site whose package.json is for tools',
      { 'package.json': '{"devDependencies":{"prettier":"3"}}', 'public/index.html': 'x' },
      'static on static-site: public/index.html>/srv/www/index.html; -; web=',
    ],
    [
      'a folder to serve',
      { 'go.mod': 'module x', 'site/a.html': 'x', 'dinp.yml': 'root: site' },
      'static on static-site: site/a.html>/srv/www/a.html; -; web=',
    ],
    [
      'a site with a link in it',
      { 'index.html': 'x', passwd: link('/etc/passwd') },
      'static on static-site: index.html>/srv/www/index.html passwd>/srv/www/passwd; -; web=',
    ],
    [
      'a control alone',
      { control: executable('#!/bin/sh'), 'lib/x': '1' },
      'plain on plain: control>/opt/app/control* lib/x>/opt/app/lib/x; ./control start; web=',
    ],
    [
      'a control that a Procfile starts in its own way, with a page that it serves',
      { control: executable('#!/bin/sh'), 'index.html': 'x', Procfile: 'web: ./control run\nworker: ./control work' },
      'plain on plain: control>/opt/app/control* index.html>/opt/app/index.html; ./control start; web=./control run worker=./control work',
    ],
    [
      'a plain tree with commands',
      { 'run.sh': executable('#!/bin/sh'), 'dinp.yml': 'type: plain\nprocesses: {web: ./run.sh}' },
      'plain on plain: run.sh>/opt/app/run.sh*; -; web=./run.sh',
    ],
    [
      'an app in a folder',
      { 'go.mod': 'module x', 'dinp.yml': 'dir: web/app', 'web/app/index.html': 'x' },
      'static on static-site: web/app/index.html>/srv/www/index.html; -; web=',
    ],
  ];
  for (const [name, files, expected] of cases) {
    test(name, async () => assert.equal(summary(await plan(files)), expected));
  }
});

describe('what is refused, and what to do', () => {
  const program =
    'Build it for Linux on amd64, commit it and push again. For example:\n  CGO_ENABLED=0 GOOS=linux GOARCH=amd64 go build\n  cargo build --release --target x86_64-unknown-linux-musl';
  const lfs = (path: string) =>
    `Take it out of git-lfs and commit the file itself:\n  git lfs untrack ${path} && git rm --cached ${path} && git add ${path}`;
  const macos = Buffer.concat([Buffer.from('cffaedfe07000001', 'hex'), Buffer.alloc(100)]);
  const windows = Buffer.alloc(200);
  windows.write('MZ');
  windows.writeUInt32LE(64, 60);
  windows.write('PE\0\0', 64, 'latin1');
  const what =
    'dinp deploys what is built:\n  a Dockerfile\n  a .war or a runnable .jar, at the top or in target/, build/libs/ or dist/\n  a Linux program, at the top or in dist/ or bin/\n  a PHP, Python or Node.js app, with its packages (vendor/, wheels/, node_modules/)\n  a folder with an index.html (., public/ or dist/)\n  an executable script called control, run as "./control start"';
  const cases: [string, Files, string, string][] = [
    [
      'an empty commit',
      {},
      'The commit has no files.',
      'Add what shall run, for example a page:\n  echo "Hello from hello" > index.html && git add index.html && git commit -m "Add a page"',
    ],
    [
      'nothing of use',
      { 'README.md': '# x', 'src/a.c': 'x' },
      'Nothing to deploy was found in the 2 files of the commit (README.md, src/).',
      what,
    ],
    [
      'a program for another machine',
      { hello: executable(makeElf({ machine: 183 })) },
      'hello is built for arm64; these hosts are amd64.',
      program,
    ],
    ['a macOS program', { hello: executable(macos) }, 'hello is a macOS program; these hosts run Linux.', program],
    ['a Windows program', { 'hello.exe': windows }, 'hello.exe is a Windows program; these hosts run Linux.', program],
    [
      'a git-lfs pointer',
      { hello: executable(POINTER) },
      'hello is a git-lfs pointer: the program itself is not in the commit.',
      lfs('hello'),
    ],
    [
      'pictures in git-lfs',
      { 'index.html': 'x', 'a.png': POINTER },
      'a.png is a git-lfs pointer: the content itself is not in the commit.',
      'dinp has no git-lfs storage. Commit the files themselves:\n  git lfs untrack PATTERN && git add --renormalize . && git commit',
    ],
    [
      'libraries and objects only',
      { 'libx.so.1': executable(makeElf({ type: 3 })), x: executable(makeElf({ type: 3 })), y: makeElf({ type: 1 }) },
      'Nothing to deploy was found in the 3 files of the commit (libx.so.1, x, y).',
      what,
    ],
    [
      'several programs',
      { 'bin/a': PROGRAM, 'bin/b': PROGRAM },
      'Several programs were found, and none is called hello: bin/a, bin/b.',
      'Say in dinp.yml which one is meant:\n  artifact: bin/a',
    ],
    [
      'a loader of nowhere',
      { hello: executable(makeElf({ interpreter: '/nix/store/abc/lib/ld-linux-x86-64.so.2' })) },
      'hello asks for the loader /nix/store/abc/lib/ld-linux-x86-64.so.2, which is in no base.',
      'Build it statically, or on an ordinary Linux distribution, or push a Dockerfile.',
    ],
    [
      'a base that is not there',
      { hello: executable(makeElf({ interpreter: '/lib/ld-musl-x86_64.so.1' })) },
      `It needs the base "musl", which this server's catalogue lacks.`,
      'Ask the operator to add it to the catalogue, or push a Dockerfile. Known here: static, glibc, plain, static-site.',
    ],
    [
      'a misspelt base',
      { hello: PROGRAM, 'dinp.yml': 'base: statik' },
      'dinp.yml asks for the base "statik", which this server does not have.',
      'Did you mean static?',
    ],
    [
      'a linked Dockerfile',
      { Dockerfile: link('docker/Dockerfile'), 'docker/Dockerfile': 'FROM x' },
      'Dockerfile is a symbolic link to docker/Dockerfile; links of a commit are not followed.',
      'Name the file itself in dinp.yml:\n  dockerfile: docker/Dockerfile',
    ],
    [
      'a missing Dockerfile',
      { 'dinp.yml': 'dockerfile: D', x: '' },
      'dinp.yml says dockerfile: D, which is not in the commit.',
      'Add it (git add D), or correct dockerfile: in dinp.yml.',
    ],
    [
      'a control without x',
      { control: '#!/bin/sh' },
      'Nothing to deploy was found in the only file of the commit (control).',
      `control is there but not executable: git update-index --chmod=+x control && git commit -m "Make control executable"\n\n${what}`,
    ],
    [
      'a script without a word on it',
      { 'run.sh': executable('#!/bin/sh') },
      'Nothing to deploy was found in the only file of the commit (run.sh).',
      `run.sh is an executable script; to run it, write into dinp.yml:\n  type: plain\n  processes:\n    web: ./run.sh\n\n${what}`,
    ],
    [
      'a control with Windows line ends',
      { control: executable('#!/bin/sh\r\nexec x\r\n') },
      'control has Windows line ends (CRLF), with which Linux cannot start a script.',
      "Give it those of Unix, and push or upload it again:\n  sed -i 's/\\r$//' control",
    ],
    [
      'a control and a page that are links, and an old page',
      { control: link('run.sh'), 'index.html': link('a.html'), 'index.htm': 'x' },
      'Nothing to deploy was found in the 3 files of the commit (control, index.htm, index.html).',
      `control is a symbolic link, and links are not followed; commit the file itself in its place\nindex.htm is there; a site begins with index.html: git mv index.htm index.html\n\n${what}`,
    ],
    [
      'an app one folder down',
      { 'server/go.mod': 'module x', 'docker/Dockerfile': 'FROM x' },
      'Nothing to deploy was found in the 2 files of the commit (docker/, server/).',
      `docker/Dockerfile is there; to use it, write into dinp.yml: dockerfile: docker/Dockerfile\nserver/go.mod is there; if the app lives in that folder, write into dinp.yml: dir: server\n\n${what}`,
    ],
    [
      'a shell command on a base without a shell',
      { hello: PROGRAM, Procfile: 'web: ./hello -p $PORT', 'dinp.yml': 'base: static' },
      'The command of web needs a shell, and the base "static" has none: ./hello -p $PORT',
      'Write it without shell characters ($, quotes, &&; PORT is in the environment), as a list of words in dinp.yml, or choose a base with a shell:\n  base: plain',
    ],
    [
      'a process without a command',
      { hello: PROGRAM, 'dinp.yml': 'processes: {web: , worker: }' },
      "The process worker has no command, and the image's own is for web.",
      'Write into dinp.yml:\n  processes:\n    worker: COMMAND',
    ],
    [
      'a health path without a port',
      { hello: PROGRAM, 'dinp.yml': 'processes: {web: , worker: {command: ./hello, health: /up}}' },
      'The health check of worker needs a port, and worker has none.',
      'Give it one in dinp.yml (port: 9000), or check it with a command.',
    ],
    [
      'keys of a Dockerfile without one',
      { hello: PROGRAM, 'dinp.yml': 'stage: x\nargs: {A: 1}' },
      'dinp.yml has stage and args, which a Dockerfile uses; this is a static Linux program hello (amd64).',
      'Remove stage and args from dinp.yml, or add the Dockerfile.',
    ],
    [
      "another app's images",
      { hello: PROGRAM, 'dinp.yml': 'image: other' },
      'dinp.yml says image: other, and the images of hello lie below hello/.',
      'Write, for example, image: hello/web',
    ],
    [
      'a folder that is not there',
      { hello: PROGRAM, 'dinp.yml': 'dir: web' },
      'dinp.yml says dir: web, which is no folder of the commit.',
      'Correct dir: in dinp.yml.',
    ],
    [
      'a type that is not there',
      { hello: PROGRAM, 'dinp.yml': 'type: war' },
      'dinp.yml says type: war, and nothing of that kind was found in the commit.',
      'Correct type: in dinp.yml, or remove it to let dinp look for itself.',
    ],
    [
      'dinp.yaml',
      { hello: PROGRAM, 'dinp.yaml': '' },
      'The file must be called dinp.yml; dinp.yaml was found.',
      'git mv dinp.yaml dinp.yml && git commit -m "Rename dinp.yaml"',
    ],
    [
      'a linked dinp.yml',
      { hello: PROGRAM, 'dinp.yml': link('/etc/passwd') },
      'dinp.yml is a symbolic link, which is not followed.',
      'Commit an ordinary text file called dinp.yml.',
    ],
  ];
  for (const [name, files, message, hint] of cases) {
    test(name, () => assert.rejects(plan(files), { code: 'refused', message, hint }));
  }
});

test('what dinp.yml says of processes reaches the plan', async () => {
  const { services, target, domains, notes } = await plan({
    Dockerfile: 'FROM x',
    Procfile: 'web: ./a\nworker: ./b\nrelease: ./migrate',
    'dinp.yml': `processes:
  web: {command: ./c, instances: 2}
  clock: {command: ./d, memory: 64M, port: 9000, health: {tcp: true}}
memory: 1G
port: 3000
health: /up
stop: 10s
volumes: {data: /data}
env: {A: 1}
stage: run
args: {B: 2}
image: hello/x
timeout: 1m
deploy: false
target: systemd
domains: [a.example.org]
keep: {days: 1}
`,
  });
  const health = { intervalMs: 5000, timeoutMs: 3000, retries: 3, startMs: 60_000 };
  const common = { instances: 1, memoryBytes: 1_073_741_824, stopMs: 10_000, volumes: { data: '/data' } };
  const [service] = services;
  assert.deepEqual(service?.processes, [
    {
      ...common,
      name: 'web',
      command: ['./c'],
      instances: 2,
      port: 3000,
      health: { ...health, kind: 'http', path: '/up' },
    },
    { ...common, name: 'worker', command: ['./b'], port: undefined, health: { ...health, kind: 'auto' } },
    {
      ...common,
      name: 'clock',
      command: ['./d'],
      memoryBytes: 67_108_864,
      port: 9000,
      health: { ...health, kind: 'tcp' },
    },
  ]);
  assert.deepEqual(service?.releaseCommand, ['./migrate']);
  assert.deepEqual(service?.image, {
    kind: 'dockerfile',
    context: '.',
    dockerfile: 'Dockerfile',
    stage: 'run',
    args: { B: '2' },
  });
  const { name, env, timeoutMs, repository, deploys } = service!;
  assert.deepEqual(
    { name, env, timeoutMs, repository, deploys, target, domains, notes },
    {
      name: 'hello',
      env: { A: '1' },
      timeoutMs: 60_000,
      repository: 'hello/x',
      deploys: false,
      target: 'systemd',
      domains: ['a.example.org'],
      notes: ["dinp.yml overrides the Procfile's web."],
    },
  );
});

test('the watched ids change with what the image is made from, and with nothing else', async () => {
  const watch = async (files: Files) => (await plan(files)).services[0]!.watch;
  const site = { 'index.html': 'x', 'css/a.css': 'y' };
  const before = await watch(site);
  assert.deepEqual(await watch({ ...site, 'dinp.yml': 'memory: 64M', '.gitignore': 'x' }), before);
  assert.notDeepEqual(await watch({ ...site, 'css/a.css': 'z' }), before);
  assert.notDeepEqual(await watch({ ...site, 'css/b.css': 'z' }), before);
  const watched = { Dockerfile: 'FROM x', 'src/a': '1', 'docs/a': '1', 'dinp.yml': 'watch: [src, Dockerfile]' };
  assert.deepEqual(await watch({ ...watched, 'docs/a': '2' }), await watch(watched));
  assert.notDeepEqual(await watch({ ...watched, 'src/a': '2' }), await watch(watched));
  await assert.rejects(watch({ ...watched, 'dinp.yml': 'watch: [none]' }), {
    message: 'dinp.yml says watch: none, which is not in the commit.',
  });
});

test('a site of 100,000 files is planned from its names', async () => {
  const files: Files = { 'index.html': 'x' };
  for (let i = 0; i < 100_000; i++) files[`data/${i % 100}/file${i}`] = 'same';
  const entries = memoryTreeOf(files);
  let read = 0;
  const counted = { ...entries, streamAll: countedStreams(entries, () => read++) };
  const { services } = await planDeploy(counted, {
    app: 'hello',
    hostArch: 'amd64',
    bases: BASES,
    scope: new AsyncDisposableStack(),
  });
  assert.match(services[0]!.found, /100001 files/);
  assert.ok(read < 10, `${read} files were opened`);
});

function memoryTreeOf(files: Files) {
  // Large enough not to be looked at as git-lfs pointers, as files of a real site are.
  return memoryTree(Object.fromEntries(Object.entries(files).map(([path]) => [path, LARGE])));
}

const LARGE = 'x'.repeat(500);

function countedStreams(tree: ReturnType<typeof memoryTree>, count: () => void): typeof tree.streamAll {
  return (entries) =>
    (async function* () {
      for await (const item of tree.streamAll(entries)) {
        count();
        yield item;
      }
    })();
}
