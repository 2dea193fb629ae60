import { DinpError } from '../../domain/errors.ts';
import type { BaseFacts } from '../../domain/plan.ts';
import type { Tree, TreeEntry } from '../../domain/tree.ts';
import { DEFAULT_LIMITS } from '../archive/limits.ts';
import type { Zip } from '../archive/zip.ts';
import { zipTree } from '../archive/zip-tree.ts';
import { ARTIFACT_FOLDERS, type Artifact, type Candidate, type Detector, isPlumbing } from '../detector.ts';
import { baseName, filesIn, joinPath, type Laid, layFolder } from '../folder.ts';
import type { ServletApi } from '../java/class-file.ts';
import { chooseJavaBase, type JavaBase } from '../java/java-base.ts';
import { inspectWebApp, type WebApp } from '../java/web-app.ts';
import { type OverlayPart, overlayTree } from '../overlay-tree.ts';
import { chooseArchive, openArchive, openNamedArchive } from './archives.ts';

const WAR = /\.war$/i;
const INTO = '/usr/local/tomcat/webapps/ROOT';
/** Where a `control` and what it needs are laid, which the server must not publish. */
const CONTROL_INTO = '/app';

/** A web application found in the commit, packed or not. */
interface Found {
  /** As it lies in the commit. */
  path: string;
  /** The tree that it is in, and the folder of it that holds WEB-INF. */
  tree: Tree;
  folder: string;
}

/** A web application archive, or its tree unpacked, for Tomcat. */
export const war: Detector = {
  kind: 'war',
  async detect(candidate) {
    const found = await find(candidate);
    if (found === undefined) return undefined;
    const app = await inspectWebApp(found.tree, found.folder);
    const api = apiOf(candidate, found, app);
    const base = chooseJavaBase(candidate, { kind: 'war', path: found.path, api, java: app.java?.release });
    const { image, tree, watch } = layOut(candidate, found, base.facts);
    const traits = [api && `${api}.servlet`, app.java && `Java ${app.java.release}`].filter(Boolean).join(', ');
    return {
      found: `web application ${found.path}${traits === '' ? '' : ` (${traits})`}`,
      image: { ...image, base: base.name },
      tree,
      watch,
      notes: notesOn(candidate, found, api, base),
    };
  },
};

function notesOn({ manifest }: Candidate, { path }: Found, api: ServletApi | undefined, base: JavaBase): string[] {
  const { when } = base.facts;
  if (manifest.base === undefined) {
    return api === undefined
      ? [
          `Nothing in ${path} tells which Servlet API it is for; it runs on ${base.name}. If that is wrong, name another base: in dinp.yml.`,
        ]
      : [];
  }
  if (api === undefined || when === undefined || when === api) return [];
  return [`${path} is for ${api}.servlet, and the base "${base.name}" that dinp.yml asks for has ${when}.servlet.`];
}

/** @throws DinpError refused where it uses both, and dinp.yml does not say which server it is for */
function apiOf({ manifest }: Candidate, { path }: Found, { apis }: WebApp): ServletApi | undefined {
  if (apis.size < 2) return [...apis.keys()][0];
  if (manifest.base !== undefined) return undefined;
  throw new DinpError(
    'refused',
    `${path} uses both javax.servlet (${apis.get('javax')}) and jakarta.servlet (${apis.get('jakarta')}).`,
    {
      hint: 'Say in dinp.yml which Tomcat it is for:\n  base: tomcat9\nfor javax.servlet, or tomcat10 for jakarta.servlet.',
    },
  );
}

async function find(candidate: Candidate): Promise<Found | undefined> {
  const { tree, manifest } = candidate;
  if (manifest.artifact !== undefined) {
    if (tree.treeId(joinPath(manifest.artifact, 'WEB-INF')) !== undefined)
      return exploded(candidate, manifest.artifact);
    const named = await openNamedArchive(candidate, WAR);
    return named && isWebApp(named.zip, named.entry) ? await packed(named.entry, named.zip) : undefined;
  }
  const files = filesIn(tree, ARTIFACT_FOLDERS);
  for (const folder of ARTIFACT_FOLDERS) {
    const wars = files.get(folder)!.filter(({ path }) => WAR.test(path));
    if (wars.length > 0) {
      const { entry } = chooseArchive(
        candidate,
        wars.map((war) => ({ entry: war })),
      );
      const { zip } = await openArchive(candidate, entry);
      return isWebApp(zip, entry) ? await packed(entry, zip) : undefined;
    }
    if (tree.treeId(joinPath(folder, 'WEB-INF')) !== undefined) return exploded(candidate, folder);
  }
  return undefined;
}

/** @throws DinpError refused for a war by name that is none */
function isWebApp({ records }: Zip, { path }: TreeEntry): boolean {
  if (records.some(({ name }) => name.startsWith('WEB-INF/'))) return true;
  if (!WAR.test(path)) return false;
  throw new DinpError('refused', `${path} has no WEB-INF/ at its top, so it is no web application.`, {
    hint: `A war holds the contents of the folder, not the folder itself:\n  jar --create --file ${baseName(path)} -C FOLDER .`,
  });
}

async function packed({ path }: TreeEntry, zip: Zip): Promise<Found> {
  return { path, tree: await zipTree(zip, { limits: DEFAULT_LIMITS, strip: false }), folder: '.' };
}

function exploded({ tree }: Candidate, folder: string): Found {
  return { path: joinPath(folder, 'WEB-INF/'), tree, folder };
}

interface WarLayout {
  image: Omit<Extract<Artifact['image'], { kind: 'layers' }>, 'base'>;
  tree: Tree | undefined;
  watch: string[];
}

function layOut(candidate: Candidate, found: Found, facts: BaseFacts): WarLayout {
  const into = facts.into ?? INTO;
  const isArchive = found.tree !== candidate.tree;
  const skip = (path: string) => !isArchive && isUnpublished(path);
  const laid = layFolder(found.tree, found.folder, into, skip);
  const controlled = candidate.control ? layControl(candidate, found, laid) : undefined;
  return {
    image: {
      kind: 'layers',
      artifact: 'war',
      files: controlled?.files ?? laid.files,
      dependencies: laid.files.some(({ to }) => to.startsWith(`${into}/WEB-INF/lib/`)) ? [`${into}/WEB-INF/lib`] : [],
      workdir: controlled && CONTROL_INTO,
      command: controlled && ['./control', 'start'],
      env: {},
      port: undefined,
    },
    tree: controlled?.tree ?? (isArchive ? found.tree : undefined),
    // The archive's own id does not change when the same files are packed at another time.
    watch: controlled?.watch ?? (isArchive ? [found.tree.oid] : laid.watch),
  };
}

/** What lies about in a repository and is nobody's business; below WEB-INF nothing is published. */
function isUnpublished(path: string): boolean {
  if (isPlumbing(path) || path === 'control') return true;
  if (/^(?:WEB|META)-INF\//.test(path)) return false;
  return path.split('/').some((part) => part.startsWith('.') && part !== '.well-known');
}

/** A `control` starts the server in its own way; it and what lies beside it are laid where they are not published. */
function layControl(candidate: Candidate, found: Found, laid: Laid): Laid & { tree: Tree | undefined } {
  const { tree } = candidate;
  const mine = found.folder === '.' && found.tree === tree ? (path: string) => path !== 'control' : isPlumbing;
  const besides = layFolder(tree, '.', CONTROL_INTO, (path) => mine(path) || path === found.path);
  if (found.tree === tree) {
    return { files: [...laid.files, ...besides.files], watch: [...laid.watch, ...besides.watch], tree: undefined };
  }
  // No path of a commit is below a file of it.
  const at = found.path;
  const commit: OverlayPart = { at: '.', tree: without(tree, at) };
  const files = laid.files.map((file) => ({ ...file, from: `${at}/${file.from}` }));
  return {
    files: [...files, ...besides.files],
    watch: [found.tree.oid, ...besides.watch],
    tree: overlayTree([commit, { at, tree: found.tree }]),
  };
}

/** The same tree with one file left out. */
function without(tree: Tree, path: string): Tree {
  const entries = tree.entries.filter((entry) => entry.path !== path);
  return { ...tree, oid: tree.oid, entries, find: (wanted) => (wanted === path ? undefined : tree.find(wanted)) };
}
