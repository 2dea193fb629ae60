import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { packageOf } from './debian-package.ts';

/** Podman's generator of Debian 13, which needs nothing but libc. */
export function quadletGenerator(): string {
  const program = './usr/libexec/podman/quadlet';
  return join(packageOf('trixie', 'podman', [program]), program);
}

/**
 * What podman's generator makes of quadlets: the services by name, and what it says of those that it refuses.
 */
export function generate(files: { name: string; text: string }[]): { services: Map<string, string>; said: string } {
  const folder = mkdtempSync(join(tmpdir(), 'dinp-quadlet-'));
  try {
    for (const { name, text } of files) writeFileSync(join(folder, name), text);
    const options = { encoding: 'utf8', env: { QUADLET_UNIT_DIRS: folder }, maxBuffer: 2 ** 26 } as const;
    const { stdout, stderr } = spawnSync(quadletGenerator(), ['--dryrun'], options);
    const parts = stdout.split(/^---(\S+)---$/m).slice(1);
    const services = parts.flatMap((name, i) => (i % 2 === 0 ? [[name, parts[i + 1]!.trimStart()] as const] : []));
    return { services: new Map(services), said: stderr };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
