import { formatOf } from '../blobs.ts';

/** How much of a file's beginning tells what it is. */
export const LOOKED_AT = 1024;

export type Looks =
  | 'empty'
  | 'zip'
  | 'gzip'
  | 'zstd'
  | 'tar'
  | 'elf'
  | 'script'
  /** Something else, and what: "a Windows program". */
  | { other: string };

const MAGIC: [magic: string, what: string][] = [
  ['425a68', 'packed with bzip2'],
  ['fd377a585a00', 'packed with xz'],
  ['377abcaf271c', 'a 7-Zip archive'],
  ['526172211a07', 'a RAR archive'],
  ['04224d18', 'packed with lz4'],
  ['cafebabe', 'a single Java class'],
  ['213c617263683e0a', 'a Debian package or a static library'],
  ['edabeedb', 'an RPM package'],
  ['89504e470d0a1a0a', 'a picture'],
  ['ffd8ff', 'a picture'],
  ['25504446', 'a PDF document'],
  ['0061736d', 'a WebAssembly module'],
];

const FORMATS: Record<string, string> = {
  windows: 'a Windows program',
  macos: 'a macOS program',
  lfs: 'a git-lfs pointer, not the file itself',
};

/** What the first bytes of a file (LOOKED_AT of them, or all) say that it is. */
export function looksLike(head: Buffer): Looks {
  if (head.length === 0) return 'empty';
  const magic = head.toString('hex', 0, 8);
  if (/^504b(?:0304|0506|0708)/.test(magic)) return 'zip';
  if (magic.startsWith('1f8b')) return 'gzip';
  if (magic.startsWith('28b52ffd')) return 'zstd';
  if (isTarHeader(head)) return 'tar';
  const format = formatOf(head);
  if (format === 'elf') return 'elf';
  const named = FORMATS[format] ?? MAGIC.find(([start]) => magic.startsWith(start))?.[1];
  if (named !== undefined) return { other: named };
  if (magic.startsWith('2321')) return 'script';
  return { other: isText(head) ? 'a text' : 'in no format that is known here' };
}

/** Whether a header's checksum is right (POSIX ustar; older tars have no magic). */
export function isTarHeader(block: Buffer): boolean {
  if (block.length < 512) return false;
  const written = Number.parseInt(block.toString('latin1', 148, 156).replace(/[\0 ]/g, ''), 8);
  let sum = 8 * 0x20;
  for (let at = 0; at < 512; at++) if (at < 148 || at >= 156) sum += block[at]!;
  return written === sum && sum > 8 * 0x20;
}

function isText(head: Buffer): boolean {
  return !head.subarray(0, 512).some((byte) => byte < 9 || (byte > 13 && byte < 32 && byte !== 27));
}
