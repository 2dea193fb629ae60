import { DinpError } from '../domain/errors.ts';
import { printable } from '../domain/names.ts';
import type { Tree, TreeEntry } from '../domain/tree.ts';
import { formatOf, readHeads } from './blobs.ts';
import { ARTIFACT_FOLDERS, type Artifact, type Candidate, type Detector } from './detector.ts';
import { binary, foreignProgram } from './detectors/binary.ts';
import { dockerfile } from './detectors/dockerfile.ts';
import { jar } from './detectors/jar.ts';
import { node } from './detectors/node.ts';
import { php } from './detectors/php.ts';
import { plain } from './detectors/plain.ts';
import { python } from './detectors/python.ts';
import { staticSite } from './detectors/static-site.ts';
import { war } from './detectors/war.ts';
import { baseName, dirName, filesIn } from './folder.ts';
import { findSource, refuseSource } from './source/source.ts';

/** In the order in which they are asked; the first that finds its kind has it. */
export const DETECTORS: readonly Detector[] = [dockerfile, war, jar, binary, php, python, node, staticSite, plain];

/**
 * Finds what a service's folder is to be deployed as.
 * @throws DinpError refused, saying what was found instead and what to do
 */
export async function detect(candidate: Candidate): Promise<Artifact> {
  const { type } = candidate.manifest;
  for (const detector of detectorsFor(candidate)) {
    const artifact = await detector.detect(candidate);
    if (artifact !== undefined) return artifact;
  }
  if (type !== undefined && type !== 'auto') throw nothingOfType(type);
  const windows = await windowsProgram(candidate.tree);
  if (windows !== undefined) throw foreignProgram(candidate, windows, 'windows');
  const source = await findSource(candidate);
  throw source === undefined ? await nothingFound(candidate) : await refuseSource(candidate, source);
}

function detectorsFor({ manifest }: Candidate): readonly Detector[] {
  if (manifest.type !== undefined && manifest.type !== 'auto')
    return DETECTORS.filter(({ kind }) => kind === manifest.type);
  if (manifest.dockerfile !== undefined) return [dockerfile];
  if (manifest.artifact !== undefined) return [war, jar, python, node, binary];
  return manifest.root === undefined ? DETECTORS : [php, staticSite];
}

function nothingOfType(type: string): DinpError {
  return new DinpError('refused', `dinp.yml says type: ${type}, and nothing of that kind was found in the commit.`, {
    hint:
      type === 'binary'
        ? 'Name the program in dinp.yml:\n  artifact: PATH'
        : 'Correct type: in dinp.yml, or remove it to let dinp look for itself.',
  });
}

const WHAT_IS_DEPLOYED = [
  'dinp deploys what is built:',
  '  a Dockerfile',
  '  a .war or a runnable .jar, at the top or in target/, build/libs/ or dist/',
  '  a Linux program, at the top or in dist/ or bin/',
  '  a PHP, Python or Node.js app, with its packages (vendor/, wheels/, node_modules/)',
  '  a folder with an index.html (., public/ or dist/)',
  '  an executable script called control, run as "./control start"',
].join('\n');

async function nothingFound({ tree }: Candidate): Promise<DinpError> {
  const names = [...new Set(tree.entries.map(({ path }) => path.replace(/\/.*/s, '/')))].map(printable);
  const count = tree.entries.length === 1 ? 'the only file' : `the ${tree.entries.length} files`;
  const shown = names.length > 8 ? `${names.slice(0, 8).join(', ')} …` : names.join(', ');
  const clues = await cluesIn(tree);
  return new DinpError('refused', `Nothing to deploy was found in ${count} of the commit (${shown}).`, {
    hint: [...clues, ...(clues.length > 0 ? [''] : []), WHAT_IS_DEPLOYED].join('\n'),
  });
}

/** Near misses: what is almost there, and what is missing of it. */
async function cluesIn(tree: Tree): Promise<string[]> {
  const clues: string[] = [];
  if (tree.find('control')?.mode === '100644') {
    clues.push(
      'control is there but not executable: git update-index --chmod=+x control && git commit -m "Make control executable"',
    );
  }
  const link = ['control', 'index.html'].find((path) => tree.find(path)?.mode === '120000');
  if (link !== undefined)
    clues.push(`${link} is a symbolic link, and links are not followed; commit the file itself in its place`);
  if (tree.find('index.htm') !== undefined)
    clues.push('index.htm is there; a site begins with index.html: git mv index.htm index.html');
  const below = tree.entries.find(
    ({ path }) => path.split('/').length <= 3 && /^(?:dockerfile|containerfile|.*\.dockerfile)$/i.test(baseName(path)),
  );
  if (below !== undefined)
    clues.push(`${below.path} is there; to use it, write into dinp.yml: dockerfile: ${below.path}`);
  const app = tree.entries.find(({ path }) =>
    /^[^/]+\/(?:go\.mod|pom\.xml|package\.json|Cargo\.toml|requirements\.txt|index\.html)$/.test(path),
  );
  if (app !== undefined)
    clues.push(`${app.path} is there; if the app lives in that folder, write into dinp.yml: dir: ${dirName(app.path)}`);
  const script = await executableScript(tree);
  if (script !== undefined) {
    clues.push(
      `${script} is an executable script; to run it, write into dinp.yml:\n  type: plain\n  processes:\n    web: ./${script}`,
    );
  }
  return clues;
}

async function executableScript(tree: Tree): Promise<string | undefined> {
  const executables = filesIn(tree, ['.'])
    .get('.')!
    .filter(({ mode, path }) => mode === '100755' && path !== 'control');
  for await (const { entry, head } of readHeads(tree, executables.slice(0, 20))) {
    if (head.toString('latin1', 0, 2) === '#!') return entry.path;
  }
  return undefined;
}

/** git on Windows knows no x bit, so the name must tell. */
async function windowsProgram(tree: Tree): Promise<TreeEntry | undefined> {
  const files = [...filesIn(tree, ARTIFACT_FOLDERS).values()].flat().filter(({ path }) => path.endsWith('.exe'));
  for await (const { entry, head } of readHeads(tree, files.slice(0, 5)))
    if (formatOf(head) === 'windows') return entry;
  return undefined;
}
