import { spawn } from 'node:child_process';
import { access, constants, mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join, posix } from 'node:path';
import type { Readable } from 'node:stream';
import { extract } from 'tar-stream';
import { DinpError } from '../domain/errors.ts';
import { canceled, throwIfAborted } from './abort.ts';
import type { BaseRecipe } from './base-recipe.ts';

/** One file of an image's root, in the order in which it is laid down. */
export interface RootEntry {
  /** Without a leading slash. */
  path: string;
  type: 'file' | 'directory' | 'symlink' | 'link';
  mode: number;
  uid: number;
  gid: number;
  /** Target of links; of hard ones a path of the image. */
  linkname: string;
  content: Buffer;
}

export interface RootfsOptions {
  recipe: BaseRecipe;
  /** Debian's name of the architecture. */
  architecture: string;
  onOutput(text: string): void;
  signal: AbortSignal;
}

const CERTIFICATES = 'etc/ssl/certs/ca-certificates.crt';
/** Folders at the root that are links into usr since Debian 12. */
const MERGED = ['bin', 'sbin', 'lib', 'lib32', 'lib64', 'libx32'];
/** What differs from run to run or is of no use in a container. */
const SYSTEM_DROP =
  /^(?:dev|proc|sys|run)\/.|^(?:var\/cache|var\/log|var\/lib\/apt|tmp)\/.|^usr\/share\/(?:doc|man|info|locale|lintian)\/.|^etc\/(?:resolv\.conf|hostname|machine-id)$|^var\/lib\/dpkg\/.*-old$|^etc\/.*-$/;

/** The tool that a recipe needs and this machine lacks, with the line that installs it; undefined where nothing is missing. */
export async function missingTool(recipe: BaseRecipe): Promise<{ tool: string; hint: string } | undefined> {
  for (const tool of recipe.method === 'system' ? ['apt-get', 'mmdebstrap'] : ['apt-get', 'dpkg-deb']) {
    if (await onPath(tool)) continue;
    const hint =
      tool === 'mmdebstrap'
        ? 'apt-get install -y mmdebstrap'
        : 'Build it on a Debian machine that reaches the same registry.';
    return { tool, hint };
  }
  return undefined;
}

/**
 * The files of a base, made from Debian's packages as this machine's apt gets them. The same packages give the same files.
 * @throws DinpError build-failed with the tool's last lines, canceled
 */
export function rootfs(options: RootfsOptions): AsyncGenerator<RootEntry> {
  return options.recipe.method === 'system' ? systemRoot(options) : extractedRoot(options);
}

/** A small Debian, streamed as mmdebstrap writes it. */
async function* systemRoot(options: RootfsOptions): AsyncGenerator<RootEntry> {
  const { recipe, signal } = options;
  const sources = await aptSources(signal);
  const packages = await firstAvailable(recipe.packages, signal);
  const args = [
    `--mode=${process.getuid?.() === 0 ? 'root' : 'auto'}`,
    '--variant=essential',
    '--format=tar',
    `--architectures=${options.architecture}`,
    `--include=${packages.join(',')}`,
    ...(await aptProxies(signal)).map((proxy) => `--aptopt=${proxy}`),
    sources.suite,
    '-',
    ...sources.lines,
  ];
  const child = start('mmdebstrap', args, options);
  const own = new Map(ownFiles(recipe).map((entry) => [entry.path, entry]));
  for await (const entry of tarEntries(child.stdout)) {
    if (!SYSTEM_DROP.test(entry.path) && !own.has(entry.path)) yield entry;
  }
  await child.ended;
  yield* own.values();
}

/** Files of packages, none of whose scripts run. */
async function* extractedRoot(options: RootfsOptions): AsyncGenerator<RootEntry> {
  const { recipe } = options;
  const root = new Map<string, RootEntry>();
  const folder = await mkdtemp(join(tmpdir(), 'dinp-base-'));
  try {
    await download(folder, options);
    for (const deb of (await readdir(folder)).filter((name) => name.endsWith('.deb')).sort()) {
      const child = start('dpkg-deb', ['--fsys-tarfile', join(folder, deb)], options);
      for await (const entry of tarEntries(child.stdout)) if (entry.path !== '') root.set(entry.path, entry);
      await child.ended;
    }
    const certificates = bundle(root);
    for (const path of root.keys()) if (!isKept(path, recipe)) root.delete(path);
    if (recipe.busybox) await linkBusybox(root, folder, options);
    if (certificates !== undefined) root.set(CERTIFICATES, certificates);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
  for (const entry of [...standardFiles(root), ...ownFiles(recipe)]) root.set(entry.path, entry);
  addFolders(root);
  for (const path of [...root.keys()].sort()) yield root.get(path)!;
}

/** Downloads the packages; where the machine's lists are missing or old, with fresh ones of our own. */
async function download(folder: string, options: RootfsOptions): Promise<void> {
  const { recipe, signal } = options;
  const get = async (extra: string[]): Promise<void> => {
    const packages = await firstAvailable(recipe.packages, signal, extra);
    options.onOutput(`Fetching ${packages.join(', ')}\n`);
    const names = packages.map((name) => `${name}:${options.architecture}`);
    const child = start(
      'apt-get',
      [...extra, '-q', '-o', 'APT::Sandbox::User=root', 'download', ...names],
      { ...options, onOutput: () => {} },
      folder,
    );
    child.stdout.resume();
    await child.ended;
  };
  try {
    await get([]);
  } catch (error) {
    throwIfAborted(signal);
    if (!(error instanceof DinpError)) throw error;
    options.onOutput('Reading the package lists anew\n');
    const extra = [
      '-o',
      `Dir::State=${join(folder, 'state')}`,
      '-o',
      `Dir::Cache=${join(folder, 'cache')}`,
      '-o',
      'Dir::State::status=/var/lib/dpkg/status',
    ];
    // apt makes these by itself only as root.
    for (const part of ['state/lists/partial', 'cache/archives/partial'])
      await mkdir(join(folder, part), { recursive: true });
    const update = start('apt-get', [...extra, '-q', '-o', 'APT::Sandbox::User=root', 'update'], options);
    update.stdout.resume();
    await update.ended;
    await get(extra);
  }
}

/** Of each `a|b` the first package that apt knows. */
async function firstAvailable(
  packages: readonly string[],
  signal: AbortSignal,
  extra: string[] = [],
): Promise<string[]> {
  const chosen: string[] = [];
  for (const choice of packages) {
    const names = choice.split('|');
    let found = names.length === 1 ? names[0] : undefined;
    for (const name of names) {
      if (found !== undefined) break;
      const shown = await run('apt-cache', [...extra, '--no-all-versions', 'show', name], signal).catch(() => '');
      if (/^Version:/m.test(shown)) found = name;
    }
    chosen.push(found ?? names[names.length - 1]!);
  }
  return chosen;
}

/** The machine's own Debian sources for its release, as lines for mmdebstrap; sources of others stay out. */
async function aptSources(signal: AbortSignal): Promise<{ suite: string; lines: string[] }> {
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
async function aptProxies(signal: AbortSignal): Promise<string[]> {
  const dump = await run(
    'apt-config',
    ['dump', '--format', '%f "%v"%n', 'Acquire::http::Proxy', 'Acquire::https::Proxy'],
    signal,
  );
  return dump.split('\n').filter((line) => / "."?/.test(line) && !line.endsWith(' ""'));
}

async function* tarEntries(stream: Readable): AsyncGenerator<RootEntry> {
  const unpack = extract();
  stream.on('error', (error) => unpack.destroy(error));
  stream.pipe(unpack as unknown as NodeJS.WritableStream);
  for await (const entry of unpack) {
    const chunks: Buffer[] = [];
    for await (const chunk of entry as unknown as AsyncIterable<Buffer>) chunks.push(chunk);
    const { header } = entry;
    const type = header.type;
    if (type !== 'file' && type !== 'directory' && type !== 'symlink' && type !== 'link') continue;
    yield {
      path: mergedPath(header.name),
      type,
      mode: header.mode & 0o7777,
      uid: header.uid,
      gid: header.gid,
      linkname: type === 'link' ? mergedPath(header.linkname) : (header.linkname ?? ''),
      content: Buffer.concat(chunks),
    };
  }
}

/** A path of a package in a merged /usr, without `./`; the links at the root themselves keep their names. */
function mergedPath(name: string): string {
  const path = posix.normalize(name).replace(/^(?:\.\/|\/)+|\/+$/g, '');
  if (path === '.') return '';
  const first = path.split('/', 1)[0]!;
  return MERGED.includes(first) && path !== first ? `usr/${path}` : path;
}

function isKept(path: string, recipe: BaseRecipe): boolean {
  const below = (folder: string): boolean => `/${path}` === folder || `/${path}/`.startsWith(`${folder}/`);
  if (recipe.drop.some(below) || MERGED.includes(path)) return false;
  return recipe.keep === undefined || recipe.keep.some(below);
}

/** What update-ca-certificates would write: all authorities of the package in one file. */
function bundle(root: ReadonlyMap<string, RootEntry>): RootEntry | undefined {
  const paths = [...root.keys()].filter((path) => /^usr\/share\/ca-certificates\/.*\.crt$/.test(path)).sort();
  if (paths.length === 0) return undefined;
  return file(
    CERTIFICATES,
    paths
      .map((path) => root.get(path)!.content.toString('latin1').trimEnd())
      .join('\n')
      .concat('\n'),
  );
}

async function linkBusybox(root: Map<string, RootEntry>, folder: string, options: RootfsOptions): Promise<void> {
  const program = root.get('usr/bin/busybox');
  if (program === undefined)
    throw new DinpError('config', 'The base asks for busybox links, and no package of it has a busybox.');
  const path = join(folder, 'busybox');
  await writeFile(path, program.content, { mode: 0o755 });
  for (const name of (await run(path, ['--list'], options.signal)).split('\n')) {
    if (!/^[A-Za-z0-9[_.-]+$/.test(name) || name === 'busybox') continue;
    root.set(`usr/bin/${name}`, { ...file(`usr/bin/${name}`, ''), type: 'symlink', mode: 0o777, linkname: 'busybox' });
  }
}

/** What every base has: users, name lookup, a place for temporary files. */
function standardFiles(root: ReadonlyMap<string, RootEntry>): RootEntry[] {
  const users =
    'root:x:0:0:root:/root:/bin/sh\nnonroot:x:65532:65532:nonroot:/tmp:/sbin/nologin\nnobody:x:65534:65534:nobody:/nonexistent:/sbin/nologin\n';
  const files = [
    file('etc/passwd', users),
    file('etc/group', 'root:x:0:\nnonroot:x:65532:\nnogroup:x:65534:\n'),
    file('etc/nsswitch.conf', 'hosts: files dns\n'),
    { ...file('tmp', ''), type: 'directory' as const, mode: 0o1777 },
    { ...file('root', ''), type: 'directory' as const, mode: 0o700 },
  ];
  const used = MERGED.filter((folder) => [...root.keys()].some((path) => path.startsWith(`usr/${folder}/`)));
  return [
    ...files,
    ...used.map((folder) => ({
      ...file(folder, ''),
      type: 'symlink' as const,
      mode: 0o777,
      linkname: `usr/${folder}`,
    })),
  ];
}

function ownFiles(recipe: BaseRecipe): RootEntry[] {
  return Object.entries(recipe.files).map(([path, text]) => file(path.slice(1), text));
}

function file(path: string, text: string): RootEntry {
  return { path, type: 'file', mode: 0o644, uid: 0, gid: 0, linkname: '', content: Buffer.from(text, 'latin1') };
}

function addFolders(root: Map<string, RootEntry>): void {
  for (const path of [...root.keys()]) {
    for (let at = path.indexOf('/'); at >= 0; at = path.indexOf('/', at + 1)) {
      const folder = path.slice(0, at);
      if (!root.has(folder)) root.set(folder, { ...file(folder, ''), type: 'directory', mode: 0o755 });
    }
  }
}

async function onPath(tool: string): Promise<boolean> {
  for (const folder of (process.env.PATH ?? '').split(delimiter)) {
    if (
      folder !== '' &&
      (await access(join(folder, tool), constants.X_OK).then(
        () => true,
        () => false,
      ))
    )
      return true;
  }
  return false;
}

/** Starts a tool; its stderr is shown, its last lines are the error's detail. */
function start(
  tool: string,
  args: string[],
  options: RootfsOptions,
  cwd?: string,
): { stdout: Readable; ended: Promise<void> } {
  throwIfAborted(options.signal);
  const child = spawn(tool, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    cwd,
    env: { ...process.env, LC_ALL: 'C.UTF-8', DEBIAN_FRONTEND: 'noninteractive', SOURCE_DATE_EPOCH: '0' },
  });
  let tail = '';
  child.stderr.setEncoding('utf8');
  child.stderr.on('data', (text: string) => {
    tail = (tail + text).slice(-4000);
    options.onOutput(text);
  });
  const stop = (): void => {
    child.kill('SIGTERM');
  };
  options.signal.addEventListener('abort', stop, { once: true });
  const ended = new Promise<void>((resolve, reject) => {
    child.once('error', (cause) =>
      reject(new DinpError('unavailable', `${tool} cannot be started on this machine.`, { cause })),
    );
    child.once('close', (status) => {
      options.signal.removeEventListener('abort', stop);
      if (options.signal.aborted) reject(canceled(options.signal));
      else if (status === 0) resolve();
      else
        reject(
          new DinpError('build-failed', `${tool} ended with exit status ${status}.`, {
            detail: tail.trimEnd().split('\n').slice(-20).join('\n'),
          }),
        );
    });
  });
  // Its reader may fail first; the failure of the tool is then not waited for.
  ended.catch(() => {});
  return { stdout: child.stdout, ended };
}

async function run(tool: string, args: string[], signal: AbortSignal): Promise<string> {
  const recipe = { method: 'extract', packages: [], drop: [], busybox: false, files: {} } satisfies BaseRecipe;
  const child = start(tool, args, { recipe, architecture: '', onOutput: () => {}, signal });
  const chunks: Buffer[] = [];
  for await (const chunk of child.stdout as AsyncIterable<Buffer>) chunks.push(chunk);
  await child.ended;
  return Buffer.concat(chunks).toString('utf8').trim();
}
