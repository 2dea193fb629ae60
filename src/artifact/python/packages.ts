import { DinpError } from '../../domain/errors.ts';
import type { Tree } from '../../domain/tree.ts';
import { openArchiveEntry } from '../archive/open-archive.ts';
import { firstFile, readText } from '../blobs.ts';
import type { Candidate } from '../detector.ts';
import { dockerfileHint } from '../source/proposal.ts';
import { python as pythonSource } from '../source/python.ts';
import { type FoundWheel, resolveWheels, unpackedPackages, unsatisfied, wheelsIn } from './find-packages.ts';
import { type Installed, installWheels } from './install-wheels.ts';
import { environmentOf } from './markers.ts';
import { parseRequirement, type Requirement, readRequirements } from './requirements.ts';
import { parseWheelName } from './wheel-name.ts';

/** Where wheels are laid in the image, below the app. */
const INTO = '.python-packages';
const WHEEL_FOLDERS = ['wheels', 'wheelhouse'];
const LISTS = ['requirements.txt', 'pip_requirements.txt'];
/** Files of tools that keep a list of their own. */
const OTHER_LISTS: Record<string, string> = {
  'uv.lock': 'uv export --no-dev --no-hashes -o requirements.txt',
  'poetry.lock': 'poetry export -o requirements.txt',
  Pipfile: 'pipenv requirements > requirements.txt',
};

export interface Packages {
  /** What of the wheels goes into the image; undefined where none are needed. */
  installed: Installed | undefined;
  /** Folder of the image in which they are. */
  into: string;
  wheels: number;
  /** Files of the app that need not be in the image: the wheels as they are packed. */
  laidElsewhere: ReadonlySet<string>;
  /** Folders of the app that hold unpacked packages. */
  unpacked: string[];
  notes: string[];
}

/**
 * Finds the packages that an app asks for: as wheels in the commit, or unpacked there.
 * @throws DinpError refused where some are neither, with the command that gets them
 */
export async function findPackages(
  candidate: Candidate,
  runtime: { into: string; version: string | undefined },
): Promise<Packages> {
  const { tree } = candidate;
  const list = await readList(candidate);
  const none: Packages = {
    installed: undefined,
    into: `${runtime.into}/${INTO}`,
    wheels: 0,
    laidElsewhere: new Set(),
    unpacked: [],
    notes: list.others.map((line) => `${list.path}: "${line}" is no package by name; dinp does not install it.`),
  };
  if (list.requirements.length === 0) return none;
  const host = {
    version: runtime.version,
    arch: candidate.hostArch,
    environment: environmentOf(runtime.version, candidate.hostArch),
  };
  const folders = unpackedPackages(tree);
  const there = new Map([...folders.values()].flatMap((packages) => [...packages]));
  if (there.size > 0 && unsatisfied(list.requirements, there, host.environment).length === 0)
    return { ...none, unpacked: [...folders.keys()] };
  const folder = WHEEL_FOLDERS.find((name) => tree.treeId(name) !== undefined);
  if (folder === undefined) {
    if (unsatisfied(list.requirements, new Map(), host.environment).length === 0) return none;
    throw await missingPackages(candidate, runtime.version, list, undefined);
  }
  const open = (wheel: FoundWheel) => openArchiveEntry(tree, wheel.entry, candidate.scope, { strip: false });
  const { wheels, missing } = await resolveWheels(list.requirements, wheelsIn(tree, folder), host, open);
  if (missing.length > 0) throw await missingPackages(candidate, runtime.version, list, { folder, missing });
  const opened = wheels.map(({ wheel, tree }) => ({ file: wheel.file, tree }));
  return {
    ...none,
    installed: await installWheels(tree, opened, none.into),
    wheels: wheels.length,
    laidElsewhere: new Set(
      tree.entries.filter(({ path }) => path.startsWith(`${folder}/`) && path.endsWith('.whl')).map(({ path }) => path),
    ),
  };
}

interface PackageList {
  path: string;
  requirements: Requirement[];
  others: string[];
}

/** What the app asks for: requirements.txt, else the list in pyproject.toml. @throws DinpError refused for lists of other tools */
async function readList(candidate: Candidate): Promise<PackageList> {
  const { tree } = candidate;
  const path = firstFile(tree, LISTS);
  if (path !== undefined) return byFile(path, await readRequirements(tree, path));
  const project = await projectDependencies(tree);
  if (project.length > 0) return { path: 'pyproject.toml', requirements: project, others: [] };
  const other = firstFile(tree, Object.keys(OTHER_LISTS));
  if (other === undefined) return { path: LISTS[0]!, requirements: [], others: [] };
  throw new DinpError('refused', `${other} lists packages, and there is no requirements.txt with wheels/ beside it.`, {
    hint: [
      'Write the list for pip, get the packages and commit both:',
      `  ${OTHER_LISTS[other]}`,
      `  ${downloadCommand(candidate, undefined, LISTS[0]!)}`,
      '',
      'Or let the server install them.',
      dockerfileHint(await pythonSource.dockerfile(candidate)),
    ].join('\n'),
  });
}

/** A line that is the path of a wheel asks for that wheel. */
function byFile(
  path: string,
  { requirements, others }: { requirements: Requirement[]; others: string[] },
): PackageList {
  const list: PackageList = { path, requirements: [...requirements], others: [] };
  for (const line of others) {
    const wheel = parseWheelName(line.replace(/^.*\//, '').replace(/\s*;.*$/, ''));
    if (wheel === undefined) list.others.push(line);
    else list.requirements.push({ text: line, name: wheel.name, extras: [], specifier: '', marker: undefined });
  }
  return list;
}

/** The `dependencies` of a pyproject.toml's [project] (PEP 621). */
async function projectDependencies(tree: Tree): Promise<Requirement[]> {
  const text = (await readText(tree, 'pyproject.toml')) ?? '';
  const project = /^\[project\]\s*$([\s\S]*?)(?=^\[|(?![\s\S]))/m.exec(text)?.[1] ?? '';
  const start = /^dependencies\s*=\s*\[/m.exec(project);
  if (start === null) return [];
  const rest = project.slice(start.index + start[0].length);
  const requirements: Requirement[] = [];
  for (const [token, double, single] of rest.matchAll(/"([^"\n]*)"|'([^'\n]*)'|\]|#[^\n]*/g)) {
    if (token === ']') break;
    const requirement = parseRequirement(double ?? single ?? '');
    if (requirement !== undefined) requirements.push(requirement);
  }
  return requirements;
}

async function missingPackages(
  candidate: Candidate,
  version: string | undefined,
  list: PackageList,
  wheels: { folder: string; missing: readonly string[] } | undefined,
): Promise<DinpError> {
  const names = wheels?.missing ?? list.requirements.map(({ text }) => text);
  const shown = names.length > 5 ? `${names.slice(0, 5).join(', ')} and ${names.length - 5} more` : names.join(', ');
  const message =
    wheels === undefined
      ? `${list.path} asks for ${shown}, and there is no wheels/ with them.`
      : `${list.path} asks for packages that ${wheels.folder}/ does not have: ${shown}.`;
  return new DinpError('refused', message, {
    hint: [
      'Get the packages for these hosts and commit them:',
      `  ${downloadCommand(candidate, version, list.path, wheels?.folder)}`,
      '',
      'Or let the server install them from its package index, which is slow.',
      dockerfileHint(await pythonSource.dockerfile(candidate)),
    ].join('\n'),
  });
}

function downloadCommand(
  { hostArch }: Candidate,
  version: string | undefined,
  list: string,
  folder = WHEEL_FOLDERS[0]!,
): string {
  const machine = hostArch === 'arm64' ? 'aarch64' : 'x86_64';
  const minor = /^\d+\.\d+/.exec(version ?? '')?.[0];
  const python = minor === undefined ? '' : ` --python-version ${minor}`;
  const what = list.endsWith('.txt') ? `-r ${list}` : '.';
  return `pip download ${what} -d ${folder} --only-binary :all: --platform manylinux2014_${machine}${python} && git add -f ${folder}`;
}
