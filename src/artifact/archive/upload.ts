import { createHash } from 'node:crypto';
import type { Tree, TreeEntry } from '../../domain/tree.ts';
import { archiveTree } from './archive-tree.ts';
import { ByteFile } from './byte-file.ts';
import { type ArchiveOptions, refused } from './limits.ts';
import { LOOKED_AT, type Looks, looksLike } from './looks.ts';
import { type FileTree, openArchiveFile } from './open-archive.ts';
import { Zip } from './zip.ts';
import { findZipEnd } from './zip-start.ts';

const MAX_LISTED = 200_000;
/** Files at the top of a zip that say how it is deployed: it is what would be committed, and no zip app. */
const OF_A_COMMIT = ['dinp.yml', 'Procfile', 'Dockerfile', 'control', 'requirements.txt', 'app.py', 'main.py'];

export interface UploadOptions extends ArchiveOptions {
  /** Of the file's bytes, 64 hex digits, where it is known already. */
  sha256?: string | undefined;
}

const ACCEPTED = 'dinp takes a war, a runnable jar, a Linux program, or a zip or tar.gz of what would be committed.';

/**
 * An uploaded file as the tree that a commit of it would be: what it is, is decided by its content. A war, a jar and a
 * program stay one file; other archives are unpacked, as they are read.
 * @param file path on disk; it is read until the tree is disposed, and must stay as it is
 * @param filename as the uploader calls it, for people
 * @throws DinpError refused, saying what it is and what is taken
 */
export async function openUpload(
  file: string,
  filename: string,
  options: UploadOptions = {},
): Promise<Tree & AsyncDisposable> {
  await using stack = new AsyncDisposableStack();
  const bytes = stack.use(await ByteFile.open(file));
  const name = filename.replace(/^.*[\\/]/s, '') || 'the upload';
  const looks = looksLike(await bytes.read(0, LOOKED_AT));
  const single = await singleFile(bytes, name, looks);
  const tree =
    single === undefined
      ? await openArchiveFile(bytes, name, options)
      : await fileTree(bytes, { ...single, sha256: options.sha256 });
  if (tree === undefined) throw unknown(name, looks);
  if (Symbol.asyncDispose in tree) stack.use(tree as AsyncDisposable);
  const kept = stack.move();
  return Object.assign(tree, { [Symbol.asyncDispose]: () => kept.disposeAsync() });
}

/** Path and mode of a file that is deployed as it is; undefined for archives. */
async function singleFile(
  bytes: ByteFile,
  name: string,
  looks: Looks,
): Promise<Pick<TreeEntry, 'path' | 'mode'> | undefined> {
  if (looks === 'elf') return { path: programName(name), mode: '100755' };
  // Spring Boot can put a start script in front of a jar, and zipapp puts a line.
  if (looks !== 'zip' && !(looks === 'script' && (await findZipEnd(bytes)))) return undefined;
  const { records } = await Zip.open(bytes, name, MAX_LISTED);
  const has = (start: string) => records.some((record) => record.name.startsWith(start));
  if (has('META-INF/application.xml') || (/\.ear$/i.test(name) && !has('WEB-INF/'))) {
    throw refused(
      name,
      'is an enterprise archive (ear), which needs an application server; dinp has Tomcat.',
      'Upload the war that is inside it, or push a Dockerfile over an application server.',
    );
  }
  if (has('WEB-INF/')) return { path: 'app.war', mode: '100644' };
  if (has('META-INF/MANIFEST.MF')) return { path: 'app.jar', mode: '100644' };
  const names = new Set(records.map((record) => record.name));
  const isZipApp = ['__main__.py', '__main__.pyc'].some((file) => names.has(file));
  return isZipApp && !OF_A_COMMIT.some((file) => names.has(file)) ? { path: 'app.pyz', mode: '100644' } : undefined;
}

/** The upload's own name where a program can have it. */
function programName(name: string): string {
  const safe = name
    .replace(/[^A-Za-z0-9._-]+/g, '-')
    .replace(/^[-.]+/, '')
    .slice(0, 100);
  return safe === '' || /\.so(?:\.|$)/.test(safe) ? 'program' : safe;
}

async function fileTree(
  file: ByteFile,
  { path, mode, sha256 }: Pick<TreeEntry, 'path' | 'mode'> & { sha256: string | undefined },
): Promise<FileTree> {
  const content = sha256 ?? (await hashOf(file));
  const oid = createHash('sha256').update(`file ${mode} ${content}`).digest('hex');
  const entry: TreeEntry = { path, mode, oid, size: file.size };
  return Object.assign(archiveTree([{ entry, open: () => file.stream(0, file.size) }]), { file });
}

async function hashOf(file: ByteFile): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of file.stream(0, file.size)) hash.update(chunk);
  return hash.digest('hex');
}

function unknown(name: string, looks: Looks) {
  if (looks === 'empty') return refused(name, 'is empty.', ACCEPTED);
  if (looks === 'script') {
    return refused(
      name,
      'is a script.',
      'Pack it as an executable file called control, with all that it needs:\n  chmod +x control && tar -czf app.tar.gz control',
    );
  }
  const what = typeof looks === 'object' ? looks.other : looks;
  return refused(name, `is ${what}.`, HINTS[what] ?? ACCEPTED);
}

const AS_TAR_GZ = 'Pack it as tar.gz in its place:\n  tar -czf app.tar.gz -C FOLDER .';
const HINTS: Record<string, string> = {
  'packed with bzip2': AS_TAR_GZ,
  'packed with xz': AS_TAR_GZ,
  'packed with lz4': AS_TAR_GZ,
  'a 7-Zip archive': AS_TAR_GZ,
  'a RAR archive': AS_TAR_GZ,
  'a Windows program': 'These hosts run Linux: build it for Linux and upload that.',
  'a macOS program': 'These hosts run Linux: build it for Linux and upload that.',
  'a git-lfs pointer, not the file itself': 'Fetch the file itself first:  git lfs pull',
  'a single Java class': 'Pack a runnable jar:  jar --create --file app.jar --main-class MAIN -C FOLDER .',
};
