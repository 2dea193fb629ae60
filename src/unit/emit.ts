import { mkdir, open, readdir, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { UnitFile } from '../domain/unit-file.ts';

/**
 * Makes `folder` hold exactly these unit files. The files are written and synced beside it and then take its place
 * in one rename, so nobody ever sees half of them; doing it again gives the same.
 *
 * @param folder absolute; its parents are made
 */
export async function emitUnits(folder: string, files: UnitFile[]): Promise<void> {
  const parent = dirname(folder);
  await mkdir(parent, { recursive: true });
  await sweep(parent, basename(folder));
  const fresh = join(parent, `.${basename(folder)}.new`);
  const old = join(parent, `.${basename(folder)}.old`);
  await mkdir(fresh);
  for (const { name, text } of files) await writeSynced(join(fresh, name), text);
  for (const each of foldersOf(files)) await syncFolder(join(fresh, each));
  await rename(folder, old).catch(ignoreMissing);
  await rename(fresh, folder);
  await syncFolder(parent);
  await rm(old, { recursive: true, force: true });
}

/** Removes what a process left that died in the middle; where it died between the two renames, the old files return. */
async function sweep(parent: string, name: string): Promise<void> {
  const present = new Set(await readdir(parent));
  await rm(join(parent, `.${name}.new`), { recursive: true, force: true });
  if (!present.has(`.${name}.old`)) return;
  if (present.has(name)) await rm(join(parent, `.${name}.old`), { recursive: true });
  else await rename(join(parent, `.${name}.old`), join(parent, name));
}

/** The folders that the files are in, `.` among them. */
function foldersOf(files: UnitFile[]): Set<string> {
  return new Set(['.', ...files.map(({ name }) => dirname(name))]);
}

async function writeSynced(path: string, text: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  await using file = await open(path, 'wx', 0o644);
  await file.writeFile(text);
  await file.sync();
}

async function syncFolder(path: string): Promise<void> {
  await using folder = await open(path, 'r');
  await folder.sync();
}

function ignoreMissing(error: NodeJS.ErrnoException): void {
  if (error.code !== 'ENOENT') throw error;
}
