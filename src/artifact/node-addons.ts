import type { Tree, TreeEntry } from '../domain/tree.ts';
import { formatOf, rangeReader, readHeads } from './blobs.ts';
import { readElf, readNeeded } from './elf.ts';

const OTHER_SYSTEMS = 'darwin|win32|freebsd|openbsd|netbsd|android|sunos|aix|linuxmusl|wasm32|linux';
/** A part of a path that says for what machine the file is: `linux-x64`, `sharp-darwin-arm64`, `linux-arm64-musl`. */
const PLATFORM = new RegExp(`(?<![a-z0-9])(${OTHER_SYSTEMS})[-_](x64|arm64|arm|ia32|x86|ppc64|s390x|riscv64|loong64)`);
/** An addon fills at least an ELF header; the rest of the packages' files are text. */
const MIN_ADDON = 52;
const MAX_ADDONS = 500;

const ARCHES: Record<string, string> = { amd64: 'x64', arm64: 'arm64' };

/**
 * What is wrong with the compiled addons (`*.node`) below node_modules on these hosts, for people; undefined where nothing is.
 * Packages that bring an addon for each system are fine where the right one is among them.
 */
export async function addonProblem(tree: Tree, hostArch: string): Promise<string | undefined> {
  const addons = tree.entries.filter(
    ({ path, mode, size }) =>
      path.startsWith('node_modules/') && path.endsWith('.node') && mode !== '120000' && size >= MIN_ADDON,
  );
  if (addons.length === 0) return undefined;
  const platforms = platformProblem(addons, hostArch);
  if (platforms !== undefined) return platforms;
  const own = addons.filter(({ path }) => !PLATFORM.test(path)).slice(0, MAX_ADDONS);
  for await (const { entry, head } of readHeads(tree, own)) {
    const format = formatOf(head);
    if (format === 'macos' || format === 'windows')
      return `${entry.path} is compiled for ${format === 'macos' ? 'macOS' : 'Windows'}; these hosts run Linux.`;
    if (format !== 'elf') continue;
    const read = rangeReader(tree, entry, head);
    const elf = await readElf(read);
    if (elf !== undefined && elf.arch !== hostArch)
      return `${entry.path} is compiled for ${elf.arch}; these hosts are ${hostArch}.`;
    if ((await readNeeded(read)).some((library) => library.startsWith('libc.musl-')))
      return `${entry.path} is compiled for musl (Alpine Linux); the base has glibc.`;
  }
  return undefined;
}

/** Groups what differs by platform only, and asks that each group has one for these hosts. */
function platformProblem(addons: readonly TreeEntry[], hostArch: string): string | undefined {
  const wanted = `linux-${ARCHES[hostArch] ?? hostArch}`;
  const groups = new Map<string, Set<string>>();
  for (const { path } of addons) {
    const match = PLATFORM.exec(path);
    if (match === null) continue;
    const group = path.slice(0, match.index);
    const musl = /^[-_.]?musl/.test(path.slice(match.index + match[0].length)) || match[1] === 'linuxmusl';
    const platform = `${match[1] === 'linuxmusl' ? 'linux' : match[1]}-${match[2]}${musl ? '-musl' : ''}`;
    groups.set(group, (groups.get(group) ?? new Set()).add(platform));
  }
  for (const [group, platforms] of groups) {
    if (platforms.has(wanted)) continue;
    const name = group.replace(/^.*node_modules\//, '').replace(/[-_./]+(?:prebuilds\/.*)?$/, '');
    return `node_modules has ${name} for ${[...platforms].join(', ')} only; these hosts are ${wanted}.`;
  }
  return undefined;
}
