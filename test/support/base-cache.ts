import { execFile } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { cpSync, existsSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { BaseCatalogue } from '../../src/image/bases.ts';
import { Registries } from '../../src/image/registries.ts';
import { startRegistry } from './registry.ts';
import { testCache } from './test-cache.ts';

const BASES = ['busybox', 'static', 'static-site'];
const CATALOGUE = resolve(import.meta.dirname, '../../src/image/bases.yml');

/**
 * Fills the folder of a registry with the bases that tests build on. They are made from Debian's packages once for a
 * catalogue, and kept in the test cache.
 */
export async function fillWithBases(root: string): Promise<void> {
  const kept = await ensureBases();
  const from = join(kept, 'docker', 'registry', 'v2');
  const to = join(root, 'docker', 'registry', 'v2');
  cpSync(join(from, 'repositories'), join(to, 'repositories'), { recursive: true });
  // Blobs are never written to again: a link will do, within one file system.
  const blobs = [join(from, 'blobs'), join(to, 'blobs')];
  const copy = promisify(execFile);
  await copy('cp', ['-rl', ...blobs]).catch(() => copy('cp', ['-r', ...blobs]));
}

async function ensureBases(): Promise<string> {
  const key = createHash('sha256').update(readFileSync(CATALOGUE)).update(BASES.join()).digest('hex').slice(0, 12);
  const kept = join(testCache(), `bases-${key}`);
  if (existsSync(kept)) return kept;
  const making = `${kept}.${randomBytes(4).toString('hex')}`;
  await using registry = await startRegistry();
  const registries = new Registries({ own: { address: registry.address } });
  const catalogue = new BaseCatalogue({ registries });
  for (const base of BASES) await catalogue.build(base, () => {}, new AbortController().signal);
  await registries.close();
  cpSync(registry.root, making, { recursive: true });
  try {
    renameSync(making, kept);
  } catch (error) {
    // Another test was quicker.
    rmSync(making, { recursive: true });
    if (!existsSync(kept)) throw error;
  }
  return kept;
}
