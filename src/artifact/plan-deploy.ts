import type { Compiled } from '../domain/compile-plan.ts';
import { DinpError } from '../domain/errors.ts';
import type { BaseFacts, DeployPlan, ImagePlan, ServicePlan } from '../domain/plan.ts';
import type { Tree } from '../domain/tree.ts';
import { isLfsPointer, readHeads } from './blobs.ts';
import { needsShell } from './command.ts';
import { openCommittedArchive } from './committed-archive.ts';
import { detect } from './detect.ts';
import { type Artifact, hasControl } from './detector.ts';
import { joinPath } from './folder.ts';
import { givenCommands, hasAllCommands, hasAnyCommand, type Intent, notesOf, readIntent, watchIds } from './intent.ts';
import { refuseWindowsScripts } from './line-ends.ts';
import type { Download, Manifest } from './manifest-schema.ts';
import { withAskedDockerfile } from './plan-compile.ts';
import { type PlannedProcesses, planProcesses } from './processes.ts';

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
  /** The base that whoever deploys asks for; wins over dinp.yml. */
  base?: string | undefined;
  /** The tree of an artifact that dinp.yml names by address; undefined where nothing can be fetched. */
  fetchArtifact?: ((artifact: Download) => Promise<Tree & AsyncDisposable>) | undefined;
}

/**
 * Decides what a commit is deployed as, from the names of its files, the beginnings of some, dinp.yml and Procfile.
 * Nothing is checked out and nothing of the commit is run.
 * @throws DinpError refused, saying what was found and what to do; also for commits that are compiled first (planCompile)
 */
export async function planDeploy(tree: Tree, options: PlanOptions): Promise<DeployPlan> {
  const { intent, unpacked } = await unpack(tree, await readIntent(tree, options), options);
  const { manifest, dir } = intent;
  if (manifest.builder !== undefined) {
    throw new DinpError('refused', 'dinp.yml has a builder, and lies in an archive of the commit.', {
      hint: 'Commit what is in the archive, unpacked: a builder works on the files of a commit.',
    });
  }
  const { artifact, processes } = await planFiles(unpacked ?? intent.folder, intent, options);
  refuseForeignKeys(manifest, artifact, ['stage', 'args', 'dockerfile', 'context']);
  const own = artifact.tree ?? unpacked;
  return deployPlan(tree, intent, processes, artifact.notes, {
    name: options.app,
    found: artifact.found,
    image: own === undefined ? inCommit(artifact.image, dir, manifest.context) : artifact.image,
    tree: own ?? tree,
    watch: unpacked === undefined ? watchIds(tree, manifest, artifact.watch) : artifact.watch,
  });
}

/**
 * Where the commit names an archive by address or by path, or is nothing but one: the files inside, and what is said of how
 * they run. That is the commit's word, or the archive's own where the commit has none.
 */
async function unpack(
  tree: Tree,
  intent: Intent,
  options: PlanOptions,
): Promise<{ intent: Intent; unpacked: Tree | undefined }> {
  const fetched = await fetchArtifact(intent.manifest, options);
  if (fetched !== undefined) return { intent, unpacked: fetched };
  const opened = await openArchiveOf(intent.folder, intent, options);
  const silent = ['dinp.yml', 'Procfile', 'app.json'].every((path) => tree.find(path) === undefined);
  if (opened.unpacked === undefined || !silent) return opened;
  const own = await readIntent(opened.unpacked, options);
  return { intent: own, unpacked: own.folder };
}

/** What is inside the archive that files are, and the intent as it holds for that; the same intent where they are none. */
async function openArchiveOf(
  files: Tree,
  intent: Intent,
  { scope }: PlanOptions,
): Promise<{ intent: Intent; unpacked: Tree | undefined }> {
  const archive = await openCommittedArchive(files, intent.manifest, scope);
  if (archive === undefined) return { intent, unpacked: undefined };
  // The archive's own path means nothing inside of it.
  const { artifact: _packed, ...manifest } = intent.manifest;
  return 'program' in archive
    ? { intent: { ...intent, manifest: { ...manifest, artifact: archive.program } }, unpacked: undefined }
    : { intent: { ...intent, manifest }, unpacked: archive.tree };
}

/** What dinp.yml names by address, in place of the commit's files. */
async function fetchArtifact({ download }: Manifest, options: PlanOptions): Promise<Tree | undefined> {
  if (download === undefined) return undefined;
  if (options.fetchArtifact !== undefined) return options.scope.use(await options.fetchArtifact(download));
  throw new DinpError('refused', `dinp.yml has an artifact by address, which is fetched only where it is deployed.`, {
    hint: 'Push it, or look at the file itself:  dinp detect FILE',
  });
}

/**
 * Decides what a commit whose builder has run is deployed as: what the builder left, looked at as if it had been pushed;
 * dinp.yml, Procfile and app.json are still those of the commit.
 * @throws DinpError refused
 */
export async function planCompiled(tree: Tree, compiled: Compiled, options: PlanOptions): Promise<DeployPlan> {
  const intent = await readIntent(tree, options);
  const name = options.app;
  if (compiled.kind === 'kept') {
    const { contentKey } = compiled;
    const image = { kind: 'kept' as const, contentKey };
    const processes = planProcesses(intent, { artifact: compiled.artifact, imageStarts: true });
    return deployPlan(tree, intent, processes, [], { name, found: 'what was compiled before', image, tree, watch: [] });
  }
  const left = await openArchiveOf(compiled.tree, intent, options);
  const files = withAskedDockerfile(left.unpacked ?? compiled.tree, intent);
  const { artifact, processes } = await planFiles(files, left.intent, options);
  refuseForeignKeys(intent.manifest, artifact, ['stage', 'dockerfile']);
  const { found, image, watch, notes } = artifact;
  return deployPlan(tree, intent, processes, notes, { name, found, image, tree: artifact.tree ?? files, watch });
}

/** Finds out what files are, and what runs of them. */
async function planFiles(
  files: Tree,
  { manifest, procfile, appJson }: Intent,
  options: PlanOptions,
): Promise<{ artifact: Artifact; processes: PlannedProcesses }> {
  const commandsGiven = hasAllCommands(manifest, procfile);
  const control = hasControl({ tree: files }) && !hasAnyCommand(manifest, procfile);
  const given = givenCommands(manifest, procfile);
  const release = manifest.release ?? procfile?.release ?? [];
  const artifact = await detect({
    ...options,
    tree: files,
    manifest,
    control,
    commandsGiven,
    commandsNamePaths: given.some((command) => namesPath(files, command)),
    commandsNeedShell: [...given, release].some(needsShell),
  });
  await refusePointers(artifact.tree ?? files, artifact.image);
  const imageStarts =
    artifact.image.kind === 'layers' ? artifact.image.command !== undefined || hasOwnCommand(artifact) : true;
  const processes = planProcesses(
    { manifest, procfile, appJson },
    { artifact: artifact.image.kind === 'layers' ? artifact.image.artifact : undefined, imageStarts },
  );
  refuseShellWithout(artifact.image, options.bases, processes.commands);
  if (artifact.image.kind === 'layers') {
    const commands = processes.commands.map(({ command }) => command);
    await refuseWindowsScripts(files, [artifact.image.command ?? [], ...commands]);
  }
  return { artifact: { ...artifact, image: withWritable(artifact.image, options.bases, processes) }, processes };
}

/** Whether a command has a file below a folder in it, by its path from the top. */
function namesPath(files: Tree, command: readonly string[]): boolean {
  const words = command.flatMap((word) => word.split(/[\s"'=]/)).map((word) => word.replace(/^(?:\.\/)+/, ''));
  return words.some((word) => word.includes('/') && files.find(word) !== undefined);
}

/** Where artifacts are laid in bases that do not say it. */
const INTO = '/app';

/** Says which folders the app can write to: its own, and those of its volumes. */
function withWritable(
  image: ImagePlan,
  bases: ReadonlyMap<string, BaseFacts>,
  { processes }: PlannedProcesses,
): ImagePlan {
  if (image.kind !== 'layers') return image;
  const own = [bases.get(image.base)?.into ?? INTO, image.workdir ?? INTO].filter((folder) => folder !== '/');
  const volumes = processes.flatMap((process) => Object.values(process.volumes));
  return { ...image, writable: [...new Set(own)].sort(), volumes: [...new Set(volumes)].sort() };
}

function deployPlan(
  tree: Tree,
  intent: Intent,
  planned: PlannedProcesses,
  notes: readonly string[],
  made: Pick<ServicePlan, 'name' | 'found' | 'image' | 'tree' | 'watch'>,
): DeployPlan {
  const { manifest, appJson } = intent;
  return {
    services: [
      {
        ...made,
        processes: planned.processes,
        env: { ...appJson?.env, ...manifest.env },
        releaseCommand: planned.release,
        timeoutMs: manifest.timeout,
        repository: manifest.image,
        deploys: manifest.deploy ?? true,
      },
    ],
    target: manifest.target ?? (manifest.hosts ? 'hosts' : manifest.fleet && 'fleet'),
    hosts: manifest.hosts,
    fleet: manifest.fleet,
    domains: manifest.domains ?? [],
    keep: manifest.keep ?? {},
    notes: [...notesOf(intent, tree), ...notes, ...planned.notes, ...(appJson?.notes ?? [])],
  };
}

/** Bases that serve what is laid into them. */
function hasOwnCommand({ image }: Artifact): boolean {
  return image.kind === 'layers' && ['static', 'war', 'php'].includes(image.artifact);
}

/** Keys that mean nothing for what was found are a misunderstanding, and better said than passed over. */
function refuseForeignKeys(
  manifest: Manifest,
  { image, found }: Artifact,
  keys: readonly ('stage' | 'args' | 'dockerfile' | 'context')[],
): void {
  if (image.kind === 'dockerfile') return;
  const foreign = keys.filter((key) => manifest[key] !== undefined);
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
  if (image.kind !== 'layers') return image;
  return { ...image, files: image.files.map((file) => ({ ...file, from: joinPath(dir, file.from) })) };
}
