import { randomBytes } from 'node:crypto';
import { mkdir, open, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DinpError } from '../domain/errors.ts';
import { appNameProblem, printable } from '../domain/names.ts';
import { type CommitTree, openCommitTree } from './commit-tree.ts';
import { readRef } from './read-ref.ts';
import { REPOSITORY_CONFIG } from './repository-config.ts';
import { runGit } from './run-git.ts';

const FULL_ID = /^[0-9a-f]{40}$/;
const SHORT_ID = /^[0-9a-f]{4,40}$/;
/** git's own limit (gc.autoPackLimit). */
const MAX_PACKS = 50;
/** Folders being made or removed: never an app's name, so never served. */
const UNFINISHED = /^\.(?:new|gone)-/;

export interface CommitInfo {
  sha: string;
  /** Object id of the root tree. */
  tree: string;
  parents: string[];
  author: string;
  /** Milliseconds since the epoch, by the author's clock. */
  authoredAt: number;
  /** First line of the message, safe for a terminal. */
  subject: string;
}

export interface Ref {
  name: string;
  oid: string;
}

/** The bare repositories, one an app, in `<data folder>/repositories/<app>.git`. Methods that name an app throw DinpError not-found where it has none. */
export class Repositories {
  readonly #git: string;
  readonly #folder: string;

  /** @param dataFolder absolute @param git absolute path of the git program */
  constructor(dataFolder: string, git: string) {
    this.#git = git;
    this.#folder = join(dataFolder, 'repositories');
  }

  /** Absolute path of an app's repository, whether it is there or not. */
  path(app: string): string {
    const problem = appNameProblem(app);
    if (problem !== undefined) throw new DinpError('usage', `"${printable(app)}" cannot be an app name: ${problem}.`);
    return join(this.#folder, `${app}.git`);
  }

  /** Makes an empty repository whose HEAD is refs/heads/main; it appears whole or not at all. @throws DinpError exists */
  async create(app: string): Promise<void> {
    const path = this.path(app);
    await mkdir(this.#folder, { recursive: true, mode: 0o700 });
    const unfinished = join(this.#folder, `.new-${randomBytes(8).toString('hex')}`);
    try {
      await runGit({
        git: this.#git,
        repository: undefined,
        args: ['init', '--bare', '--quiet', '--template=', '--object-format=sha1', '--initial-branch=main', unfinished],
      });
      await writeFile(join(unfinished, 'config'), REPOSITORY_CONFIG, { flush: true });
      await syncFolder(unfinished);
      await this.#publish(unfinished, path, app);
    } finally {
      await rm(unfinished, { recursive: true, force: true });
    }
  }

  async rename(app: string, to: string): Promise<void> {
    await this.#existing(app);
    await this.#publish(this.path(app), this.path(to), to);
  }

  /** Removes the repository and all its commits. It is gone for everyone before the first file is deleted. */
  async remove(app: string): Promise<void> {
    const gone = join(this.#folder, `.gone-${randomBytes(8).toString('hex')}`);
    await rename(await this.#existing(app), gone);
    await syncFolder(this.#folder);
    await rm(gone, { recursive: true, force: true });
  }

  /** Names of the apps that have a repository, sorted. */
  async list(): Promise<string[]> {
    const names = await readFolder(this.#folder);
    return names
      .filter((name) => name.endsWith('.git'))
      .map((name) => name.slice(0, -'.git'.length))
      .filter((name) => appNameProblem(name) === undefined)
      .sort();
  }

  /** Points HEAD at a branch (short name), which need not exist yet: what a clone checks out. */
  async setHead(app: string, branch: string): Promise<void> {
    await this.#run(app, ['symbolic-ref', 'HEAD', `refs/heads/${branch}`]);
  }

  /** Object id that a full ref name (`refs/heads/main`) points at. */
  async readRef(app: string, ref: string): Promise<string | undefined> {
    return readRef(await this.#existing(app), ref);
  }

  /** Refs at or below a prefix of whole path parts, `refs/heads`, sorted by name. */
  async listRefs(app: string, prefix: string): Promise<Ref[]> {
    // A ref's name holds none of these; in for-each-ref they would make it a pattern.
    if (/[*?[\\]/.test(prefix) || !prefix.startsWith('refs')) return [];
    const { stdout } = await this.#run(app, ['for-each-ref', '--format=%(objectname) %(refname)', prefix]);
    return stdout
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => ({ oid: line.slice(0, line.indexOf(' ')), name: line.slice(line.indexOf(' ') + 1) }));
  }

  /** Keeps a release's commit from being collected, whatever becomes of its branch: `refs/dinp/releases/<number>`. */
  async keepRef(app: string, release: number, sha: string): Promise<void> {
    await this.#run(app, ['update-ref', releaseRef(release), fullId(sha)]);
  }

  /** Lets a release's commit go; fine where it was never kept. */
  async dropRef(app: string, release: number): Promise<void> {
    await this.#run(app, ['update-ref', '-d', releaseRef(release)]);
  }

  /** Numbers of the releases whose commits are kept. */
  async keptReleases(app: string): Promise<number[]> {
    const refs = await this.listRefs(app, 'refs/dinp/releases');
    return refs.map(({ name }) => Number(name.slice(name.lastIndexOf('/') + 1))).filter(Number.isSafeInteger);
  }

  /** Commits that git tags point to, those of the newest tags first. */
  async taggedCommits(app: string, limit: number): Promise<string[]> {
    if (limit === 0) return [];
    const format = '--format=%(if)%(*objectname)%(then)%(*objectname)%(else)%(objectname)%(end)';
    const args = ['for-each-ref', '--sort=-creatordate', `--count=${limit}`, format, 'refs/tags'];
    return (await this.#run(app, args)).stdout.split('\n').filter((line) => line !== '');
  }

  /**
   * The commit that a person means by a branch, a tag, or a full or shortened (4 digits or more) commit id.
   * @throws DinpError not-found
   */
  async resolve(app: string, name: string): Promise<string> {
    const named = (await this.readRef(app, `refs/heads/${name}`)) ?? (await this.readRef(app, `refs/tags/${name}`));
    const id = named ?? (SHORT_ID.test(name) ? name : undefined);
    if (id !== undefined) {
      const { status, stdout } = await this.#run(
        app,
        ['rev-parse', '--verify', '--quiet', `${id}^{commit}`],
        [0, 1, 128],
      );
      if (status === 0) return stdout.trim();
    }
    throw new DinpError('not-found', `${app} has no branch, tag or commit called ${printable(name)}.`, {
      hint: 'A commit must have been pushed, and a shortened id needs enough digits to be the only one.',
    });
  }

  /** @throws DinpError not-found where the repository has no such commit */
  async commitInfo(app: string, sha: string): Promise<CommitInfo> {
    const format = '%H%x00%T%x00%P%x00%an%x00%at%x00%s';
    const args = [
      'log',
      '-1',
      '-z',
      '--no-mailmap',
      '--no-show-signature',
      '--no-notes',
      `--format=${format}`,
      fullId(sha),
      '--',
    ];
    const { status, stdout } = await this.#run(app, args, [0, 128]);
    if (status !== 0) throw noCommit(app, sha);
    const [commit = '', tree = '', parents = '', author = '', time = '', subject = ''] = stdout.split('\0');
    return {
      sha: commit,
      tree,
      parents: parents.split(' ').filter((parent) => parent !== ''),
      author: printable(author),
      authoredAt: Number(time) * 1000,
      subject: printable(subject),
    };
  }

  /** Whether `ancestor` is `sha` or can be reached from it. */
  async isAncestor(app: string, ancestor: string, sha: string): Promise<boolean> {
    const { status } = await this.#run(app, ['merge-base', '--is-ancestor', fullId(ancestor), fullId(sha)], [0, 1]);
    return status === 0;
  }

  /** Paths whose content or mode differs between two commits, in git's order; a moved file counts as two. */
  async changedPaths(app: string, from: string, to: string): Promise<string[]> {
    const args = ['diff-tree', '-r', '-z', '--name-only', '--no-renames', fullId(from), fullId(to)];
    const { stdout } = await this.#run(app, args);
    return stdout.split('\0').filter((path) => path !== '');
  }

  /**
   * Opens the files of a commit for reading; close it (`await using`) to end its git process.
   * @throws DinpError refused for submodules and names that no image can hold, not-found, canceled
   */
  async openTree(app: string, sha: string, signal?: AbortSignal): Promise<CommitTree> {
    const repository = await this.#existing(app);
    const { tree } = await this.commitInfo(app, sha);
    return openCommitTree({ git: this.#git, repository, oid: tree, signal });
  }

  /**
   * Clears what killed processes left behind in all repositories and brings their configuration up to date. Call it
   * only while nothing receives into them: at start, before the front door opens.
   * @returns what was removed, relative to the repositories' folder, for the log
   */
  async sweep(): Promise<string[]> {
    const removed: string[] = [];
    for (const name of await readFolder(this.#folder)) {
      if (!UNFINISHED.test(name)) continue;
      await rm(join(this.#folder, name), { recursive: true, force: true });
      removed.push(name);
    }
    for (const app of await this.list()) {
      removed.push(...(await this.sweepApp(app)));
      await updateConfig(this.path(app));
    }
    return removed;
  }

  /** The same for one app, after a process that received into it died. */
  async sweepApp(app: string): Promise<string[]> {
    const path = await this.#existing(app);
    const objects = (await readFolder(join(path, 'objects')))
      .filter((name) => name.startsWith('tmp_objdir-'))
      .map((name) => join('objects', name));
    const packs = (await readFolder(join(path, 'objects/pack')))
      .filter((name) => name.startsWith('tmp_'))
      .map((name) => join('objects/pack', name));
    const tops = (await readFolder(path)).filter((name) => name.endsWith('.lock'));
    const refs = (await readdir(join(path, 'refs'), { recursive: true }))
      .filter((name) => name.endsWith('.lock'))
      .map((name) => join('refs', name));
    const leftovers = [...objects, ...packs, ...tops, ...refs];
    for (const name of leftovers) await rm(join(path, name), { recursive: true, force: true });
    return leftovers.map((name) => join(`${app}.git`, name));
  }

  /**
   * Joins packs where many have gathered: every push brings one, and git's own gc is off, as it would run in the
   * middle of a push. What no ref reaches goes after two weeks.
   * @returns whether there was something to do
   */
  async maintain(app: string): Promise<boolean> {
    const packs = (await readFolder(join(this.path(app), 'objects/pack'))).filter((name) => name.endsWith('.pack'));
    if (packs.length <= MAX_PACKS) return false;
    await this.#run(app, [
      '-c',
      'pack.threads=1',
      '-c',
      'pack.windowMemory=64m',
      'gc',
      '--quiet',
      '--prune=2.weeks.ago',
    ]);
    return true;
  }

  async #run(app: string, args: string[], accept: readonly number[] = [0]) {
    return runGit({ git: this.#git, repository: await this.#existing(app), args }, accept);
  }

  async #existing(app: string): Promise<string> {
    const path = this.path(app);
    if (await exists(path)) return path;
    throw new DinpError('not-found', `There is no repository of an app called ${app}.`);
  }

  /** Gives a finished folder its name. rename(2) never replaces a repository: the target would have to be empty. */
  async #publish(from: string, to: string, app: string): Promise<void> {
    try {
      await rename(from, to);
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code;
      if (code !== 'ENOTEMPTY' && code !== 'EEXIST') throw error;
      throw new DinpError('exists', `There is already a repository of an app called ${app}.`, { cause: error });
    }
    await syncFolder(this.#folder);
  }
}

function releaseRef(release: number): string {
  if (!Number.isSafeInteger(release) || release < 1) throw new RangeError(`not a release number: ${release}`);
  return `refs/dinp/releases/${release}`;
}

/** Only whole object ids travel to git: they can be neither options nor revision expressions. */
function fullId(sha: string): string {
  if (FULL_ID.test(sha)) return sha;
  throw new DinpError('usage', `"${printable(sha)}" is not a full commit id.`);
}

function noCommit(app: string, sha: string): DinpError {
  return new DinpError('not-found', `${app} has no commit ${sha}.`, { hint: 'Push it again.' });
}

async function updateConfig(repository: string): Promise<void> {
  const path = join(repository, 'config');
  if ((await readFile(path, 'utf8').catch(() => '')) === REPOSITORY_CONFIG) return;
  await writeFile(`${path}.new`, REPOSITORY_CONFIG, { flush: true });
  await rename(`${path}.new`, path);
  await syncFolder(repository);
}

/** Makes creations, removals and renames in a folder survive a power cut. */
async function syncFolder(path: string): Promise<void> {
  await using folder = await open(path, 'r');
  await folder.sync();
}

/** Names in a folder; none where there is no folder. */
async function readFolder(path: string): Promise<string[]> {
  try {
    return await readdir(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    (error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return false;
      throw error;
    },
  );
}
