import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cpSync, existsSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { readCatalogue } from '../../src/image/bases/base-recipe.ts';
import { BaseCatalogue } from '../../src/image/bases/bases.ts';
import { Registries } from '../../src/image/registry/registries.ts';
import { lockFile } from './file-lock.ts';
import { startRegistry } from './registry.ts';
import { testCache } from './test-cache.ts';

export const SMALL_BASES = ['busybox', 'static', 'static-site'];
const SOURCES = resolve(import.meta.dirname, '../../src/image/bases');
/** What decides how the packages of a recipe become an image. */
const MAKERS = /^(?:rootfs.*|base-image|base-version|java-truststore)\.ts$/;

/**
 * Fills the folder of a registry with bases that tests build on. Each is made from Debian's packages once (a small one
 * takes a second or two, jre17, tomcat10, php, python and node 10 to 20) and kept in the test cache for as long as its
 * recipe and what carries it out stay the same.
 * @param names of the built-in catalogue
 */
export async function fillWithBases(root: string, names: readonly string[] = SMALL_BASES): Promise<void> {
  const to = join(root, 'docker', 'registry', 'v2');
  for (const name of names) {
    const from = join(await ensureBase(name), 'docker', 'registry', 'v2');
    cpSync(join(from, 'repositories'), join(to, 'repositories'), { recursive: true });
    // Blobs are never written to again: a link will do, within one file system.
    const [blobs, copy] = [[join(from, 'blobs'), join(to, 'blobs')], promisify(execFile)];
    await copy('cp', ['-rlfT', ...blobs]).catch(() => copy('cp', ['-rfT', ...blobs]));
  }
}

/** @returns the folder of a registry that holds only that base */
async function ensureBase(name: string): Promise<string> {
  const key = createHash('sha256').update(JSON.stringify(readCatalogue(undefined).get(name)));
  for (const file of readdirSync(SOURCES).sort()) if (MAKERS.test(file)) key.update(readFileSync(join(SOURCES, file)));
  const kept = join(testCache(), `base-${name}-${key.digest('hex').slice(0, 12)}`);
  if (existsSync(kept)) return kept;
  await using _lock = await lockFile(`${kept}.lock`);
  if (existsSync(kept)) return kept;
  const making = `${kept}.new`;
  rmSync(making, { recursive: true, force: true });
  await using registry = await startRegistry();
  const registries = new Registries({ own: { address: registry.address } });
  await new BaseCatalogue({ registries }).build(name, () => {}, new AbortController().signal);
  await registries.close();
  cpSync(registry.root, making, { recursive: true });
  renameSync(making, kept);
  return kept;
}
