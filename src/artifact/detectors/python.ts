import { DinpError } from '../../domain/errors.ts';
import type { TreeEntry } from '../../domain/tree.ts';
import { openZipEntry } from '../archive/open-archive.ts';
import { firstFile, isLfsPointer, readHeads, readText, regularFile } from '../blobs.ts';
import { ARTIFACT_FOLDERS, type Artifact, type Candidate, type Detector } from '../detector.ts';
import { baseName, dirName, filesIn } from '../folder.ts';
import { findPackages, type Packages } from '../python/packages.ts';
import { dockerfileHint } from '../source/proposal.ts';
import { python as pythonSource } from '../source/python.ts';
import { chooseRuntime, expectedRuntime, layApp, type Runtime } from './runtime.ts';

const FILES = ['app.py', 'main.py', 'server.py', 'wsgi.py'];
/** Files that tell of Python by themselves. */
const EVIDENCE = ['requirements.txt', 'pip_requirements.txt', 'app.py', 'main.py'];
const SYSTEM_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
/** Its output is to be read as it comes; byte code would be lost with the container. */
const ENV = { PYTHONUNBUFFERED: '1', PYTHONDONTWRITEBYTECODE: '1' };

/** A Python app: a zip app, or files with their packages as wheels or unpacked beside them. */
export const python: Detector = {
  kind: 'python',
  async detect(candidate) {
    const zipApp = await findZipApp(candidate);
    if (zipApp !== undefined) return layZipApp(candidate, zipApp);
    const { artifact } = candidate.manifest;
    if (artifact !== undefined) {
      const isScript = artifact.endsWith('.py') && regularFile(candidate.tree, artifact) !== undefined;
      return isScript ? await layFiles(candidate, artifact) : undefined;
    }
    const evidence = firstFile(candidate.tree, EVIDENCE);
    if (evidence === undefined && candidate.manifest.type !== 'python') return undefined;
    return await layFiles(candidate, evidence ?? 'type: python');
  },
};

/** The *.pyz that is meant: dinp.yml's, the app's by name, or the only one of the first folder that has any. */
async function findZipApp(candidate: Candidate): Promise<TreeEntry | undefined> {
  const { tree, app, manifest } = candidate;
  if (manifest.artifact !== undefined) {
    const entry = manifest.artifact.endsWith('.pyz') ? regularFile(tree, manifest.artifact) : undefined;
    return entry && (await checkedZipApp(candidate, entry));
  }
  const files = filesIn(tree, ARTIFACT_FOLDERS);
  for (const folder of ARTIFACT_FOLDERS) {
    const found = files.get(folder)!.filter(({ path }) => path.endsWith('.pyz'));
    if (found[0] === undefined) continue;
    const named = found.find(({ path }) => baseName(path) === `${app}.pyz`);
    if (found.length === 1 || named !== undefined) return await checkedZipApp(candidate, named ?? found[0]);
    const paths = found.map(({ path }) => path);
    throw new DinpError('refused', `Several zip apps were found: ${paths.slice(0, 10).join(', ')}.`, {
      hint: `Say in dinp.yml which one is meant:\n  artifact: ${paths[0]}`,
    });
  }
  return undefined;
}

/** @throws DinpError refused for what Python would not start */
async function checkedZipApp({ tree, scope }: Candidate, entry: TreeEntry): Promise<TreeEntry> {
  for await (const { head } of readHeads(tree, [entry])) {
    if (!isLfsPointer(head)) continue;
    throw new DinpError('refused', `${entry.path} is a git-lfs pointer: the zip app itself is not in the commit.`, {
      hint: `Take it out of git-lfs and commit the file itself:\n  git lfs untrack ${entry.path} && git rm --cached ${entry.path} && git add ${entry.path}`,
    });
  }
  const zip = await openZipEntry(tree, entry, scope);
  if (zip.records.some(({ name }) => name === '__main__.py' || name === '__main__.pyc')) return entry;
  throw new DinpError('refused', `${entry.path} has no __main__.py, so that Python cannot start it.`, {
    hint: 'Make it with a main function:\n  python3 -m zipapp FOLDER -m "package.module:function" -o app.pyz',
  });
}

function layZipApp(candidate: Candidate, { path }: TreeEntry): Artifact {
  const runtime = chooseRuntime(candidate, 'python', undefined);
  const { image, watch } = layApp(candidate, {
    artifact: 'python',
    runtime,
    folder: dirName(path),
    dependencies: [],
    command: ['python3', baseName(path)],
    env: ENV,
  });
  return { found: `Python zip app ${path}`, image, watch, notes: runtime.notes };
}

async function layFiles(candidate: Candidate, evidence: string): Promise<Artifact> {
  const { artifact: named } = candidate.manifest;
  const file = named ?? firstFile(candidate.tree, FILES);
  const notes: string[] = [];
  if (file === undefined && !candidate.commandsGiven && !candidate.control) throw await nothingToStart(candidate);
  const packages = await findPackages(candidate, expectedRuntime(candidate, 'python'));
  const runtime = chooseRuntime(candidate, 'python', undefined);
  if (file !== undefined && !candidate.commandsGiven && !candidate.control)
    notes.push(...(await endsAtOnce(candidate, file)));
  const { image, watch } = layApp(candidate, {
    artifact: 'python',
    runtime,
    folder: '.',
    dependencies: packages.unpacked,
    command: file === undefined ? undefined : ['python3', file],
    env: environment(runtime, packages),
  });
  const wheels = packages.wheels === 0 ? '' : ` with ${packages.wheels} wheel${packages.wheels === 1 ? '' : 's'}`;
  const artifact = { found: `Python app (${file ?? evidence})${wheels}`, notes: [...notes, ...packages.notes] };
  if (packages.installed === undefined) return { ...artifact, image, watch };
  const { installed } = packages;
  const own = image.files.filter(({ from }) => !packages.laidElsewhere.has(from));
  return {
    ...artifact,
    image: {
      ...image,
      files: [...own, ...installed.files],
      dependencies: [...image.dependencies, packages.into],
    },
    tree: installed.tree,
    watch: [...watch, installed.made],
  };
}

function environment(runtime: Runtime, { unpacked, installed, into }: Packages): Record<string, string> {
  const folders = [
    ...(installed === undefined ? [] : [into]),
    ...unpacked.map((folder) => `${runtime.into}/${folder}`),
  ];
  if (folders.length === 0) return ENV;
  return {
    ...ENV,
    PYTHONPATH: folders.join(':'),
    PATH: [...folders.map((folder) => `${folder}/bin`), SYSTEM_PATH].join(':'),
  };
}

async function nothingToStart(candidate: Candidate): Promise<DinpError> {
  const { tree } = candidate;
  const wsgi = tree.entries.find(({ path }) => /^[^/]+\/wsgi\.py$/.test(path));
  const django = regularFile(tree, 'manage.py') !== undefined && wsgi !== undefined;
  return new DinpError('refused', 'Nothing says how this Python app is started: there is no app.py and no main.py.', {
    hint: [
      'Commit a Procfile with one line:',
      django ? `  web: gunicorn --bind 0.0.0.0:$PORT ${dirName(wsgi.path)}.wsgi` : '  web: python3 YOUR_FILE.py',
      '',
      'Or let the server build it.',
      dockerfileHint(await pythonSource.dockerfile(candidate)),
    ].join('\n'),
  });
}

/** Many frameworks are started from outside; a file that only defines an app ends as soon as it is run. */
async function endsAtOnce({ tree }: Candidate, file: string): Promise<string[]> {
  const text = (await readText(tree, file)) ?? '';
  const [, variable, framework = ''] = /^(\w+)\s*(?::[^=\n]+)?=\s*(Flask|FastAPI|Starlette|Quart)\(/m.exec(text) ?? [];
  if (variable === undefined || /\.run\(|serve_forever|serve\(|run_simple|if __name__/.test(text)) return [];
  const module = file.replace(/\.py$/, '');
  const server =
    framework === 'Flask'
      ? `gunicorn --bind 0.0.0.0:$PORT ${module}:${variable}`
      : `uvicorn --host 0.0.0.0 --port $PORT ${module}:${variable}`;
  return [`${file} defines a ${framework} app and starts no server. A Procfile does: "web: ${server}".`];
}
