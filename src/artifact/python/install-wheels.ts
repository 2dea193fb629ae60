import type { PlacedFile } from '../../domain/plan.ts';
import type { Tree, TreeEntry } from '../../domain/tree.ts';
import { type OverlayPart, overlayTree } from '../overlay-tree.ts';
import { textTree } from '../text-tree.ts';

/** Where opened wheels and made scripts are seen in the tree that the image is made from. */
const WHEELS_AT = '.dinp/wheels';
const SCRIPTS_AT = '.dinp/bin';
const PYTHON = '#!/usr/bin/env python3\n';
const MAX_SCRIPT = 1024 * 1024;
const MODULE = /^[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*$/;

export interface OpenWheel {
  /** Name of its file. */
  file: string;
  /** What is inside. */
  tree: Tree;
}

export interface Installed {
  /** The app's tree, with the wheels' content and the made scripts below folders of their own. */
  tree: Tree;
  files: PlacedFile[];
  /** Ids of what was made here rather than read. */
  made: string;
}

/**
 * Lays wheels as `pip install --target` would, without running anything: a wheel is a zip of what belongs into
 * site-packages (PEP 427), with scripts and data in a folder of their own.
 * @param into folder of the image that is to be on PYTHONPATH; its bin/ is to be on PATH
 */
export async function installWheels(app: Tree, wheels: readonly OpenWheel[], into: string): Promise<Installed> {
  const scripts = new Map<string, { text: string; mode: TreeEntry['mode'] }>();
  const files = new Map<string, PlacedFile>();
  const parts: OverlayPart[] = [{ at: '.', tree: app }];
  for (const { file, tree } of wheels) {
    const at = `${WHEELS_AT}/${file}`;
    parts.push({ at, tree });
    for (const entry of tree.entries) {
      const place = placeOf(entry.path);
      if (place === undefined) continue;
      const from = `${at}/${entry.path}`;
      if (place.script) {
        const text = await pythonScript(tree, entry);
        if (text !== undefined) {
          scripts.set(place.to.replace(/^bin\//, ''), { text, mode: '100755' });
          continue;
        }
      }
      const to = `${into}/${place.to}`;
      // Namespace packages repeat the same small files.
      if (!files.has(to)) files.set(to, { to, from, mode: place.script ? '100755' : entry.mode });
    }
    for (const [name, text] of await entryPoints(tree)) scripts.set(name, { text, mode: '100755' });
  }
  const made = textTree(scripts);
  if (scripts.size > 0) parts.push({ at: SCRIPTS_AT, tree: made });
  for (const name of scripts.keys()) {
    const to = `${into}/bin/${name}`;
    files.set(to, { to, from: `${SCRIPTS_AT}/${name}`, mode: '100755' });
  }
  return { tree: overlayTree(parts), files: [...files.values()], made: made.oid };
}

/** Where a file of a wheel belongs below the folder of packages; undefined for what is only needed to compile. */
function placeOf(path: string): { to: string; script: boolean } | undefined {
  const match = /^[^/]+\.data\/([^/]+)\/(.+)$/.exec(path);
  if (match === null) return { to: path, script: false };
  const [, scheme, rest = ''] = match;
  if (scheme === 'scripts') return { to: `bin/${rest}`, script: true };
  return scheme === 'headers' ? undefined : { to: rest, script: false };
}

/** A script whose first line is `#!python` gets the path of one; any other is taken as it is. */
async function pythonScript(tree: Tree, entry: TreeEntry): Promise<string | undefined> {
  if (entry.size > MAX_SCRIPT) return undefined;
  const text = (await tree.head(entry, MAX_SCRIPT)).toString('utf8');
  return /^#!pythonw?\b/.test(text) ? text.replace(/^#!python[^\n]*\n/, PYTHON) : undefined;
}

/** The commands that a wheel asks to be made, by name (the console_scripts of its entry_points.txt). */
async function entryPoints(tree: Tree): Promise<[string, string][]> {
  const entry = tree.entries.find(({ path }) => /^[^/]+\.dist-info\/entry_points\.txt$/.test(path));
  if (entry === undefined || entry.size > MAX_SCRIPT) return [];
  const text = (await tree.head(entry, MAX_SCRIPT)).toString('utf8');
  const section = /^\[console_scripts\]\s*$([\s\S]*?)(?=^\[|(?![\s\S]))/m.exec(text)?.[1] ?? '';
  return section.split('\n').flatMap((line): [string, string][] => {
    const [, name, module = '', call = ''] = /^\s*([\w.-]+)\s*=\s*([\w.]+)\s*:\s*([\w.]+)/.exec(line) ?? [];
    if (name === undefined || !MODULE.test(module) || !MODULE.test(call)) return [];
    const imported = call.split('.')[0]!;
    return [[name, `${PYTHON}import sys\nfrom ${module} import ${imported}\nsys.exit(${call}())\n`]];
  });
}
