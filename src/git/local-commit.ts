import { join } from 'node:path';
import { DinpError } from '../domain/errors.ts';
import { printable } from '../domain/names.ts';
import { type CommitTree, openCommitTree } from './commit-tree.ts';
import { runGit } from './run-git.ts';

/** A checkout on the developer's own machine. */
export interface Checkout {
  /** Absolute path of the git program. */
  git: string;
  /** Folder that holds `.git`. */
  root: string;
}

/**
 * Opens a commit of a checkout.
 * @param revision as git understands it: `HEAD~1`, `main`, `v1.2`, a beginning of a SHA
 * @throws DinpError not-found where there is no such commit, and what openCommitTree throws
 */
export async function openLocalCommit({ git, root }: Checkout, revision: string): Promise<CommitTree> {
  const repository = join(root, '.git');
  const args = ['rev-parse', '--verify', '--quiet', '--end-of-options', `${revision}^{tree}`];
  const { status, stdout } = await runGit({ git, repository, args }, [0, 1, 128]);
  if (status === 0) return await openCommitTree({ git, repository, oid: stdout.trim() });
  throw new DinpError('not-found', `"${printable(revision)}" is neither a file or folder, nor a commit of ${root}.`, {
    hint: 'Name a folder, an artifact (app.war), or a commit such as HEAD~1 or main.',
  });
}
