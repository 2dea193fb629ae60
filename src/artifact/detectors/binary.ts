import { DinpError } from '../../domain/errors.ts';
import type { Tree, TreeEntry } from '../../domain/tree.ts';
import { firstFile, formatOf, rangeReader, readHeads, regularFile } from '../blobs.ts';
import { ARTIFACT_FOLDERS, type Artifact, type Candidate, chooseBase, type Detector, isPlumbing } from '../detector.ts';
import { type ElfFile, readElf } from '../elf.ts';
import { baseName, dirName, filesIn, layFolder } from '../folder.ts';

/** A folder of more files than this that could be programs is a data set. */
const MAX_LOOKED_AT = 1000;
const INTO = '/app';
/** What people put behind a program's name: server-1.2.0, server.linux-amd64. */
const PROGRAM_ENDING = /\.(?:\d[\w-]*|bin|elf|out|run|linux|(?:linux[-_])?(?:amd64|x86_64|arm64|aarch64))$/;

type Libc = 'static' | 'glibc' | 'musl';

interface Program {
  entry: TreeEntry;
  elf: ElfFile;
}

/** An ELF program, with the files beside it. */
export const binary: Detector = {
  kind: 'binary',
  async detect(candidate) {
    const { artifact } = candidate.manifest;
    const folders = artifact === undefined ? ARTIFACT_FOLDERS : [dirName(artifact)];
    const files = filesIn(candidate.tree, folders);
    for (const folder of folders) {
      const looked =
        artifact === undefined ? likely(files.get(folder)!, candidate.app) : [namedArtifact(candidate.tree, artifact)];
      const programs = await findPrograms(candidate, looked);
      if (programs.length > 0) return layOut(candidate, folder, choose(candidate, programs));
    }
    if (artifact === undefined) return undefined;
    throw new DinpError('refused', `dinp.yml says artifact: ${artifact}, which is no Linux program.`, {
      hint: 'Name a file that the build made, such as dist/server. A script is started by "type: plain" and "processes:".',
    });
  },
};

function namedArtifact(tree: Tree, path: string): TreeEntry {
  const entry = regularFile(tree, path);
  if (entry !== undefined) return entry;
  throw new DinpError('refused', `dinp.yml says artifact: ${path}, which is no file of the commit.`, {
    hint: `If it is there, it may be ignored: git add -f ${path}`,
  });
}

/** Programs are executable to git, or have lost that on the way (a commit from Windows) and have a program's name. */
function likely(files: readonly TreeEntry[], app: string): TreeEntry[] {
  const fits = files.filter(({ path, mode, size }) => {
    const name = baseName(path);
    if (size < 52 || /\.so(?:\.|$)/.test(name)) return false;
    return mode === '100755' || name.startsWith(app) || !name.includes('.') || PROGRAM_ENDING.test(name);
  });
  const rank = ({ path, mode }: TreeEntry) => (baseName(path) === app ? 0 : mode === '100755' ? 1 : 2);
  return fits.sort((a, b) => rank(a) - rank(b)).slice(0, MAX_LOOKED_AT);
}

/** @throws DinpError refused for files that are meant as a program and can be none here */
async function findPrograms(candidate: Candidate, entries: readonly TreeEntry[]): Promise<Program[]> {
  const programs: Program[] = [];
  const foreign: DinpError[] = [];
  for await (const { entry, head } of readHeads(candidate.tree, entries)) {
    const format = formatOf(head);
    if (format === 'elf') {
      const elf = await readElf(rangeReader(candidate.tree, entry, head));
      if (elf?.kind === 'program') programs.push({ entry, elf });
    } else if (format !== 'other') foreign.push(foreignProgram(candidate, entry, format));
  }
  if (programs.length === 0 && foreign[0] !== undefined && !isTool(candidate, entries[0]!)) throw foreign[0];
  return programs;
}

/** What lies in bin/ of a PHP, Python or Node.js app is often a tool of those who write it. */
function isTool({ tree, manifest }: Candidate, { path }: TreeEntry): boolean {
  const evidence = [
    'composer.json',
    'index.php',
    'public/index.php',
    'package.json',
    'requirements.txt',
    'app.py',
    'main.py',
  ];
  return manifest.artifact === undefined && dirName(path) !== '.' && firstFile(tree, evidence) !== undefined;
}

/** Why a file that was meant as a program can be none here. */
export function foreignProgram(
  { hostArch }: Candidate,
  { path }: TreeEntry,
  format: 'macos' | 'windows' | 'lfs',
): DinpError {
  if (format === 'lfs') {
    return new DinpError('refused', `${path} is a git-lfs pointer: the program itself is not in the commit.`, {
      hint: `Take it out of git-lfs and commit the file itself:\n  git lfs untrack ${path} && git rm --cached ${path} && git add ${path}`,
    });
  }
  const system = format === 'macos' ? 'macOS' : 'Windows';
  return new DinpError('refused', `${path} is a ${system} program; these hosts run Linux.`, {
    hint: crossCompile(hostArch),
  });
}

function crossCompile(arch: string): string {
  const triple = arch === 'arm64' ? 'aarch64' : 'x86_64';
  return [
    `Build it for Linux on ${arch}, commit it and push again. For example:`,
    `  CGO_ENABLED=0 GOOS=linux GOARCH=${arch} go build`,
    `  cargo build --release --target ${triple}-unknown-linux-musl`,
  ].join('\n');
}

/** The program that is meant. @throws DinpError refused where none fits the hosts, or several do */
function choose(candidate: Candidate, programs: Program[]): Program[] {
  const { app, hostArch, manifest } = candidate;
  const fitting = programs.filter(({ elf }) => elf.arch === hostArch);
  const [first] = programs;
  if (fitting.length === 0) {
    const { entry, elf } = first!;
    throw new DinpError('refused', `${entry.path} is built for ${elf.arch}; these hosts are ${hostArch}.`, {
      hint: crossCompile(hostArch),
    });
  }
  if (fitting.length === 1 || candidate.commandsGiven || (candidate.control && manifest.artifact === undefined))
    return fitting;
  const named = fitting.find(({ entry }) => baseName(entry.path) === app);
  if (named !== undefined) return [named];
  const prefixed = fitting.filter(({ entry }) => new RegExp(`^${app}[-_.]`).test(baseName(entry.path)));
  if (prefixed.length === 1) return prefixed;
  const paths = fitting.map(({ entry }) => entry.path);
  throw new DinpError(
    'refused',
    `Several programs were found, and none is called ${app}: ${paths.slice(0, 10).join(', ')}.`,
    {
      hint: `Say in dinp.yml which one is meant:\n  artifact: ${paths[0]}`,
    },
  );
}

/** @throws DinpError refused for a program whose loader no base has */
function libcOf({ entry, elf }: Program): Libc {
  const { interpreter } = elf;
  if (interpreter === undefined) return 'static';
  if (/^\/lib\/ld-musl-[a-z0-9_]+\.so\.1$/.test(interpreter)) return 'musl';
  if (/^\/lib(?:32|64|x32)?\/(?:[a-z0-9_-]+\/)?ld(?:-linux[a-z0-9_.-]*|64)\.so\.\d$/.test(interpreter)) return 'glibc';
  throw new DinpError('refused', `${entry.path} asks for the loader ${interpreter}, which is in no base.`, {
    hint: 'Build it statically, or on an ordinary Linux distribution, or push a Dockerfile.',
  });
}

function layOut(candidate: Candidate, folder: string, programs: Program[]): Artifact {
  const program = programs[0]!;
  const libcs = new Set(programs.map(libcOf));
  if (libcs.has('glibc') && libcs.has('musl') && candidate.manifest.base === undefined) {
    throw new DinpError('refused', 'The programs need different C libraries: some glibc, some musl.', {
      hint: 'Build them alike, or say in dinp.yml which base has both: base: NAME',
    });
  }
  const libc: Libc = libcs.has('glibc') ? 'glibc' : libcs.has('musl') ? 'musl' : 'static';
  const base = baseFor(candidate, libc);
  const laid = candidate.control || candidate.commandsNamePaths ? '.' : folder;
  const names = new Set(programs.map(({ entry }) => entry.path));
  const { files, watch } = layFolder(candidate.tree, laid, INTO, isPlumbing, names);
  const lost = programs.filter(({ entry }) => entry.mode !== '100755').map(({ entry }) => entry.path);
  const command = candidate.control ? ['./control', 'start'] : [`${INTO}/${baseName(program.entry.path)}`];
  return {
    found: describe(programs, libc),
    image: {
      kind: 'layers',
      artifact: 'binary',
      base,
      files,
      dependencies: [],
      workdir: INTO,
      command: programs.length > 1 && !candidate.control ? undefined : command,
      env: {},
      port: undefined,
    },
    watch,
    notes: lost.map(
      (path) => `${path} is not executable in git; it is made so in the image (git update-index --chmod=+x ${path}).`,
    ),
  };
}

/** For a `control`, which is a script, and for commands with `$PORT`: where the fitting base has no shell, the plain one has. */
function baseFor(candidate: Candidate, libc: Libc): string {
  const wantsShell = candidate.control || candidate.commandsNeedShell;
  if (!wantsShell || candidate.manifest.base !== undefined || libc === 'musl') return chooseBase(candidate, libc).name;
  return candidate.bases.get(libc)?.shell ? libc : chooseBase(candidate, 'plain').name;
}

function describe(programs: Program[], libc: Libc): string {
  const paths = programs.map(({ entry }) => entry.path);
  const what = libc === 'static' ? 'static Linux program' : `Linux program for ${libc}`;
  return `${what}${paths.length > 1 ? 's' : ''} ${paths.join(', ')} (${programs[0]!.elf.arch})`;
}
