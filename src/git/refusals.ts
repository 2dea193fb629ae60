import { DinpError } from '../domain/errors.ts';
import { printable } from '../domain/names.ts';

/** Longest path that is taken, bytes. */
export const MAX_PATH_BYTES = 4096;
const PROBLEMS_SHOWN = 5;

/** Why no image can have a file of this name; undefined where one can. */
export function nameProblem(path: string): string | undefined {
  if (/[\u0000-\u001f\u007f-\u009f]/.test(path)) return 'holds a control character';
  if (Buffer.byteLength(path) > MAX_PATH_BYTES) return `is longer than ${MAX_PATH_BYTES} bytes`;
  for (const part of path.split('/')) {
    if (part === '' || part === '.' || part === '..') return `has "${part}" as a part`;
    if (part.toLowerCase() === '.git') return 'has ".git" as a part';
  }
  return undefined;
}

/** Everything in a commit that cannot be deployed, gathered so that it is all said at once. */
export class Refusals {
  readonly #submodules: string[] = [];
  readonly #names: string[] = [];

  /** Notes a path that holds a submodule. */
  submodule(path: string): void {
    this.#submodules.push(path);
  }

  /** Notes a name, and what is wrong with it. */
  name(path: string, problem: string): void {
    this.#names.push(`"${printable(path)}" ${problem}`);
  }

  /** @throws DinpError refused where anything was noted */
  throwAny(): void {
    if (this.#names.length > 0) {
      throw new DinpError('refused', `The commit has names that cannot be deployed: ${listed(this.#names)}.`, {
        hint: 'Rename with git mv, commit and push again.',
      });
    }
    const [path] = this.#submodules;
    if (path === undefined) return;
    const are = this.#submodules.length > 1 ? 'are submodules' : 'is a submodule';
    const message = `${listed(this.#submodules)} ${are}: the commit holds a pointer to another repository, not its files.`;
    throw new DinpError('refused', message, {
      hint: `Commit the files themselves:\n  git rm --cached ${path} && rm -rf ${path}/.git && git add ${path}\n  git commit -m "Take ${path} into this repository"`,
    });
  }
}

function listed(paths: string[]): string {
  const shown = paths.slice(0, PROBLEMS_SHOWN).join(', ');
  return paths.length > PROBLEMS_SHOWN ? `${shown} and ${paths.length - PROBLEMS_SHOWN} more` : shown;
}
