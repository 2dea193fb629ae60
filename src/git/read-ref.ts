import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

const ID = /^[0-9a-f]{40}$/;
const SYMBOLIC = /^ref: (.+)$/;
/** Git's own limit (refs.c). */
const MAX_SYMBOLIC = 5;
const NOT_A_FILE = new Set(['ENOENT', 'EISDIR', 'ENOTDIR', 'ENAMETOOLONG']);

/**
 * Object id that a full ref name (`refs/heads/main`) of a repository points at, read from git's files as git does: the
 * ref's own file, else `packed-refs` (gitrepository-layout(5)). Starting git for it would cost every push some 10 ms.
 * Git packs a ref before it removes its file, so the order of the two looks misses no ref that is being packed.
 * @param repository absolute path of a bare repository with the `files` ref format
 * @returns undefined where there is no such ref or it is broken
 */
export async function readRef(repository: string, ref: string): Promise<string | undefined> {
  let name = ref;
  for (let depth = 0; depth <= MAX_SYMBOLIC && isRefName(name); depth++) {
    const loose = (await readText(join(repository, name)))?.trimEnd();
    if (loose === undefined) return findPacked((await readText(join(repository, 'packed-refs'))) ?? '', name);
    if (ID.test(loose)) return loose;
    const target = SYMBOLIC.exec(loose)?.[1];
    if (target === undefined) return undefined;
    name = target;
  }
  return undefined;
}

/** Whether a name is a ref's and nothing else in the file system: the rules of git-check-ref-format(1) that keep it below `refs/`. */
function isRefName(name: string): boolean {
  const parts = name.split('/');
  return (
    parts.length > 1 &&
    parts[0] === 'refs' &&
    parts.every((part) => part !== '' && !part.startsWith('.') && !part.endsWith('.lock') && !part.includes('..')) &&
    !/[\0-\x20\x7f~^:?*[\\]/.test(name)
  );
}

/** Lines of packed-refs are `<id> <ref>`, beside comments (#) and the targets of tags (^). */
function findPacked(text: string, ref: string): string | undefined {
  const ending = ` ${ref}\n`;
  const at = text.indexOf(ending);
  const id = text.slice(Math.max(0, at - 40), at);
  return at >= 40 && ID.test(id) && (at === 40 || text[at - 41] === '\n') ? id : undefined;
}

async function readText(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (NOT_A_FILE.has((error as NodeJS.ErrnoException).code ?? '')) return undefined;
    throw error;
  }
}
