import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { testCache } from './test-cache.ts';

/**
 * The files of a Debian package, unpacked below a folder that is kept outside the repository; nothing is installed.
 * @param only tar patterns such as `./usr/share/*`; all files where none is given
 * @returns the folder that stands for `/`
 */
export function debianPackage(name: string, only: string[] = []): string {
  const folder = testCache('debian-packages');
  const unpacked = join(folder, name);
  if (existsSync(unpacked)) return unpacked;
  const work = mkdtempSync(join(folder, '.new-'));
  try {
    unpackPackage(name, work, only);
    if (!existsSync(unpacked)) renameSync(join(work, 'files'), unpacked);
    return unpacked;
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** Downloads a package into `work` and unpacks it into `work/files`. */
export function unpackPackage(name: string, work: string, only: string[]): string {
  download(name, work);
  const archive = readdirSync(work).find((file) => file.endsWith('.deb'))!;
  const files = join(work, 'files');
  mkdirSync(files);
  const [deb, ...patterns] = [join(work, archive), ...only];
  const tar = execFileSync('dpkg-deb', ['--fsys-tarfile', deb], { maxBuffer: 2 ** 30 });
  const wild = patterns.length > 0 ? ['--wildcards', ...patterns] : [];
  // Some packages lack some of the patterns; whoever asked looks at what came.
  spawnSync('tar', ['-x', '-C', files, ...wild], { input: tar, maxBuffer: 2 ** 24 });
  return files;
}

function download(name: string, cwd: string): void {
  const get = () => spawnSync('apt-get', ['download', '-q', name], { cwd, encoding: 'utf8' });
  if (get().status === 0) return;
  spawnSync('apt-get', ['update', '-q'], { stdio: 'ignore' });
  const again = get();
  if (again.status !== 0) throw new Error(`apt-get download ${name}: ${again.stderr}`);
}
