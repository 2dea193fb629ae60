import { createHash } from 'node:crypto';
import { DinpError } from '../../domain/errors.ts';
import { printable } from '../../domain/names.ts';
import type { ImagePlan, PlacedFile } from '../../domain/plan.ts';
import type { Tree, TreeEntry } from '../../domain/tree.ts';
import type { Owned } from './owned-folders.ts';

export type LayersPlan = Extract<ImagePlan, { kind: 'layers' }>;

/** One file of a layer. */
export interface LaidFile {
  /** Path in the image, without the leading `/`. */
  path: string;
  /** A link stays a link whatever mode was asked for. */
  mode: TreeEntry['mode'];
  entry: TreeEntry;
}

/** What makes a layer, lower ones first. */
export type LayerName = 'dependencies' | 'application';

/** A layer that is to be: known in full before a file is read. */
export interface Layout {
  name: LayerName;
  /** In the byte order of their paths. */
  files: LaidFile[];
  /** Of all contents. */
  bytes: number;
  /** undefined where all of it is root's. */
  owned?: Owned | undefined;
  /** 64 hex digits: equal exactly where the layer's tar is equal. */
  key: string;
}

/** Raised whenever the same files would give another tar. */
const LAYER_VERSION = 1;

/**
 * Folders that only the base may fill. In merged-usr systems the first ones are links, which a folder of ours would replace, and with
 * them every program of the base; the others are the kernel's.
 */
export const CLOSED: ReadonlySet<string> = new Set([
  'bin',
  'sbin',
  'lib',
  'lib32',
  'lib64',
  'libx32',
  'dev',
  'proc',
  'sys',
]);

/**
 * Sorts a plan's files into at most two layers: those of its dependency folders below, the others above. A layer without files is left out.
 * The same file placed twice counts once.
 * @throws DinpError refused for files that the tree does not have, paths that an image cannot have, and two things at one path
 */
export function layOut(plan: LayersPlan, tree: Tree): Layout[] {
  const files = new Map<string, LaidFile & { from: string }>();
  for (const placed of plan.files) {
    const file = layFile(placed, tree);
    const other = files.get(file.path);
    if (other !== undefined && (other.entry.oid !== file.entry.oid || other.mode !== file.mode)) {
      throw new DinpError(
        'refused',
        `${printable(other.from)} and ${printable(file.from)} would both be /${printable(file.path)} in the image.`,
        { hint: 'Rename or remove one of them, commit and push again.' },
      );
    }
    files.set(file.path, file);
  }
  for (const path of files.keys()) refuseShadow(path, files);
  const prefixes = plan.dependencies.map((folder) => `${folder.replace(/^\/+|\/+$/g, '')}/`);
  const layers: Record<LayerName, LaidFile[]> = { dependencies: [], application: [] };
  for (const { path, mode, entry } of files.values()) {
    const below = prefixes.some((prefix) => path.startsWith(prefix));
    layers[below ? 'dependencies' : 'application'].push({ path, mode, entry });
  }
  return (['dependencies', 'application'] as const).flatMap((name) => {
    const sorted = sortByPath(layers[name]);
    if (sorted.length === 0) return [];
    const bytes = sorted.reduce((sum, { entry }) => sum + entry.size, 0);
    return [{ name, files: sorted, bytes, key: layerKey(sorted) }];
  });
}

function layFile(placed: PlacedFile, tree: Tree): LaidFile & { from: string } {
  const { from, to } = placed;
  const entry = tree.find(from);
  if (entry === undefined) throw new DinpError('refused', `${printable(from)} is not in the commit.`);
  const refuse = (why: string): DinpError =>
    new DinpError('refused', `${printable(from)} cannot be ${printable(to)} in an image: ${why}.`);
  const parts = to.split('/').slice(1);
  if (!to.startsWith('/') || parts.some((part) => part === '' || part === '.' || part === '..'))
    throw refuse('it is not an absolute path');
  if (to.includes('\0')) throw refuse('it holds a NUL');
  if (CLOSED.has(parts[0]!)) throw refuse(`/${parts[0]} is for the base alone`);
  if (parts.some((part) => part.startsWith('.wh.')))
    throw refuse('in a layer, names that begin with ".wh." mean that a file is deleted');
  return {
    path: parts.join('/'),
    mode: entry.mode === '120000' ? entry.mode : (placed.mode ?? entry.mode),
    entry,
    from,
  };
}

/** A file (or link) where another file needs a folder would take it away, or be taken away. */
function refuseShadow(path: string, files: ReadonlyMap<string, { from: string }>): void {
  for (let at = path.indexOf('/'); at >= 0; at = path.indexOf('/', at + 1)) {
    const shadow = files.get(path.slice(0, at));
    if (shadow === undefined) continue;
    throw new DinpError(
      'refused',
      `${printable(shadow.from)} would be a file at /${printable(path.slice(0, at))}, where ${printable(files.get(path)!.from)} needs a folder.`,
      { hint: 'Rename one of them, commit and push again.' },
    );
  }
}

function sortByPath(files: LaidFile[]): LaidFile[] {
  return files
    .map((file) => ({ file, bytes: Buffer.from(file.path) }))
    .sort((a, b) => Buffer.compare(a.bytes, b.bytes))
    .map(({ file }) => file);
}

function layerKey(files: readonly LaidFile[]): string {
  const hash = createHash('sha256').update(`layer ${LAYER_VERSION}\0`);
  for (const { path, mode, entry } of files) hash.update(`${mode} ${entry.oid} ${entry.size} ${path}\0`);
  return hash.digest('hex');
}
