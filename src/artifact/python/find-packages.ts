import type { Tree, TreeEntry } from '../../domain/tree.ts';
import { type Environment, markerHolds } from './markers.ts';
import { canonicalName, parseRequirement, type Requirement } from './requirements.ts';
import { compareVersions, fitsSpecifier } from './versions.ts';
import { parseWheelName, type WheelName, wheelProblem } from './wheel-name.ts';

const MAX_METADATA = 1024 * 1024;
const MAX_PACKAGES = 1000;

/** A wheel that lies in the commit. */
export interface FoundWheel extends WheelName {
  /** Name of its file. */
  file: string;
  entry: TreeEntry;
}

export interface Host {
  /** Python in the base, `3.11` or `3.11.2`, as far as it is known. */
  version: string | undefined;
  arch: string;
  environment: Environment;
}

/** The wheels of a folder, by package. */
export function wheelsIn(tree: Tree, folder: string): Map<string, FoundWheel[]> {
  const wheels = new Map<string, FoundWheel[]>();
  const prefix = `${folder}/`;
  for (const entry of tree.entries) {
    if (!entry.path.startsWith(prefix) || !entry.path.endsWith('.whl') || entry.mode === '120000') continue;
    const file = entry.path.slice(prefix.length);
    const name = file.includes('/') ? undefined : parseWheelName(file);
    if (name !== undefined) wheels.set(name.name, [...(wheels.get(name.name) ?? []), { ...name, file, entry }]);
  }
  return wheels;
}

export interface Resolved {
  /** Chosen wheels and what is inside, in the order in which they were asked for. */
  wheels: { wheel: FoundWheel; tree: Tree }[];
  /** What is not there, for people: `flask==3 (wheels/ has 2.3.2)`. */
  missing: string[];
}

/**
 * Finds a wheel for each requirement, and for what these wheels require in turn.
 * @param open gives what is inside a wheel
 */
export async function resolveWheels(
  requirements: readonly Requirement[],
  wheels: ReadonlyMap<string, readonly FoundWheel[]>,
  host: Host,
  open: (wheel: FoundWheel) => Promise<Tree>,
): Promise<Resolved> {
  const chosen = new Map<string, { wheel: FoundWheel; tree: Tree; required: Requirement[]; extras: Set<string> }>();
  const missing = new Map<string, string>();
  const waiting = requirements
    .filter((requirement) => counts(requirement, host.environment, ['']))
    .map((requirement) => ({ requirement, by: undefined as string | undefined }));
  for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
    const { requirement, by } = next;
    let known = chosen.get(requirement.name);
    const isNew = known === undefined;
    if (known === undefined) {
      const choice = choose(requirement, wheels.get(requirement.name) ?? [], host);
      if (typeof choice === 'string') {
        const asked = by === undefined ? '' : `needed by ${by}`;
        const why = [asked, choice].filter(Boolean).join('; ');
        if (!missing.has(requirement.name))
          missing.set(requirement.name, why === '' ? requirement.text : `${requirement.text} (${why})`);
        continue;
      }
      if (chosen.size >= MAX_PACKAGES) break;
      const tree = await open(choice);
      known = { wheel: choice, tree, required: await requiredBy(tree), extras: new Set() };
      chosen.set(requirement.name, known);
    }
    const extras = requirement.extras.filter((extra) => !known.extras.has(extra));
    for (const extra of extras) known.extras.add(extra);
    const asked = isNew ? ['', ...extras] : extras;
    if (asked.length === 0) continue;
    for (const further of known.required)
      if (counts(further, host.environment, asked)) waiting.push({ requirement: further, by: requirement.name });
  }
  return { wheels: [...chosen.values()].map(({ wheel, tree }) => ({ wheel, tree })), missing: [...missing.values()] };
}

/** Whether a requirement counts for one of these extras; `''` for none. */
function counts({ marker }: Requirement, environment: Environment, extras: readonly string[]): boolean {
  if (marker === undefined) return extras.includes('');
  return extras.some((extra) => {
    // What counts without an extra has been asked for already.
    if (extra !== '' && !/\bextra\b/.test(marker)) return false;
    return markerHolds(marker, { ...environment, extra });
  });
}

/** The newest wheel that fits, or why none does; empty where there is none of the name. */
function choose(requirement: Requirement, wheels: readonly FoundWheel[], host: Host): FoundWheel | string {
  const versions = wheels.filter(({ version }) => fitsSpecifier(version, requirement.specifier));
  if (versions.length === 0) {
    const had = [...new Set(wheels.map(({ version }) => version))];
    return had.length === 0 ? '' : `there is ${had.join(', ')}`;
  }
  const fitting = versions.filter((wheel) => wheelProblem(wheel, host.version, host.arch) === undefined);
  if (fitting.length === 0) return `${versions[0]!.file} ${wheelProblem(versions[0]!, host.version, host.arch)}`;
  return fitting.sort(
    (a, b) => (compareVersions(b.version, a.version) ?? 0) || (pure(a) ? 1 : 0) - (pure(b) ? 1 : 0),
  )[0]!;
}

function pure({ platforms }: WheelName): boolean {
  return platforms.includes('any');
}

/** What a wheel's own metadata asks for (core metadata, Requires-Dist). */
async function requiredBy(tree: Tree): Promise<Requirement[]> {
  const entry = tree.entries.find(({ path }) => /^[^/]+\.dist-info\/METADATA$/.test(path));
  if (entry === undefined) return [];
  const text = (await tree.head(entry, MAX_METADATA)).toString('utf8');
  const headers = text.split(/\r?\n\r?\n/, 1)[0]!;
  return [...headers.matchAll(/^Requires-Dist:\s*(.+?)\s*$/gm)].flatMap(
    ([, line = '']) => parseRequirement(line) ?? [],
  );
}

/** Folders that packages were unpacked into (`pip install --target`, a virtual environment), by what they hold. */
export function unpackedPackages(tree: Tree): Map<string, Map<string, string>> {
  const folders = new Map<string, Map<string, string>>();
  for (const { path } of tree.entries) {
    if (!path.endsWith('.dist-info/METADATA')) continue;
    const [, folder, name = '', version = ''] = /^(.+)\/([^/]+)-([^/-]+)\.dist-info\/METADATA$/.exec(path) ?? [];
    if (folder === undefined) continue;
    folders.set(folder, (folders.get(folder) ?? new Map()).set(canonicalName(name), version));
  }
  return folders;
}

/** Requirements that none of these packages satisfies. */
export function unsatisfied(
  requirements: readonly Requirement[],
  packages: ReadonlyMap<string, string>,
  environment: Environment,
): string[] {
  return requirements
    .filter((requirement) => counts(requirement, environment, ['']))
    .filter(({ name, specifier }) => {
      const version = packages.get(name);
      return version === undefined || !fitsSpecifier(version, specifier);
    })
    .map(({ text }) => text);
}
