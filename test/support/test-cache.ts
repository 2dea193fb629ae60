import { mkdirSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';

/** Folder outside the repository for what tests download or make once: DINP_TEST_CACHE, else ~/.cache/dinp-test. */
export function testCache(...parts: string[]): string {
  const folder = join(process.env.DINP_TEST_CACHE ?? join(homedir(), '.cache', 'dinp-test'), ...parts);
  mkdirSync(folder, { recursive: true });
  return folder;
}
