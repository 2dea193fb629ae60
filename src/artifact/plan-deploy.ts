import { DinpError } from '../domain/errors.ts';
import type { BaseFacts, DeployPlan, ImagePlan } from '../domain/plan.ts';
import type { Tree } from '../domain/tree.ts';
import { parseAppJson } from './app-json.ts';
import { isLfsPointer, readHeads, readText, regularFile } from './blobs.ts';
import { needsShell } from './command.ts';
import { detect } from './detect.ts';
import type { Artifact } from './detector.ts';
import { folderTree, joinPath } from './folder.ts';
import { parseManifest } from './manifest.ts';
import type { Manifest } from './manifest-schema.ts';
import { planProcesses } from './processes.ts';
import { type Procfile, parseProcfile } from './procfile.ts';

/** A git-lfs pointer is three lines of known length with a number in the last: only files of these sizes need be read. */
const MIN_POINTER = 120;
const MAX_POINTER = 160;

export interface PlanOptions {
  app: string;
  /** What the hosts are: `amd64`, `arm64`, as Go and Docker name them. */
  hostArch: string;
  /** The operator's catalogue: base name to what planning needs of it. */
  bases: ReadonlyMap<string, BaseFacts>;
  /** Closes what planning opened and the plan needs: archives of the commit. */
  scope: AsyncDisposableStack;
}

/**
 * Decides what a commit is deployed as, from the names of its files, the beginnings of some, dinp.yml and Procfile.
 * Nothing is checked out and nothing of the commit is run.
 * @throws DinpError refused, saying what was found and what to do
 */
export async function planDeploy(tree: Tree, options: PlanOptions): Promise<DeployPlan> {
  if (tree.entries.length === 0) throw emptyCommit(options.app);
  const manifest = await readManifest(tree);
  checkRepository(manifest, options.app);
  refuseUnready(manifest);
  const dir = manifest.dir ?? '.';
  if (tree.treeId(dir) === undefined) throw noFolder('dir', dir);
  const folder = folderTree(tree, dir);
  const procfile = await readProcfile(folder);
  const appJsonText = await readText(folder, 'app.json');
  const appJson = appJsonText === undefined ? undefined : parseAppJson(appJsonText);
  const commandsGiven = hasAllCommands(manifest, procfile);
  const control = folder.find('control')?.mode === '100755' && !hasAnyCommand(manifest, procfile);
  const artifact = await detect({ ...options, tree: folder, manifest, control, commandsGiven });
  refuseForeignKeys(manifest, artifact);
  await refusePointers(artifact.tree ?? folder, artifact.image);
  const planned = planProcesses(
    manifest,
    procfile,
    artifact.image.kind === 'layers' ? artifact.image.command !== undefined || hasOwnCommand(artifact) : true,
    appJson,
  );
  refuseShellWithout(artifact.image, options.bases, planned.commands);
  return {
    services: [
      {
        name: options.app,
        found: artifact.found,
        image: artifact.tree === undefined ? inCommit(artifact.image, dir, manifest.context) : artifact.image,
        tree: artifact.tree ?? tree,
        watch: watchIds(tree, manifest, artifact),
        processes: planned.processes,
        env: { ...appJson?.env, ...manifest.env },
        releaseCommand: planned.release,
        timeoutMs: manifest.timeout,
        repository: manifest.image,
        deploys: manifest.deploy ?? true,
      },
    ],
    target: manifest.target,
    domains: manifest.domains ?? [],
    keep: manifest.keep ?? {},
    notes: [...notesOf(manifest, procfile, tree), ...artifact.notes, ...planned.notes, ...(appJson?.notes ?? [])],
  };
}

/** Bases that serve what is laid into them. */
function hasOwnCommand({ image }: Artifact): boolean {
  return image.kind === 'layers' && ['static', 'war', 'php'].includes(image.artifact);
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

/** What has to be fetched or built before there is anything to plan. */
function refuseUnready({ download, builder }: Manifest): void {
  if (download === undefined && builder === undefined) return;
  const [key, what] = download === undefined ? ['builder', 'run builders'] : ['artifact', 'fetch artifacts'];
  throw new DinpError('refused', `dinp.yml has ${key}:, and this version of dinp does not ${what} yet.`, {
    hint: 'Build it, and commit the result or deploy it by "dinp deploy".',
  });
}

function noFolder(key: string, path: string): DinpError {
  return new DinpError('refused', `dinp.yml says ${key}: ${path}, which is no folder of the commit.`, {
    hint: `Correct ${key}: in dinp.yml.`,
  });
}

function hasAnyCommand(manifest: Manifest, procfile: Procfile | undefined): boolean {
  return (
    (procfile?.processes.size ?? 0) > 0 ||
    Object.values(manifest.processes ?? {}).some(({ command }) => command !== undefined)
  );
}

function hasAllCommands(manifest: Manifest, procfile: Procfile | undefined): boolean {
  const named = Object.entries(manifest.processes ?? {});
  return (
    hasAnyCommand(manifest, procfile) &&
    named.every(([name, { command }]) => command !== undefined || procfile?.processes.has(name))
  );
}

/** Keys that mean nothing for what was found are a misunderstanding, and better said than passed over. */
function refuseForeignKeys(manifest: Manifest, { image, found }: Artifact): void {
  if (image.kind === 'dockerfile') return;
  const foreign = (['stage', 'args', 'dockerfile', 'context'] as const).filter((key) => manifest[key] !== undefined);
  if (foreign.length === 0) return;
  throw new DinpError(
    'refused',
    `dinp.yml has ${foreign.join(' and ')}, which a Dockerfile uses; this is a ${found}.`,
    {
      hint: `Remove ${foreign.join(' and ')} from dinp.yml, or add the Dockerfile.`,
    },
  );
}

async function refusePointers(tree: Tree, image: ImagePlan): Promise<void> {
  if (image.kind !== 'layers') return;
  const small = image.files
    .flatMap(({ from }) => tree.find(from) ?? [])
    .filter(({ size, mode }) => size >= MIN_POINTER && size <= MAX_POINTER && mode !== '120000');
  const pointers: string[] = [];
  for await (const { entry, head } of readHeads(tree, small)) if (isLfsPointer(head)) pointers.push(entry.path);
  if (pointers.length === 0) return;
  const are =
    pointers.length === 1
      ? `${pointers[0]} is a git-lfs pointer`
      : `${pointers.length} files are git-lfs pointers, the first is ${pointers[0]}`;
  throw new DinpError('refused', `${are}: the content itself is not in the commit.`, {
    hint: 'dinp has no git-lfs storage. Commit the files themselves:\n  git lfs untrack PATTERN && git add --renormalize . && git commit',
  });
}

/** @throws DinpError refused for commands that need a shell on a base that has none */
function refuseShellWithout(
  image: ImagePlan,
  bases: ReadonlyMap<string, BaseFacts>,
  commands: { where: string; command: readonly string[] }[],
): void {
  if (image.kind !== 'layers' || bases.get(image.base)?.shell !== false) return;
  const needing = commands.find(({ command }) => needsShell(command));
  if (needing === undefined) return;
  throw new DinpError(
    'refused',
    `${needing.where} needs a shell, and the base "${image.base}" has none: ${needing.command.at(-1)}`,
    {
      hint: 'Write it without shell characters ($, quotes, &&; PORT is in the environment), as a list of words in dinp.yml, or choose a base with a shell:\n  base: plain',
    },
  );
}

/** Turns paths of the service's folder into paths of the commit. */
function inCommit(image: ImagePlan, dir: string, context: string | undefined): ImagePlan {
  if (image.kind === 'dockerfile')
    return { ...image, context: context ?? joinPath(dir, image.context), dockerfile: joinPath(dir, image.dockerfile) };
  if (image.kind === 'image') return image;
  return { ...image, files: image.files.map((file) => ({ ...file, from: joinPath(dir, file.from) })) };
}

function watchIds(tree: Tree, manifest: Manifest, artifact: Artifact): string[] {
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
  return manifest.context === undefined ? artifact.watch : [tree.treeId(manifest.context)!];
}

function notesOf(manifest: Manifest, procfile: Procfile | undefined, tree: Tree): string[] {
  const notes: string[] = [];
  const overridden = [...(procfile?.processes.keys() ?? [])].filter(
    (name) => manifest.processes?.[name]?.command !== undefined,
  );
  if (overridden.length > 0) notes.push(`dinp.yml overrides the Procfile's ${overridden.join(', ')}.`);
  if (tree.find('x-platform.yml') !== undefined) notes.push('x-platform.yml is not read by this version.');
  return notes;
}
