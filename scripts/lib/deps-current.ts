/**
 * Ends 0 when node_modules holds what package-lock.json asks for: `deps-current.ts all|prod`, run in the project's folder.
 * npm keeps its own record of what it installed (node_modules/.package-lock.json); comparing the two needs no stamp of ours.
 */
import { readFileSync } from 'node:fs';

interface Entry {
  version?: string;
  integrity?: string;
  dev?: boolean;
  devOptional?: boolean;
  optional?: boolean;
}

function packagesOf(file: string): Record<string, Entry> {
  return (JSON.parse(readFileSync(file, 'utf8')) as { packages: Record<string, Entry> }).packages;
}

/** Names of the locked packages that are missing or of another version; optional ones may be missing. */
function outdated(locked: Record<string, Entry>, installed: Record<string, Entry>, withDev: boolean): string[] {
  return Object.entries(locked)
    .filter(([path, wanted]) => {
      if (path === '' || (!withDev && (wanted.dev || wanted.devOptional))) return false;
      const found = installed[path];
      if (found === undefined) return !wanted.optional;
      return found.version !== wanted.version || found.integrity !== wanted.integrity;
    })
    .map(([path]) => path);
}

try {
  const withDev = process.argv[2] !== 'prod';
  const wrong = outdated(packagesOf('package-lock.json'), packagesOf('node_modules/.package-lock.json'), withDev);
  process.exitCode = wrong.length === 0 ? 0 : 1;
} catch {
  process.exitCode = 1; // nothing installed yet
}
