import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, readFileSync, symlinkSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';

const ROOT = resolve(import.meta.dirname, '../..');

/**
 * Compiles dinp into a folder as its npm package has it (scripts/build): what is installed runs compiled, and running
 * TypeScript as it is takes a third more memory.
 * @returns absolute path of its main program
 */
export function makePackage(parent: string): string {
  const folder = join(parent, 'package');
  const dist = join(folder, 'dist');
  const tsc = join(ROOT, 'node_modules/.bin/tsc');
  execFileSync(tsc, ['-p', join(ROOT, 'scripts/tsconfig.build.json'), '--outDir', dist], { stdio: 'inherit' });
  cpSync(join(ROOT, 'src'), dist, { recursive: true, filter: (path) => !path.endsWith('.ts') });
  const { files } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { files: string[] };
  for (const name of [...files.filter((file) => file !== 'dist'), 'package.json', 'node_modules']) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    symlinkSync(join(ROOT, name), join(folder, name));
  }
  return join(dist, 'cli/main.js');
}
