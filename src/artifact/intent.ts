import { DinpError } from '../domain/errors.ts';
import type { Tree } from '../domain/tree.ts';
import { type AppJson, parseAppJson } from './app-json.ts';
import { readText, regularFile } from './blobs.ts';
import { folderTree } from './folder.ts';
import { parseManifest } from './manifest.ts';
import type { Manifest } from './manifest-schema.ts';
import { type Procfile, parseProcfile } from './procfile.ts';

/** What the people of a commit say about its deploy: dinp.yml at its top, Procfile and app.json in the service's folder. */
export interface Intent {
  manifest: Manifest;
  /** The service's folder. */
  dir: string;
  /** Its files; paths begin at it. */
  folder: Tree;
  procfile: Procfile | undefined;
  appJson: AppJson | undefined;
}

/**
 * @param asked.base the base that whoever deploys asks for; wins over dinp.yml
 * @throws DinpError refused for an empty commit, and for mistakes in those files
 */
export async function readIntent(tree: Tree, asked: { app: string; base?: string | undefined }): Promise<Intent> {
  const { app, base } = asked;
  if (tree.entries.length === 0) throw emptyCommit(app);
  const written = await readManifest(tree);
  const manifest = base === undefined ? written : { ...written, base };
  checkRepository(manifest, app);
  const dir = manifest.dir ?? '.';
  if (tree.treeId(dir) === undefined) throw noFolder('dir', dir);
  const folder = folderTree(tree, dir);
  const procfile = await readProcfile(folder);
  const appJsonText = await readText(folder, 'app.json');
  const appJson = appJsonText === undefined ? undefined : parseAppJson(appJsonText);
  return { manifest, dir, folder, procfile, appJson };
}

function emptyCommit(app: string): DinpError {
  return new DinpError('refused', 'The commit has no files.', {
    hint: `Add what shall run, for example a page:\n  echo "Hello from ${app}" > index.html && git add index.html && git commit -m "Add a page"`,
  });
}

async function readManifest(tree: Tree): Promise<Manifest> {
  const text = await readNamed(tree, 'dinp.yml');
  if (text !== undefined) return parseManifest(text);
  if (tree.find('dinp.yaml') === undefined) return {};
  throw new DinpError('refused', 'The file must be called dinp.yml; dinp.yaml was found.', {
    hint: 'git mv dinp.yaml dinp.yml && git commit -m "Rename dinp.yaml"',
  });
}

async function readProcfile(folder: Tree): Promise<Procfile | undefined> {
  const text = await readNamed(folder, 'Procfile');
  return text === undefined ? undefined : parseProcfile(text);
}

/** A file that means something by its name: it must be one that can be read. */
async function readNamed(tree: Tree, path: string): Promise<string | undefined> {
  const entry = tree.find(path);
  if (entry === undefined) return undefined;
  const text = await readText(tree, path);
  if (text !== undefined) return text;
  const what =
    regularFile(tree, path) === undefined ? 'a symbolic link, which is not followed' : `${entry.size} bytes long`;
  throw new DinpError('refused', `${path} is ${what}.`, { hint: `Commit an ordinary text file called ${path}.` });
}

/** An app must not write over another app's images. */
function checkRepository({ image }: Manifest, app: string): void {
  if (image === undefined || image === app || image.startsWith(`${app}/`)) return;
  throw new DinpError('refused', `dinp.yml says image: ${image}, and the images of ${app} lie below ${app}/.`, {
    hint: `Write, for example, image: ${app}/web`,
  });
}

export function noFolder(key: string, path: string): DinpError {
  return new DinpError('refused', `dinp.yml says ${key}: ${path}, which is no folder of the commit.`, {
    hint: `Correct ${key}: in dinp.yml.`,
  });
}

/** What dinp.yml and the Procfile say of how processes are started; argv each. */
export function givenCommands(manifest: Manifest, procfile: Procfile | undefined): string[][] {
  const own = Object.values(manifest.processes ?? {}).flatMap(({ command }) =>
    command === undefined ? [] : [command],
  );
  return [...(procfile?.processes.values() ?? []), ...own];
}

/** Whether dinp.yml or the Procfile say how a process is started. */
export function hasAnyCommand(manifest: Manifest, procfile: Procfile | undefined): boolean {
  return givenCommands(manifest, procfile).length > 0;
}

/** Whether they say it of every process. */
export function hasAllCommands(manifest: Manifest, procfile: Procfile | undefined): boolean {
  const named = Object.entries(manifest.processes ?? {});
  return (
    hasAnyCommand(manifest, procfile) &&
    named.every(([name, { command }]) => command !== undefined || procfile?.processes.has(name))
  );
}

/**
 * Ids of what the image is made from: of what dinp.yml watches, of its context, or else `found`.
 * @throws DinpError refused for paths that the commit does not have
 */
export function watchIds(tree: Tree, manifest: Manifest, found: string[]): string[] {
  if (manifest.context !== undefined && tree.treeId(manifest.context) === undefined)
    throw noFolder('context', manifest.context);
  if (manifest.watch !== undefined) {
    return manifest.watch.map((path) => {
      const id = tree.treeId(path) ?? tree.find(path)?.oid;
      if (id !== undefined) return id;
      throw new DinpError('refused', `dinp.yml says watch: ${path}, which is not in the commit.`, {
        hint: 'Correct watch: in dinp.yml.',
      });
    });
  }
  return manifest.context === undefined ? found : [tree.treeId(manifest.context)!];
}

/** Lines that the pusher should read. */
export function notesOf({ manifest, procfile }: Intent, tree: Tree): string[] {
  const notes: string[] = [];
  const overridden = [...(procfile?.processes.keys() ?? [])].filter(
    (name) => manifest.processes?.[name]?.command !== undefined,
  );
  if (overridden.length > 0) notes.push(`dinp.yml overrides the Procfile's ${overridden.join(', ')}.`);
  if (tree.find('x-platform.yml') !== undefined) notes.push('x-platform.yml is not read by this version.');
  return notes;
}
