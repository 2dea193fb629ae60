import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DinpError } from '../../domain/errors.ts';
import { throwIfAborted } from '../abort.ts';
import type { BaseRecipe } from './base-recipe.ts';
import { run, start } from './rootfs-process.ts';

export interface PackageOptions {
  recipe: BaseRecipe;
  /** Debian's name of the architecture. */
  architecture: string;
  onOutput(text: string): void;
  signal: AbortSignal;
}

/** What only the scripts of packages need, none of which run: apt is told that they are there. */
const FOR_SCRIPTS = [
  'adduser',
  'debconf',
  'dpkg',
  'init-system-helpers',
  'java-common',
  'passwd',
  'perl',
  'perl-base',
  'sensible-utils',
  'systemd',
  'ucf',
  'usr-is-merged',
  'usrmerge',
];

/**
 * Downloads a recipe's packages, with what they depend on where it says so. Where the machine's package lists are
 * missing or old, with fresh ones of our own: no privilege is needed, and nothing of the machine is changed.
 * @param folder empty, for packages, lists and caches
 * @returns paths of the packages, sorted by name
 * @throws DinpError refused where Debian lacks one, build-failed, unavailable, canceled
 */
export async function downloadPackages(folder: string, options: PackageOptions): Promise<string[]> {
  const to = join(folder, 'archives');
  const settings = await ownSettings(folder, to, options);
  try {
    await fetchTo(to, settings, options);
  } catch (error) {
    throwIfAborted(options.signal);
    if (!(error instanceof DinpError)) throw error;
    options.onOutput('Reading the package lists anew\n');
    const lists = join(folder, 'lists');
    await mkdir(join(lists, 'partial'), { recursive: true });
    const fresh = [...settings, '-o', `Dir::State::lists=${lists}`];
    const update = start('apt-get', [...fresh, '-q', 'update'], options);
    update.stdout.resume();
    await update.ended;
    await fetchTo(to, fresh, options);
  }
  const names = (await readdir(to)).filter((name) => name.endsWith('.deb'));
  return names.sort().map((name) => join(to, name));
}

/** A state and cache of our own, in which nothing is installed but what is to be left out. */
async function ownSettings(folder: string, archives: string, options: PackageOptions): Promise<string[]> {
  const status = join(folder, 'status');
  const absent = options.recipe.depends ? [...FOR_SCRIPTS, ...options.recipe.without] : [];
  const stanza = (name: string): string =>
    `Package: ${name}\nStatus: install ok installed\nMaintainer: none\nArchitecture: ${options.architecture}\n` +
    'Multi-Arch: foreign\nVersion: 999:1\nDescription: left out\n';
  await writeFile(status, absent.map(stanza).join('\n'));
  // apt makes these by itself only as root.
  await mkdir(join(archives, 'partial'), { recursive: true });
  const values = {
    'Dir::State::status': status,
    'Dir::State::extended_states': join(folder, 'extended_states'),
    'Dir::Cache': join(folder, 'cache'),
    'Dir::Cache::archives': archives,
    'APT::Sandbox::User': 'root',
    'APT::Architecture': options.architecture,
    'APT::Install-Recommends': 'false',
    'Debug::NoLocking': 'true',
  };
  await mkdir(join(folder, 'cache'), { recursive: true });
  return Object.entries(values).flatMap(([name, value]) => ['-o', `${name}=${value}`]);
}

async function fetchTo(to: string, settings: readonly string[], options: PackageOptions): Promise<void> {
  const { recipe, signal } = options;
  const packages = await choosePackages(recipe.packages, signal, settings);
  options.onOutput(`Fetching ${packages.join(', ')}${recipe.depends ? ' and what they need' : ''}\n`);
  const command = recipe.depends ? ['-y', '--download-only', 'install'] : ['download'];
  const child = start('apt-get', [...settings, '-q', ...command, ...packages], {
    signal,
    onOutput: () => {},
    cwd: to,
  });
  child.stdout.resume();
  await child.ended;
}

/**
 * Of each `a|b` the first package that apt knows.
 * @param settings options for apt
 * @throws DinpError refused naming the one that it does not have
 */
export async function choosePackages(
  packages: readonly string[],
  signal: AbortSignal,
  settings: readonly string[] = [],
): Promise<string[]> {
  const known = await knownPackages(packages, signal, settings);
  return packages.map((choice) => {
    const found = choice.split('|').find((name) => known.has(name));
    if (found !== undefined) return found;
    throw new DinpError('refused', `This machine's apt has no package ${choice.replaceAll('|', ' or ')}.`, {
      hint: 'See what it has: apt-cache policy',
    });
  });
}

/** Those of the names in `a|b` that are packages which apt can download, with their newest version. @throws DinpError unavailable, build-failed, canceled */
export async function knownPackages(
  packages: readonly string[],
  signal: AbortSignal,
  settings: readonly string[] = [],
): Promise<Map<string, string>> {
  const names = [...new Set(packages.flatMap((choice) => choice.split('|')))];
  const lines = await run('apt-cache', [...settings, 'madison', ...names], signal);
  const known = new Map<string, string>();
  for (const line of lines.split('\n')) {
    const [name = '', version = ''] = line.split('|').map((part) => part.trim());
    // The newest comes first.
    if (name !== '' && !known.has(name)) known.set(name, version);
  }
  return known;
}

/**
 * The machine's own Debian sources for its release, as lines for mmdebstrap; sources of others stay out.
 * @throws DinpError refused where there are none
 */
export async function aptSources(signal: AbortSignal): Promise<{ suite: string; lines: string[] }> {
  const release = await run('sh', ['-c', '. /etc/os-release && printf %s "$VERSION_CODENAME"'], signal);
  const format = '$(SITE)\t$(RELEASE)\t$(COMPONENT)\t$(SIGNED_BY)';
  const targets = await run('apt-get', ['indextargets', '--format', format, 'Created-By: Packages'], signal);
  const lines = new Set<string>();
  for (const target of targets.split('\n')) {
    const [site = '', suite = '', component = '', key = ''] = target.split('\t');
    if (![release, `${release}-updates`, `${release}-security`].includes(suite)) continue;
    const option = /^\/\S+$/.test(key) ? `[signed-by="${key}"] ` : '';
    lines.add(`deb ${option}${site} ${suite} ${component}`);
  }
  if (lines.size === 0) {
    throw new DinpError(
      'refused',
      `The apt sources of this machine name no Debian mirror for ${release || 'its release'}.`,
      {
        hint: 'Add the mirror to /etc/apt/sources.list and run apt-get update.',
      },
    );
  }
  return { suite: release, lines: [...lines] };
}

/** The proxies that the machine's apt uses. */
export async function aptProxies(signal: AbortSignal): Promise<string[]> {
  const dump = await run(
    'apt-config',
    ['dump', '--format', '%f "%v"%n', 'Acquire::http::Proxy', 'Acquire::https::Proxy'],
    signal,
  );
  return dump.split('\n').filter((line) => / "."?/.test(line) && !line.endsWith(' ""'));
}
