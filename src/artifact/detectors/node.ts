import { DinpError } from '../../domain/errors.ts';
import type { Tree } from '../../domain/tree.ts';
import { firstFile, readText, regularFile } from '../blobs.ts';
import type { Candidate, Detector } from '../detector.ts';
import { baseName, dirName } from '../folder.ts';
import { addonProblem } from '../node-addons.ts';
import { type Start, startOf } from '../node-start.ts';
import { node as nodeSource } from '../source/node.ts';
import { type PackageJson, readPackageJson } from '../source/package-json.ts';
import { dockerfileHint } from '../source/proposal.ts';
import { chooseRuntime, ignoredHint, layApp, listed } from './runtime.ts';

/** Names that bundlers and people give to a server that is one file. */
const BUNDLES = ['server.js', 'server.mjs', 'server.cjs'];
const PAGES = ['index.html', 'public/index.html', 'dist/index.html'];
/** Programs that the base has besides the packages' own. */
const IN_BASE = new Set(['node', 'nodejs', 'sh', 'bash', 'env', 'exec']);
const SYSTEM_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** A Node.js app that is ready to start: with its packages beside it, or bundled. */
export const node: Detector = {
  kind: 'node',
  async detect(candidate) {
    const { tree } = candidate;
    const { artifact } = candidate.manifest;
    if (artifact !== undefined)
      return /\.[cm]?js$/.test(artifact) && firstFile(tree, [artifact]) ? bundled(candidate, artifact) : undefined;
    const manifest = await readPackageJson(tree);
    if (manifest !== undefined && (await isServer(candidate, manifest))) return await packaged(candidate, manifest);
    if (manifest?.main !== undefined) return undefined;
    const bundle = firstFile(tree, [...BUNDLES, ...BUNDLES.map((name) => `dist/${name}`)]);
    // What a front end's build leaves is pages, and a server beside them is for developing.
    if (bundle === undefined || (manifest?.frontend && firstFile(tree, PAGES) !== undefined)) return undefined;
    if (manifest !== undefined) await checkPackages(candidate, manifest);
    else if (regularFile(tree, 'package.json') !== undefined) throw brokenManifest();
    return bundled(candidate, bundle);
  },
};

/** Node.js itself starts nothing beside such a file. */
function brokenManifest(): DinpError {
  return new DinpError('refused', 'package.json is no JSON object, and Node.js starts nothing beside such a file.', {
    hint: 'Correct it, or remove it. This says where the mistake is:\n  node -p \'require("./package.json")\'',
  });
}

/** Whether a package is started, rather than built into pages, or used by others. */
async function isServer(candidate: Candidate, manifest: PackageJson): Promise<boolean> {
  const { tree } = candidate;
  if (candidate.manifest.type === 'node') return true;
  if (manifest.frontend) return false;
  if (manifest.start !== undefined) return true;
  if (candidate.commandsGiven) return manifest.main !== undefined || tree.treeId('node_modules') !== undefined;
  if (manifest.main === undefined) return false;
  // A library's pages have a main file too; one that serves says so in its text.
  if (firstFile(tree, PAGES) === undefined || BUNDLES.includes(manifest.main)) return true;
  return /\blisten\b|createServer|process\.env\.PORT|\bserve\(/.test((await readText(tree, manifest.main)) ?? '');
}

async function packaged(candidate: Candidate, manifest: PackageJson) {
  const { tree } = candidate;
  await checkPackages(candidate, manifest);
  const problem = await addonProblem(tree, candidate.hostArch);
  if (problem !== undefined) {
    const lines = await nodeSource.dockerfile(candidate);
    const cpu = candidate.hostArch === 'amd64' ? 'x64' : candidate.hostArch;
    throw new DinpError('refused', problem, {
      hint: [
        'Install the packages for these hosts and commit them:',
        `  rm -rf node_modules && npm ci --omit=dev --os=linux --cpu=${cpu} --libc=glibc && git add -f node_modules`,
        '',
        'Or let the server install them.',
        dockerfileHint(lines),
      ].join('\n'),
    });
  }
  const wanted = manifest.engine === undefined ? undefined : { range: manifest.engine, where: 'package.json' };
  const runtime = chooseRuntime(candidate, 'node', wanted);
  const start = startCommand(candidate, manifest);
  const notes = [...runtime.notes];
  if (start !== undefined && manifest.scripts.prestart !== undefined && !candidate.control)
    notes.push('The prestart script of package.json is not run: what it makes must be in the commit.');
  const { image, watch } = layApp(candidate, {
    artifact: 'node',
    runtime,
    folder: '.',
    dependencies: ['node_modules'],
    command: start?.command,
    env: {
      NODE_ENV: 'production',
      ...start?.env,
      ...(tree.treeId('node_modules/.bin') === undefined
        ? {}
        : { PATH: `${runtime.into}/node_modules/.bin:${SYSTEM_PATH}` }),
      ...(tree.find('.pnp.cjs') === undefined ? {} : { NODE_OPTIONS: `--require ${runtime.into}/.pnp.cjs` }),
    },
  });
  const by = start?.program === undefined ? 'npm start' : start.command.join(' ');
  return { found: `Node.js app package.json${start === undefined ? '' : ` (${by})`}`, image, watch, notes };
}

/** @throws DinpError refused where packages that it cannot run without are not in the commit */
async function checkPackages(candidate: Candidate, { dependencies }: PackageJson): Promise<void> {
  const { tree, manifest } = candidate;
  // Whoever names the type says that it runs as it is: a bundle keeps the list of what is in it.
  if (manifest.type === 'node') return;
  const missing = dependencies.filter(
    (name) => tree.treeId(`node_modules/${name}`) === undefined && tree.find(`node_modules/${name}`) === undefined,
  );
  if (missing.length === 0 || tree.find('.pnp.cjs') !== undefined) return;
  const whole = tree.treeId('node_modules') === undefined;
  const message = whole
    ? 'package.json lists dependencies but node_modules/ is missing.'
    : `package.json lists ${listed(missing)}, which node_modules/ does not have.`;
  throw new DinpError('refused', message, {
    hint: [
      ...(await ignoredHint(candidate, 'node_modules')),
      'Install the packages and commit them:',
      '  npm ci --omit=dev && git add -f node_modules && git commit -m "Add node_modules"',
      ...(await bundleHint(tree)),
      '',
      'Or let the server install them.',
      dockerfileHint(await nodeSource.dockerfile(candidate)) + staticHint(tree),
    ].join('\n'),
  });
}

/** A build may have put the packages into its output, which nobody can tell from outside. */
async function bundleHint(tree: Tree): Promise<string[]> {
  const bundle = firstFile(
    tree,
    BUNDLES.map((name) => `dist/${name}`),
  );
  return bundle === undefined
    ? []
    : ['', `If ${bundle} is a bundle that needs no packages, write into dinp.yml:`, `  artifact: ${bundle}`];
}

/** Packages of web pages, such as a library's dist, have a package.json too. */
function staticHint(tree: Tree): string {
  const page = firstFile(tree, PAGES);
  return page === undefined
    ? ''
    : `\nOr, to publish ${page} and what is beside it as it is, write into dinp.yml:\n  type: static`;
}

/** @throws DinpError refused for a start script that nothing in the image could run */
function startCommand(candidate: Candidate, manifest: PackageJson): Start | undefined {
  const { tree } = candidate;
  if (candidate.control) return undefined;
  if (manifest.start === undefined) {
    const { main } = manifest;
    return main === undefined ? undefined : { command: ['node', main], env: {}, program: 'node' };
  }
  const start = startOf(manifest.scripts);
  if (candidate.commandsGiven) return start;
  if (start === undefined) {
    throw new DinpError(
      'refused',
      `The start script of package.json needs npm, which bases do not have: ${manifest.start}`,
      {
        hint: 'Let it start the program itself, such as "start": "node server.js".',
      },
    );
  }
  const { program, command } = start;
  if (program === undefined || program.includes('/')) return start;
  const file = command.slice(1).find((word) => !word.startsWith('-'));
  if (IN_BASE.has(program)) {
    if (program === 'node' && file !== undefined) checkFile(tree, file, manifest.start);
    return start;
  }
  if (tree.find(`node_modules/.bin/${program}`) !== undefined) return start;
  throw new DinpError(
    'refused',
    `The start script of package.json runs ${program}, which is not in node_modules/.bin.`,
    {
      hint: `If it is a package, list it under "dependencies", not "devDependencies", and commit it with its links:\n  npm install --save ${program} && git add -f node_modules`,
    },
  );
}

/** The file behind `node` must be in the commit: a forgotten build is found here, and not by the first start. */
function checkFile(tree: Tree, word: string, script: string): void {
  const path = word.replace(/^(?:\.\/)+/, '').replace(/\/+$/, '');
  if (path === '' || path === '.' || path.startsWith('/') || path.includes('..')) return;
  const there = [path, `${path}.js`, `${path}.cjs`, `${path}.mjs`].some((name) => tree.find(name) !== undefined);
  if (there || tree.treeId(path) !== undefined) return;
  throw new DinpError('refused', `The start script of package.json is "${script}", and ${path} is not in the commit.`, {
    hint: `Build it and commit the result:\n  npm run build && git add -f ${dirName(path) === '.' ? path : dirName(path)}`,
  });
}

function bundled(candidate: Candidate, bundle: string) {
  const runtime = chooseRuntime(candidate, 'node', undefined);
  const folder = dirName(bundle);
  const { image, watch } = layApp(candidate, {
    artifact: 'node',
    runtime,
    folder,
    dependencies: ['node_modules'],
    command: ['node', baseName(bundle)],
    env: { NODE_ENV: 'production' },
  });
  return { found: `Node.js app ${bundle}`, image, watch, notes: [] };
}
