import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { planDeploy } from '../../../../src/artifact/plan-deploy.ts';
import type { BaseFacts } from '../../../../src/domain/plan.ts';
import { makeElf } from '../make-elf.ts';
import { executable, link, memoryTree } from '../memory-tree.ts';
import { BASES, type Files, plan, planned, refusal } from './planned.ts';

const json = (value: unknown) => JSON.stringify(value);
const EXPRESS: Files = { 'node_modules/express/index.js': 'x', 'node_modules/.bin/express': link('../express/cli.js') };
const PATH = 'PATH=/app/node_modules/.bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

const FOUND: [string, Files, string][] = [
  [
    'a start script and its packages',
    {
      'package.json': json({
        scripts: { start: 'NODE_OPTIONS=--enable-source-maps node server.js' },
        dependencies: { express: '5' },
      }),
      'server.js': 'x',
      ...EXPRESS,
    },
    `Node.js app package.json (node server.js) on node\nstarts node server.js in /app\nbelow: /app/node_modules\nNODE_ENV=production\nNODE_OPTIONS=--enable-source-maps\n${PATH}`,
  ],
  [
    'a main file',
    { 'package.json': json({ main: './lib/app' }), 'lib/app.js': 'x' },
    'Node.js app package.json (node lib/app.js) on node\nstarts node lib/app.js in /app\nNODE_ENV=production',
  ],
  [
    "a package's program, by scripts that call scripts",
    {
      'package.json': json({
        scripts: { start: 'npm run serve', serve: 'yarn web', web: 'http-server -p 80' },
        dependencies: { 'http-server': '14' },
      }),
      'node_modules/http-server/bin/http-server': executable('#!/usr/bin/env node'),
      'node_modules/.bin/http-server': link('../http-server/bin/http-server'),
    },
    `Node.js app package.json (http-server -p 80) on node\nstarts http-server -p 80 in /app\nbelow: /app/node_modules\nNODE_ENV=production\n${PATH}`,
  ],
  [
    'a script for a shell',
    {
      'package.json': json({ scripts: { start: 'node migrate.js && node server.js', prestart: 'tsc' } }),
      'server.js': '',
    },
    'Node.js app package.json (npm start) on node\nstarts /bin/sh -c node migrate.js && node server.js in /app\nNODE_ENV=production\nThe prestart script of package.json is not run: what it makes must be in the commit.',
  ],
  [
    'a bundle',
    { 'dist/server.mjs': 'x', 'dist/chunk.mjs': 'y', 'README.md': '' },
    'Node.js app dist/server.mjs on node\nstarts node server.mjs in /app\nNODE_ENV=production',
  ],
  [
    'a bundle that dinp.yml names',
    { 'out/main.cjs': 'x', 'dinp.yml': 'artifact: out/main.cjs' },
    'Node.js app out/main.cjs on node\nstarts node main.cjs in /app\nNODE_ENV=production',
  ],
  [
    'a bundle beside a package.json for tools',
    {
      'dist/server.js': 'x',
      'package.json': json({ scripts: { build: 'esbuild' }, devDependencies: { esbuild: '1' } }),
    },
    'Node.js app dist/server.js on node\nstarts node server.js in /app\nNODE_ENV=production',
  ],
  [
    'commands of a Procfile',
    {
      'package.json': json({ dependencies: { express: '5' } }),
      'api.js': '',
      Procfile: 'web: node api.js',
      ...EXPRESS,
    },
    `Node.js app package.json on node\nstarts the base's in /app\nbelow: /app/node_modules\nNODE_ENV=production\n${PATH}`,
  ],
  [
    'a bundle that lists what is in it, by its type',
    { 'package.json': json({ main: 'a.js', dependencies: { koa: '3' } }), 'a.js': '', 'dinp.yml': 'type: node' },
    'Node.js app package.json (node a.js) on node\nstarts node a.js in /app\nNODE_ENV=production',
  ],
  [
    'a control',
    { 'package.json': json({ scripts: { start: 'next start' } }), control: executable('#!/bin/sh') },
    'Node.js app package.json on node\nstarts ./control start in /app\nNODE_ENV=production',
  ],
  [
    'a newer Node.js than there is',
    { 'package.json': json({ main: 'a.js', engines: { node: '>=22' } }), 'a.js': '' },
    'Node.js app package.json (node a.js) on node\nstarts node a.js in /app\nNODE_ENV=production\npackage.json asks for node >=22, and the base "node" has 18.20.4.',
  ],
  [
    "a library's pages are a site",
    { 'package.json': json({ main: 'js/lib.js' }), 'js/lib.js': 'export {}', 'index.html': 'x' },
    "static site in the top folder (3 files) on static-site\nstarts the base's in undefined",
  ],
];
FOUND.push([
  'a bundle that a Procfile names by its path',
  { 'dist/server.js': 'x', 'conf/x': '1', Procfile: 'web: node dist/server.js --port=$PORT' },
  'Node.js app dist/server.js on node\nstarts node server.js in /app\nNODE_ENV=production',
]);
describe('what is found', () => {
  for (const [name, files, expected] of FOUND) test(name, async () => assert.equal(await planned(files), expected));
});

const INSTALL =
  'Install the packages and commit them:\n  npm ci --omit=dev && git add -f node_modules && git commit -m "Add node_modules"';
const AGAIN =
  'Install the packages for these hosts and commit them:\n  rm -rf node_modules && npm ci --omit=dev --os=linux --cpu=x64 --libc=glibc && git add -f node_modules';
const app = (more: object = {}) => json({ scripts: { start: 'node a.js' }, ...more });
const REFUSED: [string, Files, string][] = [
  [
    'a package.json that is no JSON',
    { 'package.json': '{"scripts":', 'server.js': '' },
    'package.json is no JSON object, and Node.js starts nothing beside such a file.\nCorrect it, or remove it. This says where the mistake is:\n  node -p \'require("./package.json")\'',
  ],
  [
    'no node_modules/, which git ignores',
    {
      'package.json': app({ dependencies: { express: '5' } }),
      'a.js': '',
      '.gitignore': 'node_modules/\n',
      'dist/server.js': '',
    },
    `package.json lists dependencies but node_modules/ is missing.\n.gitignore keeps node_modules/ out of commits; "git add -f" takes it all the same.\n${INSTALL}\n\nIf dist/server.js is a bundle that needs no packages, write into dinp.yml:\n  artifact: dist/server.js`,
  ],
  [
    'a package that is not there',
    {
      'package.json': app({
        dependencies: { express: '5', '@hono/node-server': '1' },
        optionalDependencies: { fsevents: '2' },
      }),
      'a.js': '',
      ...EXPRESS,
    },
    `package.json lists @hono/node-server, which node_modules/ does not have.\n${INSTALL}`,
  ],
  [
    'a program that is not there',
    { 'package.json': json({ scripts: { start: 'tsx server.ts' } }), 'server.ts': '' },
    'The start script of package.json runs tsx, which is not in node_modules/.bin.\nIf it is a package, list it under "dependencies", not "devDependencies", and commit it with its links:\n  npm install --save tsx && git add -f node_modules',
  ],
  [
    'a build that was forgotten',
    {
      'package.json': json({ scripts: { start: 'node --enable-source-maps ./dist/server.js', build: 'tsc' } }),
      'src/server.ts': '',
    },
    'The start script of package.json is "node --enable-source-maps ./dist/server.js", and dist/server.js is not in the commit.\nBuild it and commit the result:\n  npm run build && git add -f dist',
  ],
  [
    'scripts that call each other in a circle',
    { 'package.json': json({ scripts: { start: 'npm run a', a: 'npm start' } }) },
    'The start script of package.json needs npm, which bases do not have: npm run a\nLet it start the program itself, such as "start": "node server.js".',
  ],
  [
    'an addon for another machine',
    { 'package.json': app(), 'a.js': '', 'node_modules/sqlite/build/x.node': makeElf({ type: 3, machine: 183 }) },
    `node_modules/sqlite/build/x.node is compiled for arm64; these hosts are amd64.\n${AGAIN}`,
  ],
  [
    'an addon for macOS',
    {
      'package.json': app(),
      'a.js': '',
      'node_modules/sqlite/build/x.node': Buffer.concat([Buffer.from('cffaedfe07000001', 'hex'), Buffer.alloc(99)]),
    },
    `node_modules/sqlite/build/x.node is compiled for macOS; these hosts run Linux.\n${AGAIN}`,
  ],
  [
    'packages for other systems only',
    {
      'package.json': app(),
      'a.js': '',
      'node_modules/@img/sharp-darwin-arm64/lib/sharp-darwin-arm64.node': Buffer.alloc(99),
      'node_modules/@img/sharp-linuxmusl-x64/lib/sharp.node': Buffer.alloc(99),
    },
    `node_modules has @img/sharp for darwin-arm64, linux-x64-musl only; these hosts are linux-x64.\n${AGAIN}`,
  ],
];
describe('what is refused', () => {
  for (const [name, files, expected] of REFUSED) test(name, async () => assert.equal(await refusal(files), expected));
});

test('addons for all systems are fine where the right one is among them', async () => {
  const { image } = await plan({
    'package.json': app(),
    'a.js': '',
    'node_modules/bufferutil/prebuilds/darwin-x64/x.node': Buffer.alloc(99),
    'node_modules/bufferutil/prebuilds/linux-x64/x.node': makeElf({ type: 3 }),
    'node_modules/bufferutil/prebuilds/win32-ia32/x.node': Buffer.alloc(99),
    'node_modules/@rollup/rollup-linux-x64-gnu/rollup.linux-x64-gnu.node': makeElf({ type: 3 }),
    'node_modules/own/build/own.node': makeElf({ type: 3 }),
  });
  assert.equal(image.kind, 'layers');
});

test('of several bases the newest whose version fits', async () => {
  const facts: Omit<BaseFacts, 'version'> = { shell: true, for: ['node'], usable: true };
  const bases = new Map<string, BaseFacts>([
    ...BASES,
    ['node22', { ...facts, version: '22' }],
    ['node24', { ...facts, version: '24' }],
    ['node26', { ...facts, version: '26', usable: false }],
  ]);
  const files = { 'package.json': app({ engines: { node: '^22 || >=24' } }), 'a.js': '' };
  assert.match(await planned(files, bases), / on node24\n/);
});

test('the links of node_modules/.bin are laid as links', async () => {
  const { image } = await plan({ 'package.json': app(), 'a.js': '', ...EXPRESS });
  const files = image.kind === 'layers' ? image.files : [];
  assert.deepEqual(
    files.find(({ to }) => to.endsWith('.bin/express')),
    { to: '/app/node_modules/.bin/express', from: 'node_modules/.bin/express', mode: '120000' },
  );
});

test('an app of 100,000 files is planned from their names', async () => {
  const files: Files = { 'package.json': app({ dependencies: { p1: '1' } }), 'a.js': 'x' };
  // Larger than a git-lfs pointer, as most files of packages are.
  for (let i = 0; i < 100_000; i++) files[`node_modules/p${i % 1000}/lib/${i}.js`] = LARGE;
  const tree = memoryTree(files);
  let opened = 0;
  const counted: typeof tree = {
    ...tree,
    head: (entry, limit) => {
      opened++;
      return tree.head(entry, limit);
    },
    async *streamAll(entries) {
      for await (const item of tree.streamAll(entries)) {
        opened++;
        yield item;
      }
    },
  };
  const scope = new AsyncDisposableStack();
  const { services } = await planDeploy(counted, { app: 'shop', hostArch: 'amd64', bases: BASES, scope });
  const { image } = services[0]!;
  assert.equal(image.kind === 'layers' && image.files.length, 100_002);
  assert.ok(opened < 20, `${opened} files were opened`);
});

const LARGE = 'x'.repeat(500);
