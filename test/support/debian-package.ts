import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
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

/** The same of another Debian than the machine's: its list of packages is read for this alone. */
export function packageOf(suite: string, name: string, only: string[]): string {
  const folder = testCache('debian-packages');
  const unpacked = join(folder, `${suite}-${name}`);
  if (existsSync(unpacked)) return unpacked;
  const work = mkdtempSync(join(folder, '.new-'));
  try {
    const options = privateApt(suite, work);
    execFileSync('apt-get', [...options, 'update'], { stdio: ['ignore', 'ignore', 'inherit'] });
    execFileSync('apt-get', [...options, 'download', name], { cwd: work, stdio: ['ignore', 'ignore', 'inherit'] });
    const files = unpack(work, only);
    if (!existsSync(unpacked)) renameSync(files, unpacked);
    return unpacked;
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** Options that keep apt away from the machine's own lists, sources and downloads. */
function privateApt(suite: string, work: string): string[] {
  const key = '/usr/share/keyrings/debian-archive-keyring.gpg';
  writeFileSync(join(work, 'sources.list'), `deb [signed-by=${key}] ${mirror()} ${suite} main\n`);
  const folders = ['state/lists/partial', 'cache/archives/partial'];
  for (const each of folders) mkdirSync(join(work, each), { recursive: true });
  const settings = {
    'Dir::Etc::SourceList': join(work, 'sources.list'),
    'Dir::Etc::SourceParts': '/dev/null',
    'Dir::State': join(work, 'state'),
    'Dir::State::status': '/dev/null',
    'Dir::Cache': join(work, 'cache'),
    'APT::Sandbox::User': 'root',
    'Acquire::Languages': 'none',
  };
  return ['-qq', ...Object.entries(settings).flatMap(([name, value]) => ['-o', `${name}=${value}`])];
}

/** Where the machine itself gets Debian from. */
function mirror(): string {
  const answer = execFileSync('apt-get', ['indextargets', '--format', '$(REPO_URI) $(ORIGIN)'], { encoding: 'utf8' });
  const found = answer.split('\n').flatMap((line) => /^(\S+?)\/? Debian$/.exec(line)?.[1] ?? []);
  const uri = found.find((each) => !each.includes('security'));
  if (uri === undefined) throw new Error('apt knows no archive of Debian: run apt-get update');
  return uri;
}

/** Downloads a package into `work` and unpacks it into `work/files`. */
export function unpackPackage(name: string, work: string, only: string[]): string {
  download(name, work);
  return unpack(work, only);
}

function unpack(work: string, only: string[]): string {
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
