import { accessSync, constants, existsSync } from 'node:fs';
import { join } from 'node:path';
import { DinpError } from '../domain/errors.ts';

/** Absolute path of a program, looked up once: a worker that spawns by name walks PATH at every push. */
export function findProgram(name: string, fallback?: string): string {
  for (const folder of (process.env.PATH ?? '').split(':')) {
    const path = join(folder, name);
    if (folder.startsWith('/') && isExecutable(path)) return path;
  }
  if (fallback !== undefined) return fallback;
  throw new DinpError('config', `${name} is not installed: no such program in PATH.`, {
    hint: `As root on Debian: apt-get install ${name}`,
  });
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return existsSync(path);
  } catch {
    return false;
  }
}
