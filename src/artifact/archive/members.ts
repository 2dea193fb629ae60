import { printable } from '../../domain/names.ts';
import type { TreeEntry } from '../../domain/tree.ts';
import { refused } from './limits.ts';

const MAX_PATH_BYTES = 4096;
const MAX_DEPTH = 100;
/** What Linux follows before it says ELOOP. */
const MAX_HOPS = 40;

/** One entry as an archive has it, whatever the format. */
export interface Member {
  /** As it is written in the archive, `/` between parts. */
  name: string;
  type: 'file' | 'folder' | 'link';
  executable: boolean;
  /** Where a link leads. */
  target?: string | undefined;
}

/** A file or link of an archive, at the path that it gets. */
export interface Placed<M extends Member> {
  path: string;
  mode: TreeEntry['mode'];
  member: M;
}

/**
 * The files and links of an archive at the paths they get, by the rules for archives of strangers: nothing that leads
 * out of the archive, no two entries of one name, nothing below a link. What macOS adds is left out.
 * @param strip whether one folder that holds everything is taken off
 * @throws DinpError refused, naming the entry
 */
export function placeMembers<M extends Member>(
  archive: string,
  members: readonly M[],
  { strip }: { strip: boolean },
): Placed<M>[] {
  const named = members
    .map((member) => ({ parts: partsOf(archive, member.name), member }))
    .filter(({ parts }) => !isJunk(parts));
  const depth = strip && hasOneTop(named) ? 1 : 0;
  const leaves = new Map<string, Placed<M>>();
  const folders = new Set<string>();
  for (const { parts, member } of named) {
    const path = parts.slice(depth).join('/');
    if (member.type === 'folder') folders.add(path);
    else if (path === '') throw refused(archive, `has a ${member.type} without a name.`);
    else if (leaves.has(path)) throw refused(archive, `has "${printable(member.name)}" more than once.`);
    else leaves.set(path, { path, mode: modeOf(member), member });
  }
  if (leaves.size === 0) throw refused(archive, 'is empty: there is no file in it.');
  checkParents(archive, leaves, folders);
  checkLinks(archive, leaves);
  return [...leaves.values()].sort((a, b) => Buffer.compare(Buffer.from(a.path), Buffer.from(b.path)));
}

function modeOf({ type, executable }: Member): TreeEntry['mode'] {
  if (type === 'link') return '120000';
  return executable ? '100755' : '100644';
}

/** The parts of a name, `.` and doubled slashes left out. @throws DinpError refused for names that mean something else than a path below */
function partsOf(archive: string, name: string): string[] {
  const problem = nameProblem(name);
  if (problem !== undefined)
    throw refused(archive, `has the entry "${printable(name).slice(0, 200)}", which ${problem}.`);
  return name.split('/').filter((part) => part !== '' && part !== '.');
}

function nameProblem(name: string): string | undefined {
  if (name === '') return 'has no name';
  if (/[\u0000-\u001f\u007f-\u009f]/.test(name)) return 'holds a control character';
  if (name.includes('\ufffd')) return 'is not UTF-8';
  if (name.startsWith('/') || /^[A-Za-z]:[\\/]/.test(name)) return 'is an absolute path';
  const parts = name.split('/');
  if (parts.includes('..')) return 'leads out of the archive (..)';
  if (Buffer.byteLength(name) > MAX_PATH_BYTES || parts.length > MAX_DEPTH) return 'is too long for a path';
  return undefined;
}

/** What macOS's Finder and tar add to archives, and a repository that was packed along. */
function isJunk(parts: readonly string[]): boolean {
  const name = parts.at(-1) ?? '';
  return parts.includes('__MACOSX') || parts.includes('.git') || name === '.DS_Store' || name.startsWith('._');
}

function hasOneTop(named: readonly { parts: readonly string[]; member: Member }[]): boolean {
  const tops = new Set<string | undefined>();
  for (const { parts, member } of named) {
    if (parts.length === 0) continue;
    if (parts.length === 1 && member.type !== 'folder') return false;
    tops.add(parts[0]);
  }
  return tops.size === 1;
}

function checkParents<M extends Member>(
  archive: string,
  leaves: ReadonlyMap<string, Placed<M>>,
  folders: ReadonlySet<string>,
): void {
  for (const path of [...leaves.keys(), ...folders]) {
    if (folders.has(path) && leaves.has(path)) {
      throw refused(archive, `has "${printable(path)}" twice: as a folder and as a ${leaves.get(path)!.member.type}.`);
    }
    for (let slash = path.lastIndexOf('/'); slash !== -1; slash = path.lastIndexOf('/', slash - 1)) {
      const parent = leaves.get(path.slice(0, slash));
      if (parent === undefined) continue;
      throw refused(
        archive,
        `has the entry "${printable(path)}" below the ${parent.member.type} "${printable(parent.path)}".`,
      );
    }
  }
}

function checkLinks<M extends Member>(archive: string, leaves: ReadonlyMap<string, Placed<M>>): void {
  for (const { path, member } of leaves.values()) {
    if (member.type !== 'link') continue;
    const target = member.target ?? '';
    const problem =
      target === '' || /[\u0000-\u001f\u007f-\u009f]/.test(target)
        ? 'leads nowhere'
        : Buffer.byteLength(target) > MAX_PATH_BYTES || escapes(path, leaves)
          ? `leads out of the archive, to "${printable(target).slice(0, 200)}"`
          : undefined;
    if (problem !== undefined) {
      throw refused(
        archive,
        `has the link "${printable(path)}", which ${problem}.`,
        'Pack the file itself in place of the link (tar -h does so for all links).',
      );
    }
  }
}

/** Whether following the link at `path` leaves the archive, links on the way followed as a kernel would. */
function escapes<M extends Member>(path: string, leaves: ReadonlyMap<string, Placed<M>>): boolean {
  const at: string[] = [];
  const ahead = path.split('/').reverse();
  let hops = 0;
  while (ahead.length > 0) {
    const part = ahead.pop()!;
    if (part === '' || part === '.') continue;
    if (part === '..') {
      if (at.pop() === undefined) return true;
      continue;
    }
    at.push(part);
    const member = leaves.get(at.join('/'))?.member;
    if (member?.type !== 'link') continue;
    const target = member.target ?? '';
    if (target.startsWith('/')) return true;
    // A ring of links leads nowhere, which is no way out.
    if (++hops > MAX_HOPS) return false;
    at.pop();
    ahead.push(...target.split('/').reverse());
  }
  return false;
}
