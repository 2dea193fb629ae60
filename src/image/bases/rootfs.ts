import { createWriteStream } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { extract } from 'tar-stream';
import type { BaseRecipe } from './base-recipe.ts';
import { aptProxies, aptSources, choosePackages, downloadPackages } from './rootfs-packages.ts';
import { onPath, start } from './rootfs-process.ts';
import { contentOf, mergedPath, ownFiles, setUpRoot } from './rootfs-setup.ts';

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
  /** A large one lies on disk until the next entry is asked for. */
  content: Buffer | { file: string; size: number };
}

export interface RootfsOptions {
  recipe: BaseRecipe;
  /** Debian's name of the architecture. */
  architecture: string;
  onOutput(text: string): void;
  /** Told of each package that the files are from, with Debian's version of it. */
  onPackage(name: string, version: string): void;
  signal: AbortSignal;
}

/** Contents of more bytes are kept on disk rather than in memory. */
const LARGE = 256 << 10;
/** What differs from run to run or is of no use in a container. */
const SYSTEM_DROP =
  /^(?:dev|proc|sys|run)\/.|^(?:var\/cache|var\/log|var\/lib\/apt|tmp)\/.|^usr\/share\/(?:doc|man|info|locale|lintian)\/.|^etc\/(?:resolv\.conf|hostname|machine-id)$|^var\/lib\/dpkg\/.*-old$|^etc\/.*-$/;

const DPKG_STATUS = 'var/lib/dpkg/status';

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
 * @throws DinpError build-failed with the tool's last lines, refused where Debian lacks a package, canceled
 */
export function rootfs(options: RootfsOptions): AsyncGenerator<RootEntry> {
  return options.recipe.method === 'system' ? systemRoot(options) : extractedRoot(options);
}

/** A small Debian, streamed as mmdebstrap writes it. */
async function* systemRoot(options: RootfsOptions): AsyncGenerator<RootEntry> {
  const { recipe, signal } = options;
  const sources = await aptSources(signal);
  const packages = await choosePackages(recipe.packages, signal);
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
  const folder = await mkdtemp(join(tmpdir(), 'dinp-base-'));
  try {
    const child = start('mmdebstrap', args, options);
    const own = new Map(ownFiles(recipe).map((entry) => [entry.path, entry]));
    for await (const entry of tarEntries(child.stdout, join(folder, 'large'))) {
      if (entry.path === DPKG_STATUS) tellPackages(contentOf(entry).toString('utf8'), options);
      if (!SYSTEM_DROP.test(entry.path) && !own.has(entry.path)) yield entry;
    }
    await child.ended;
    yield* own.values();
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Files of packages, none of whose scripts run. */
async function* extractedRoot(options: RootfsOptions): AsyncGenerator<RootEntry> {
  const { recipe, signal } = options;
  const root = new Map<string, RootEntry>();
  const folder = await mkdtemp(join(tmpdir(), 'dinp-base-'));
  try {
    for (const deb of await downloadPackages(folder, options)) {
      const [name = '', version = ''] = basename(deb).split('_');
      options.onPackage(name, decodeURIComponent(version));
      const child = start('dpkg-deb', ['--fsys-tarfile', deb], options);
      for await (const entry of tarEntries(child.stdout, `${deb}.`)) {
        if (entry.path !== '' && !SYSTEM_DROP.test(entry.path)) root.set(entry.path, entry);
      }
      await child.ended;
      await rm(deb);
    }
    await setUpRoot(root, recipe, folder, signal);
    for (const path of [...root.keys()].sort()) yield root.get(path)!;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** @param status dpkg's list of what is installed */
function tellPackages(status: string, { onPackage }: RootfsOptions): void {
  for (const stanza of status.split('\n\n')) {
    const name = /^Package: *(\S+)$/m.exec(stanza)?.[1];
    const version = /^Version: *(\S+)$/m.exec(stanza)?.[1];
    if (name !== undefined && version !== undefined) onPackage(name, version);
  }
}

/** @param spool begin of the paths at which large contents are kept */
async function* tarEntries(stream: Readable, spool: string): AsyncGenerator<RootEntry> {
  const unpack = extract();
  stream.on('error', (error) => unpack.destroy(error));
  stream.pipe(unpack as unknown as NodeJS.WritableStream);
  let number = 0;
  for await (const entry of unpack) {
    const { header } = entry;
    const body = entry as unknown as Readable;
    const { type, size = 0 } = header;
    if (type !== 'file' && type !== 'directory' && type !== 'symlink' && type !== 'link') {
      body.resume();
      continue;
    }
    yield {
      path: mergedPath(header.name),
      type,
      mode: header.mode & 0o7777,
      uid: header.uid,
      gid: header.gid,
      linkname: type === 'link' ? mergedPath(header.linkname) : (header.linkname ?? ''),
      content: size > LARGE ? await keep(body, `${spool}${number++}`, size) : await gather(body),
    };
  }
}

async function keep(body: Readable, file: string, size: number): Promise<{ file: string; size: number }> {
  await pipeline(body, createWriteStream(file));
  return { file, size };
}

async function gather(body: Readable): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of body as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks);
}
