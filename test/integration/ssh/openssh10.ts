import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';

/**
 * An OpenSSH 10 client: Debian trixie's packages, unpacked (nothing is installed) into a cache outside the repository
 * (DINP_TEST_CACHE, by default ~/.cache/dinp-test) and started through their own loader. Needs mmdebstrap and root;
 * made once, in some ten seconds.
 * @returns the words that start it
 */
export function openssh10(): string[] {
  const cache = process.env.DINP_TEST_CACHE ?? join(homedir(), '.cache', 'dinp-test');
  const root = join(cache, 'trixie-openssh-client');
  if (!existsSync(root)) {
    mkdirSync(cache, { recursive: true });
    const temporary = `${root}.${process.pid}`;
    try {
      execFileSync('mmdebstrap', ['--quiet', '--variant=extract', '--include=openssh-client', 'trixie', temporary]);
      if (!existsSync(root)) renameSync(temporary, root);
    } finally {
      rmSync(temporary, { recursive: true, force: true });
    }
  }
  const triplet = execFileSync('gcc', ['-print-multiarch'], { encoding: 'utf8' }).trim();
  const libraries = join(root, 'usr/lib', triplet);
  const loader = triplet.startsWith('aarch64') ? 'ld-linux-aarch64.so.1' : 'ld-linux-x86-64.so.2';
  return [join(libraries, loader), '--library-path', libraries, join(root, 'usr/bin/ssh')];
}
