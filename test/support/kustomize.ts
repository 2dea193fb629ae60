import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { parseAllDocuments } from 'yaml';
import { packageOf } from './debian-package.ts';

/** The objects that kustomize (Debian 13's, 5.6) makes of a folder with these files. @throws Error with what it says */
export function kustomize(files: { name: string; text: string }[]): Record<string, unknown>[] {
  const program = './usr/bin/kustomize';
  const folder = mkdtempSync(join(tmpdir(), 'dinp-kustomize-'));
  try {
    for (const { name, text } of files) {
      mkdirSync(dirname(join(folder, name)), { recursive: true });
      writeFileSync(join(folder, name), text);
    }
    const argv = [join(packageOf('trixie', 'kustomize', [program]), program), 'build', folder] as const;
    const { status, stdout, stderr } = spawnSync(argv[0], argv.slice(1), { encoding: 'utf8', maxBuffer: 2 ** 26 });
    if (status !== 0) throw new Error(stderr);
    return parseAllDocuments(stdout).map((document) => document.toJS() as Record<string, unknown>);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
