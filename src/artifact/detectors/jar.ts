import { DinpError } from '../../domain/errors.ts';
import type { PlacedFile } from '../../domain/plan.ts';
import type { TreeEntry } from '../../domain/tree.ts';
import { ARTIFACT_FOLDERS, type Candidate, type Detector, isPlumbing } from '../detector.ts';
import { baseName, dirName, filesIn, joinPath, type Laid, layFolder } from '../folder.ts';
import { findClass, type JarManifest, readJarManifest } from '../java/jar-file.ts';
import { chooseJavaBase } from '../java/java-base.ts';
import { type Archive, chooseArchive, isNamedLike, openArchive, openNamedArchive } from './archives.ts';

/** More jars than this in one folder are libraries. */
const MAX_LOOKED_AT = 20;
const INTO = '/app';
const NAME = 'app.jar';
const DEFAULT_PORT = 8080;

interface RunnableJar extends Archive {
  manifest: JarManifest & { mainClass: string };
}

/** A jar that `java -jar` starts. */
export const jar: Detector = {
  kind: 'jar',
  async detect(candidate) {
    const found = await find(candidate);
    if (found === undefined) return undefined;
    const { entry, manifest } = found;
    const laid = layJar(candidate, found);
    const java = await javaOf(found, laid.siblings);
    const base = chooseJavaBase(candidate, { kind: 'jar', path: entry.path, java });
    const port = portOf(candidate);
    return {
      found: `${manifest.startClass === undefined ? 'runnable jar' : 'Spring Boot jar'} ${entry.path}${java === undefined ? '' : ` (Java ${java})`}`,
      image: {
        kind: 'layers',
        artifact: 'jar',
        base: base.name,
        files: laid.files,
        dependencies: laid.dependencies,
        workdir: INTO,
        command: candidate.control ? ['./control', 'start'] : ['java', '-jar', `${INTO}/${NAME}`],
        // Spring Boot does not know PORT, and a value needs no shell to expand it.
        env: { SERVER_PORT: String(port) },
        port,
      },
      watch: laid.watch,
      notes: laid.notes,
    };
  },
};

/** The port that `web` is given as PORT. */
function portOf({ manifest }: Candidate): number {
  const own = manifest.processes?.web;
  const port = (own !== undefined && 'port' in own ? own.port : undefined) ?? manifest.port;
  return port === undefined || port === 'auto' ? DEFAULT_PORT : port;
}

async function find(candidate: Candidate): Promise<RunnableJar | undefined> {
  const { tree, manifest } = candidate;
  const asked = manifest.type === 'jar';
  const ending = asked ? /\.[jw]ar$/i : /\.jar$/i;
  if (manifest.artifact !== undefined) {
    const named = await openNamedArchive(candidate, ending);
    if (named === undefined) return undefined;
    const [runnable] = await runnableOf([named]);
    if (runnable !== undefined) return runnable;
    throw noMainClass(named.entry);
  }
  const files = filesIn(tree, ARTIFACT_FOLDERS);
  for (const folder of ARTIFACT_FOLDERS) {
    const jars = files.get(folder)!.filter(({ path }) => ending.test(path) && !isBesides(path));
    const [first] = jars;
    if (first === undefined) continue;
    const looked = await openAll(candidate, jars);
    const runnable = await runnableOf(looked);
    if (runnable.length > 0) return chooseArchive(candidate, runnable);
    const meant = jars.find((entry) => isNamedLike(candidate, entry)) ?? first;
    if (asked || isMeant(candidate, folder, meant)) throw noMainClass(meant);
  }
  return undefined;
}

/** What build tools leave beside the jar that runs. */
function isBesides(path: string): boolean {
  const name = baseName(path);
  return /-(?:sources|javadoc|plain|tests|test-sources)\.jar$/i.test(name) || name.startsWith('original-');
}

/** Those of the app's name alone, where there are some; all, where there are few. */
async function openAll(candidate: Candidate, jars: TreeEntry[]): Promise<Archive[]> {
  const named = jars.filter((entry) => isNamedLike(candidate, entry));
  const archives: Archive[] = [];
  for (const entry of named.length > 0 ? named : jars.slice(0, MAX_LOOKED_AT)) {
    archives.push(await openArchive(candidate, entry));
  }
  return archives;
}

async function runnableOf(archives: readonly Archive[]): Promise<RunnableJar[]> {
  const runnable: RunnableJar[] = [];
  for (const archive of archives) {
    const manifest = await readJarManifest(archive.zip);
    if (manifest?.mainClass !== undefined) {
      runnable.push({ ...archive, manifest: { ...manifest, mainClass: manifest.mainClass } });
    }
  }
  return runnable;
}

/** A jar in a repository of something else (a driver, a tool) is no failed attempt at an app. */
function isMeant(candidate: Candidate, folder: string, entry: TreeEntry): boolean {
  if (isNamedLike(candidate, entry) || folder === 'target' || folder === 'build/libs') return true;
  const others =
    /^(?:index\.(?:php|html)|public\/index\.(?:php|html)|composer\.json|package\.json|requirements\.txt|(?:app|main)\.py|control)$/;
  return folder === '.' && !candidate.tree.entries.some(({ path }) => others.test(path));
}

function noMainClass({ path }: TreeEntry): DinpError {
  return new DinpError(
    'refused',
    `${path} has no Main-Class in its META-INF/MANIFEST.MF, so java -jar cannot start it.`,
    {
      hint: [
        'Have the build make a runnable jar with its libraries in it:',
        '  Maven:  the spring-boot-maven-plugin or maven-shade-plugin (mainClass)',
        "  Gradle: the application plugin with shadowJar, or Spring Boot's bootJar",
        '  by hand: jar --create --file app.jar --main-class MAIN -C CLASSES .',
      ].join('\n'),
    },
  );
}

/**
 * The Java that the main class needs. Spring Boot's own loader is the main class of its jars, and starts another.
 * @throws DinpError refused where the main class is nowhere
 */
async function javaOf({ entry, zip, manifest }: RunnableJar, siblings: number): Promise<number | undefined> {
  const main = await findClass(zip, manifest.mainClass);
  const started = manifest.startClass === undefined ? undefined : await findClass(zip, manifest.startClass);
  if (main === undefined && siblings === 0) {
    throw new DinpError('refused', `${entry.path} names the main class ${manifest.mainClass}, which is not in it.`, {
      hint: 'Look at it with:  unzip -l FILE, and correct Main-Class, or Class-Path where the class is in another jar.',
    });
  }
  if (main === undefined || started === undefined) return main?.java ?? started?.java;
  return Math.max(main.java, started.java);
}

interface LaidJar extends Laid {
  dependencies: string[];
  notes: string[];
  /** How many files of its class path were found beside it. */
  siblings: number;
}

function layJar(candidate: Candidate, { entry, manifest }: RunnableJar): LaidJar {
  const own: PlacedFile = { to: `${INTO}/${NAME}`, from: entry.path, mode: '100644' };
  // A control knows the jar, as all the rest, by the name that it has in the commit.
  if (candidate.control) return layAround(candidate, '.', isPlumbing, []);
  if (runsFromItsFolder(candidate, entry)) {
    const skip = (path: string) => isPlumbing(path) || path === NAME || path === baseName(entry.path);
    return layAround(candidate, dirName(entry.path), skip, [own]);
  }
  const { files, missing } = classPath(candidate, entry, manifest.classPath);
  // A command of the pusher's own knows the jar by the name that it has in the commit.
  const committed = { ...own, to: `${INTO}/${entry.path}` };
  const again = candidate.commandsGiven && committed.to !== own.to ? [committed] : [];
  const folders = files.map(({ to }) => dirName(to)).filter((folder) => folder !== INTO);
  return {
    files: [own, ...again, ...files],
    watch: [entry.oid, ...files.flatMap(({ from }) => candidate.tree.find(from)?.oid ?? [])],
    dependencies: [...new Set(folders)],
    notes:
      missing.length === 0
        ? []
        : [
            `${entry.path} names ${listed(missing)} in its Class-Path, which ${missing.length === 1 ? 'is' : 'are'} not beside it.`,
          ],
    siblings: files.length,
  };
}

/** All of a folder, and `more`. */
function layAround({ tree }: Candidate, folder: string, skip: (path: string) => boolean, more: PlacedFile[]): LaidJar {
  const { files, watch } = layFolder(tree, folder, INTO, skip);
  const dependencies = files.some(({ to }) => to.startsWith(`${INTO}/lib/`)) ? [`${INTO}/lib`] : [];
  return {
    files: [...more, ...files],
    watch: [...more.flatMap(({ from }) => tree.find(from)?.oid ?? []), ...watch],
    dependencies,
    notes: [],
    siblings: files.length,
  };
}

/** Quarkus's runner reads folders beside it that its class path does not name. */
function runsFromItsFolder({ tree }: Candidate, { path }: TreeEntry): boolean {
  return tree.find(joinPath(dirName(path), 'quarkus/quarkus-application.dat')) !== undefined;
}

/** The files that a jar's Class-Path names beside it, at the same places beside /app/app.jar. */
function classPath({ tree }: Candidate, { path }: TreeEntry, names: readonly string[]) {
  const folder = dirName(path);
  const files = new Map<string, PlacedFile>();
  const missing: string[] = [];
  for (const name of names) {
    if (name.startsWith('/') || name.includes(':') || name.split('/').includes('..')) {
      missing.push(name);
      continue;
    }
    const from = joinPath(folder, name.replace(/\/+$/, ''));
    const inside = name.endsWith('/') ? tree.entries.filter((entry) => entry.path.startsWith(`${from}/`)) : [];
    const entries = [...inside, ...[tree.find(from)].filter((entry) => entry !== undefined)];
    if (entries.length === 0) missing.push(name);
    for (const entry of entries) {
      const to = `${INTO}/${folder === '.' ? entry.path : entry.path.slice(folder.length + 1)}`;
      if (to !== `${INTO}/${NAME}`) files.set(to, { to, from: entry.path, mode: entry.mode });
    }
  }
  return { files: [...files.values()], missing };
}

function listed(names: readonly string[]): string {
  return names.length > 5 ? `${names.slice(0, 5).join(', ')} and ${names.length - 5} more` : names.join(', ');
}
