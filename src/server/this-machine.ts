import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/** Folder of the package: hooks, templates and package.json are below it. */
export const PACKAGE = join(import.meta.dirname, '../..');

/** Docker's and Go's name of this machine's architecture. */
export function hostArch(): string {
  return { x64: 'amd64', ia32: '386', arm: 'arm' }[process.arch as string] ?? process.arch;
}

/** What images are made for, `linux/amd64`. */
export function hostPlatform(): string {
  return `linux/${hostArch()}`;
}

export function packageVersion(): string {
  return (JSON.parse(readFileSync(join(PACKAGE, 'package.json'), 'utf8')) as { version: string }).version;
}
