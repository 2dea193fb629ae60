import { createHash } from 'node:crypto';
import type { Tree } from '../../domain/tree.ts';
import { archiveTree, type Leaf } from './archive-tree.ts';
import { type ByteFile, WindowReader } from './byte-file.ts';
import { type ArchiveLimits, bomb, refused, tooLarge, tooManyEntries } from './limits.ts';
import { type Placed, placeMembers } from './members.ts';
import type { Zip, ZipRecord } from './zip.ts';

const MAX_LINK = 4096;

export interface ZipTreeOptions {
  limits: ArchiveLimits;
  /** Whether one folder that holds everything is taken off. */
  strip: boolean;
}

/**
 * What is inside a zip, by the rules for archives of strangers. Files are inflated when they are read; ids are made
 * of the packed bytes, so that opening costs one reading of the file and no inflating.
 * @throws DinpError refused, naming the entry
 */
export async function zipTree(zip: Zip, { limits, strip }: ZipTreeOptions): Promise<Tree> {
  checkSizes(zip, limits);
  const members = [];
  for (const record of zip.records) {
    if (record.type !== 'link') members.push(record);
    else members.push({ ...record, target: (await zip.read(record, MAX_LINK + 1)).toString('utf8') });
  }
  const placed = placeMembers(zip.name, members, { strip });
  const ids = await identify(zip, placed);
  return archiveTree(
    placed.map(({ path, mode, member }): Leaf => {
      const entry = { path, mode, oid: ids.get(member)!, size: member.size };
      return { entry, open: () => zip.stream(member) };
    }),
  );
}

/** The sizes that the directory says; reading holds every entry to its own. */
function checkSizes(zip: Zip, limits: ArchiveLimits): void {
  let inflated = 0;
  let packed = 0;
  for (const [index, record] of zip.records.entries()) {
    if (index >= limits.maxEntries) throw tooManyEntries(zip.name, record.name, limits);
    inflated += record.size;
    packed += record.packed;
    if (inflated > limits.maxBytes) throw tooLarge(zip.name, record.name, limits);
    if (inflated > limits.ratioFrom && inflated > Math.max(1, packed) * limits.maxRatio) {
      throw bomb(zip.name, record.name, limits);
    }
  }
}

/**
 * Ids of entries: SHA-256 over mode, method, size, CRC and packed bytes. Equal ones inflate to equal contents.
 * @throws DinpError refused where two entries share bytes, as in bombs that unpack the same bytes again and again
 */
async function identify(zip: Zip, placed: readonly Placed<ZipRecord>[]): Promise<Map<ZipRecord, string>> {
  const headers = placed.toSorted(
    (a, b) => a.member.entry.relativeOffsetOfLocalHeader - b.member.entry.relativeOffsetOfLocalHeader,
  );
  const window = new WindowReader(zip.file);
  const ids = new Map<ZipRecord, string>();
  let end = 0;
  for (const { mode, member } of headers) {
    const start = await zip.startOf(member);
    if (member.entry.relativeOffsetOfLocalHeader < end) {
      throw refused(zip.name, `has the entry "${member.name}", which shares its bytes with another one.`);
    }
    end = start + member.packed;
    const hash = createHash('sha256').update(`zip ${mode} ${member.method} ${member.size} ${member.crc}\0`);
    for await (const chunk of piecesOf(zip.file, window, start, member.packed)) hash.update(chunk);
    ids.set(member, hash.digest('hex'));
  }
  return ids;
}

async function* piecesOf(file: ByteFile, window: WindowReader, start: number, length: number): AsyncGenerator<Buffer> {
  if (length <= 64 * 1024) yield await window.read(start, length);
  else yield* file.stream(start, length);
}
