import { readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join, posix } from 'node:path';
import { DinpError } from '../../domain/errors.ts';
import type { BaseRecipe } from './base-recipe.ts';
import { javaTruststore } from './java-truststore.ts';
import type { RootEntry } from './rootfs.ts';
import { run } from './rootfs-process.ts';

/** Files by path. */
type Root = Map<string, RootEntry>;

const CERTIFICATES = 'etc/ssl/certs/ca-certificates.crt';
const TRUSTSTORE = 'etc/ssl/certs/java/cacerts';
/** Folders at the root that are links into usr since Debian 12. */
const MERGED = ['bin', 'sbin', 'lib', 'lib32', 'lib64', 'libx32'];

/** A path of a package in a merged /usr, without `./`; the links at the root themselves keep their names. */
export function mergedPath(name: string): string {
  const path = posix.normalize(name).replace(/^(?:\.\/|\/)+|\/+$/g, '');
  if (path === '.') return '';
  const first = path.split('/', 1)[0]!;
  return MERGED.includes(first) && path !== first ? `usr/${path}` : path;
}

/**
 * Makes the files of packages into a root that works: does what the packages' scripts would, takes out what the recipe
 * does not keep, and adds what it has of its own.
 * @param folder for a program that has to run meanwhile
 * @throws DinpError config where the recipe asks for what no package has
 */
export async function setUpRoot(root: Root, recipe: BaseRecipe, folder: string, signal: AbortSignal): Promise<void> {
  const certificates = authorities(root);
  const hasJava = [...root.keys()].some((path) => path.startsWith('usr/lib/jvm/'));
  enablePhpModules(root);
  for (const path of root.keys()) if (!isKept(path, recipe)) root.delete(path);
  if (recipe.busybox) await linkBusybox(root, folder, signal);
  for (const link of recipeLinks(root, recipe)) root.set(link.path, link);
  if (certificates !== undefined) {
    root.set(CERTIFICATES, textFile(CERTIFICATES, certificates));
    if (hasJava) root.set(TRUSTSTORE, { ...textFile(TRUSTSTORE, ''), content: javaTruststore(certificates) });
    // Where OpenSSL looks by itself.
    if ([...root.keys()].some((path) => /^usr\/lib\/[^/]+\/libssl\.so\.\d/.test(path)))
      root.set('usr/lib/ssl/cert.pem', symlink('usr/lib/ssl/cert.pem', `/${CERTIFICATES}`));
  }
  for (const entry of [...standardFiles(root), ...ownFiles(recipe)]) root.set(entry.path, entry);
  addFolders(root);
}

/** The files that a recipe brings itself. */
export function ownFiles(recipe: BaseRecipe): RootEntry[] {
  return Object.entries(recipe.files).map(([path, { text, mode }]) => ({ ...textFile(path.slice(1), text), mode }));
}

function isKept(path: string, recipe: BaseRecipe): boolean {
  if (MERGED.includes(path)) return false;
  const below = (folder: string): boolean => fits(folder, '(?:/|$)').test(`/${path}`);
  return !recipe.drop.some(below) && (recipe.keep === undefined || recipe.keep.some(below));
}

/** A pattern of a recipe, in which `*` stands for part of a name. */
function fits(pattern: string, end: string): RegExp {
  const source = pattern.replace(/[.+?^${}()|[\]\\]/g, '\\$&').replaceAll('*', '[^/]*');
  return new RegExp(`^${source}${end}`);
}

/** What update-ca-certificates would write: all authorities of the package in one text. */
function authorities(root: Root): string | undefined {
  const paths = [...root.keys()].filter((path) => /^usr\/share\/ca-certificates\/.*\.crt$/.test(path)).sort();
  if (paths.length === 0) return undefined;
  return paths
    .map((path) => contentOf(root.get(path)!).toString('utf8').trimEnd())
    .join('\n')
    .concat('\n');
}

/** What phpenmod would do with every module of the packages, for the command line and for FPM. */
function enablePhpModules(root: Root): void {
  for (const [path, entry] of [...root]) {
    const [, own, shared, name] =
      /^(?:etc\/php\/(\d+\.\d+)\/mods-available|usr\/share\/php(\d+\.\d+)-[^/]+\/[^/]+)\/([^/]+)\.ini$/.exec(path) ??
      [];
    const version = own ?? shared;
    if (version === undefined) continue;
    const priority = /^;\s*priority=(\d+)/m.exec(contentOf(entry).toString('latin1'))?.[1] ?? '20';
    for (const api of ['cli', 'fpm']) {
      const at = `etc/php/${version}/${api}/conf.d/${priority}-${name}.ini`;
      root.set(at, symlink(at, `/${path}`));
    }
  }
}

async function linkBusybox(root: Root, folder: string, signal: AbortSignal): Promise<void> {
  const program = root.get('usr/bin/busybox');
  if (program === undefined)
    throw new DinpError('config', 'The base asks for busybox links, and no package of it has a busybox.');
  const path = join(folder, 'busybox');
  await writeFile(path, contentOf(program), { mode: 0o755 });
  for (const name of (await run(path, ['--list'], signal)).split('\n')) {
    const at = `usr/bin/${name}`;
    if (/^[A-Za-z0-9[_.-]+$/.test(name) && name !== 'busybox') root.set(at, symlink(at, 'busybox'));
  }
}

/** A link to what fits best (the last by name), or, where its path ends in a slash, one for everything that fits. */
function recipeLinks(root: Root, recipe: BaseRecipe): RootEntry[] {
  return Object.entries(recipe.links).flatMap(([link, target]) => {
    const path = mergedPath(link) + (link.endsWith('/') ? '/' : '');
    if (!target.includes('*')) return [symlink(path, target)];
    const pattern = fits(target, '$');
    const found = [...root.keys()].filter((each) => pattern.test(`/${each}`)).sort();
    if (found.length === 0)
      throw new DinpError('config', `The base links ${link} to ${target}, and no file fits that.`);
    if (!path.endsWith('/')) return [symlink(path, `/${found.at(-1)}`)];
    return found.map((each) => symlink(path + posix.basename(each), `/${each}`));
  });
}

/** What every base has: users, name lookup, a place for temporary files. */
function standardFiles(root: Root): RootEntry[] {
  const users =
    'root:x:0:0:root:/root:/bin/sh\nnonroot:x:65532:65532:nonroot:/tmp:/sbin/nologin\nnobody:x:65534:65534:nobody:/nonexistent:/sbin/nologin\n';
  const files = [
    textFile('etc/passwd', users),
    textFile('etc/group', 'root:x:0:\nnonroot:x:65532:\nnogroup:x:65534:\n'),
    textFile('etc/nsswitch.conf', 'hosts: files dns\n'),
    { ...textFile('tmp', ''), type: 'directory' as const, mode: 0o1777 },
    { ...textFile('root', ''), type: 'directory' as const, mode: 0o700 },
  ];
  const used = MERGED.filter((folder) => [...root.keys()].some((path) => path.startsWith(`usr/${folder}/`)));
  return [...files, ...used.map((folder) => symlink(folder, `usr/${folder}`))];
}

function addFolders(root: Root): void {
  for (const path of [...root.keys()]) {
    for (let at = path.indexOf('/'); at >= 0; at = path.indexOf('/', at + 1)) {
      const folder = path.slice(0, at);
      if (!root.has(folder)) root.set(folder, { ...textFile(folder, ''), type: 'directory', mode: 0o755 });
    }
  }
}

/** All bytes of a file. */
export function contentOf(entry: RootEntry): Buffer {
  if (Buffer.isBuffer(entry.content)) return entry.content;
  return readFileSync(entry.content.file);
}

function textFile(path: string, text: string): RootEntry {
  return { path, type: 'file', mode: 0o644, uid: 0, gid: 0, linkname: '', content: Buffer.from(text) };
}

function symlink(path: string, linkname: string): RootEntry {
  return { ...textFile(path, ''), type: 'symlink', mode: 0o777, linkname };
}
