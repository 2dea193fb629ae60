import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { testCache } from './test-cache.ts';

/**
 * A folder whose `node_modules` holds an npm package and all that it needs, kept outside the repository.
 * @param wanted `http-server@14.1.1`
 */
export function npmPackage(wanted: string): string {
  const folder = testCache('npm-packages');
  const installed = join(folder, wanted.replace(/[^a-z0-9@.-]/gi, '_'));
  if (existsSync(installed)) return installed;
  const work = mkdtempSync(join(folder, '.new-'));
  try {
    const options = ['--no-audit', '--no-fund', '--ignore-scripts', '--omit=dev', '--silent'];
    execFileSync('npm', ['install', ...options, '--prefix', work, wanted], { stdio: ['ignore', 'ignore', 'inherit'] });
    if (!existsSync(installed)) renameSync(work, installed);
    return installed;
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}
