import { DinpError } from '../../domain/errors.ts';
import { regularFile } from '../blobs.ts';
import { type Candidate, chooseBase, type Detector, hasControl, isPlumbing } from '../detector.ts';
import { layFolder } from '../folder.ts';
import { readPackageJson } from '../source/package-json.ts';
import { findSource } from '../source/source.ts';

const FOLDERS = ['.', 'public', 'dist'];

/** Files for a web server: a folder with an index.html. */
export const staticSite: Detector = {
  kind: 'static',
  async detect(candidate) {
    // A control starts what is wanted; a page beside it is something that it serves.
    if (hasControl(candidate) && candidate.manifest.type !== 'static' && candidate.manifest.root === undefined)
      return undefined;
    const folder = await documentRoot(candidate);
    if (folder === undefined) return undefined;
    const { name, facts } = chooseBase(candidate, 'static-site');
    const hidden: string[] = [];
    const skip = (path: string) => {
      if (!isHidden(path)) return folder === '.' && isPlumbing(path);
      if (!/^\.(?:git|well-known)/.test(path)) hidden.push(path);
      return true;
    };
    const { files, watch } = layFolder(candidate.tree, folder, facts.into ?? '/app', skip);
    return {
      found: `static site in ${folder === '.' ? 'the top folder' : folder} (${files.length} ${files.length === 1 ? 'file' : 'files'})`,
      image: {
        kind: 'layers',
        artifact: 'static',
        base: name,
        files,
        dependencies: [],
        workdir: undefined,
        command: undefined,
        env: {},
        port: undefined,
      },
      watch,
      notes: hidden.length === 0 ? [] : [`Not published, because their names begin with a dot: ${listed(hidden)}.`],
    };
  },
};

/** What a web server must never show (.env, .htpasswd, .git); /.well-known is what the web expects there. */
function isHidden(path: string): boolean {
  return path.split('/').some((part) => part.startsWith('.') && part !== '.well-known');
}

async function documentRoot(candidate: Candidate): Promise<string | undefined> {
  const { tree, manifest } = candidate;
  if (manifest.root !== undefined) {
    if (tree.treeId(manifest.root) !== undefined) return manifest.root;
    throw new DinpError('refused', `dinp.yml says root: ${manifest.root}, which is no folder of the commit.`, {
      hint: 'If it is there, it may be ignored: git check-ignore -v FOLDER',
    });
  }
  const found = (await servedFolders(candidate)).find((folder) =>
    regularFile(tree, folder === '.' ? 'index.html' : `${folder}/index.html`),
  );
  if (found !== undefined || manifest.type !== 'static') return found;
  throw new DinpError('refused', 'dinp.yml says type: static, and there is no index.html in ., public/ or dist/.', {
    hint: 'Name the folder to serve in dinp.yml:\n  root: FOLDER',
  });
}

/** Beside sources an index.html is often a template; only what a build left in dist/ is surely finished. */
async function servedFolders({ tree, manifest, app, hostArch }: Candidate): Promise<string[]> {
  if (manifest.type === 'static') return FOLDERS;
  const source = await findSource({ tree, app, hostArch });
  if (source === undefined) return FOLDERS;
  const manifestOfNode = await readPackageJson(tree);
  return source.marker === 'package.json' && manifestOfNode !== undefined
    ? manifestOfNode.builds
      ? ['dist']
      : FOLDERS
    : [];
}

function listed(paths: string[]): string {
  return paths.length > 5 ? `${paths.slice(0, 5).join(', ')} and ${paths.length - 5} more` : paths.join(', ');
}
