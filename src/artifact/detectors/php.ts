import { DinpError } from '../../domain/errors.ts';
import type { Tree } from '../../domain/tree.ts';
import { firstFile, objectIn, readJsonObject, regularFile } from '../blobs.ts';
import type { Candidate, Detector } from '../detector.ts';
import { dirName, filesIn, joinPath } from '../folder.ts';
import { php as phpSource } from '../source/php.ts';
import { dockerfileHint } from '../source/proposal.ts';
import { chooseRuntime, ignoredHint, layApp, listed } from './runtime.ts';

/** Composer's list of what it installed grows with the packages' descriptions. */
const MAX_INSTALLED = 8 * 1024 * 1024;
/** Settings of its web server that an app may bring, as DINP's PHP apps have them. */
const CONFIG_FILES = ['config/nginx.conf', 'config/php.ini', 'config/php-fpm.conf'];

/** Folders of pages, in the order in which they are looked for. Drupal and older Symfony have them in web/. */
const ROOTS = ['public', 'htdocs', '.', 'web'];

/** A PHP site, ready to serve: its own files and, where Composer is used, vendor/. */
export const php: Detector = {
  kind: 'php',
  async detect(candidate) {
    const site = findSite(candidate);
    if (site === undefined) return undefined;
    const read = await readJsonObject(candidate.tree, 'composer.json');
    const composer = read ?? {};
    await checkVendor(candidate, composer);
    const unread =
      read === undefined && regularFile(candidate.tree, 'composer.json') !== undefined
        ? ['composer.json is no JSON object, so that what it requires was not checked.']
        : [];
    const range = objectIn(composer.require)?.php;
    const wanted = typeof range === 'string' ? { range, where: 'composer.json' } : undefined;
    const runtime = chooseRuntime(candidate, 'php', wanted);
    const { image, watch } = layApp(candidate, {
      artifact: 'php',
      runtime,
      folder: '.',
      dependencies: [vendorFolder(composer)],
      command: undefined,
      env: { DOCUMENT_ROOT: site.root === '.' ? runtime.into : `${runtime.into}/${site.root}` },
    });
    return {
      found: `PHP app (${site.evidence})`,
      image,
      watch,
      notes: [...runtime.notes, ...exposed(candidate, site), ...unread],
    };
  },
};

interface Site {
  /** What tells that it is PHP, for people. */
  evidence: string;
  /** Folder whose files visitors see. */
  root: string;
}

function findSite({ tree, manifest }: Candidate): Site | undefined {
  if (manifest.root !== undefined) {
    const { root } = manifest;
    if (tree.treeId(root) === undefined) return undefined;
    const scripts = filesIn(tree, [root])
      .get(root)!
      .filter(({ path }) => path.endsWith('.php'));
    const evidence = firstFile(tree, [joinPath(root, 'index.php')]) ?? scripts[0]?.path;
    if (evidence === undefined && manifest.type !== 'php') return undefined;
    return { evidence: evidence ?? root, root };
  }
  const composed = firstFile(tree, ['composer.json']) !== undefined && tree.treeId('vendor') !== undefined;
  const indexes = (composed ? ROOTS : ROOTS.slice(0, 3)).map((root) => joinPath(root, 'index.php'));
  const index = firstFile(tree, indexes);
  if (index !== undefined) return { evidence: index, root: dirName(index) };
  const configured = firstFile(tree, CONFIG_FILES) !== undefined;
  if (tree.treeId('htdocs') !== undefined && (configured || hasScript(tree, 'htdocs')))
    return { evidence: 'htdocs/', root: 'htdocs' };
  if (composed) return { evidence: 'composer.json and vendor/', root: tree.treeId('public') ? 'public' : '.' };
  const script = manifest.type === 'php' ? firstScript(tree) : undefined;
  return script === undefined ? undefined : { evidence: script, root: '.' };
}

function hasScript(tree: Tree, folder: string): boolean {
  return tree.entries.some(({ path }) => path.startsWith(`${folder}/`) && path.endsWith('.php'));
}

function firstScript(tree: Tree): string | undefined {
  return tree.entries.find(({ path, mode }) => mode !== '120000' && path.endsWith('.php'))?.path;
}

/** @throws DinpError refused where composer.json asks for packages that vendor/ does not have */
async function checkVendor(candidate: Candidate, composer: Record<string, unknown>): Promise<void> {
  const { tree, manifest } = candidate;
  // Whoever names the type says that it runs as it is: Debian's apps have their packages elsewhere.
  if (manifest.type === 'php') return;
  // php, ext-json and composer-runtime-api are no packages; every package has a vendor's name in front.
  const packages = Object.keys(objectIn(composer.require) ?? {}).filter((name) => name.includes('/'));
  if (packages.length === 0) return;
  const folder = vendorFolder(composer);
  const missing = tree.treeId(folder) === undefined ? packages : await notInstalled(tree, folder, packages);
  if (missing.length === 0 && firstFile(tree, [`${folder}/autoload.php`]) !== undefined) return;
  const message =
    tree.treeId(folder) === undefined
      ? `composer.json requires ${listed(packages)}, but ${folder}/ is missing.`
      : missing.length > 0
        ? `composer.json requires ${listed(missing)}, which ${folder}/ does not have.`
        : `${folder}/autoload.php is missing: ${folder}/ is not as Composer left it.`;
  throw new DinpError('refused', message, {
    hint: [
      ...(await ignoredHint(candidate, folder)),
      'Install the packages and commit them:',
      `  composer install --no-dev --optimize-autoloader && git add -f ${folder} && git commit -m "Add ${folder}"`,
      '',
      'Or let the server install them.',
      dockerfileHint(await phpSource.dockerfile(candidate)),
      '',
      'Or, if it runs without them, write into dinp.yml: type: php',
    ].join('\n'),
  });
}

function vendorFolder(composer: Record<string, unknown>): string {
  const named = objectIn(composer.config)?.['vendor-dir'];
  return typeof named === 'string' && /^[\w.-]+(?:\/[\w.-]+)*$/.test(named) ? named : 'vendor';
}

/** Packages without a folder of their own; meta packages have none and stand in Composer's list. */
async function notInstalled(tree: Tree, folder: string, packages: readonly string[]): Promise<string[]> {
  const without = packages.filter(
    (name) =>
      tree.treeId(`${folder}/${name.toLowerCase()}`) === undefined && !tree.find(`${folder}/${name.toLowerCase()}`),
  );
  if (without.length === 0) return [];
  const list = await readJsonObject(tree, `${folder}/composer/installed.json`, MAX_INSTALLED);
  const installed = Array.isArray(list?.packages) ? list.packages.flatMap((item) => objectIn(item)?.name ?? []) : [];
  const elsewhere = new Set(installed.map((name) => String(name).toLowerCase()));
  // Where a package is put elsewhere by its installer (WordPress plugins), the list alone tells.
  return without.filter((name) => !elsewhere.has(name.toLowerCase()));
}

/** A site whose top is served shows visitors what lies there. */
function exposed({ tree }: Candidate, { root }: Site): string[] {
  const found = root === '.' ? firstFile(tree, ['.env', 'dump.sql', 'backup.sql', 'auth.json']) : undefined;
  return found === undefined
    ? []
    : [`${found} lies in the folder that visitors see; move the pages to public/ and leave it above them.`];
}
