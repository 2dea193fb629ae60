import type { ByteFile } from './byte-file.ts';

const END = 0x06054b50;
const END_SIZE = 22;
const MAX_COMMENT = 0xffff;
const DIRECTORY_ENTRY = 0x02014b50;
/** A zip64's numbers are elsewhere; nobody is known to put anything in front of one. */
const IN_ZIP64 = 0xffffffff;

interface ZipEnd {
  /** Where the record that ends a zip lies. */
  at: number;
  /** Bytes of the directory in front of it. */
  size: number;
  /** Where the directory begins, as the zip has it. */
  offset: number;
}

/**
 * Where a zip begins in its file. Spring Boot puts a start script in front of its "executable" jars, and `cat` does the
 * same, without changing the offsets inside: they count from behind it, as Java, Python and unzip know.
 * @returns bytes in front of the zip; 0 where the offsets are right as they are, or nothing can be told
 */
export async function zipStart(file: ByteFile): Promise<number> {
  const end = await findZipEnd(file);
  if (end === undefined || end.offset === IN_ZIP64) return 0;
  const start = end.at - end.size - end.offset;
  if (start <= 0 || (await isDirectory(file, end.offset))) return 0;
  return (await isDirectory(file, start + end.offset)) ? start : 0;
}

/** The last record of a zip (APPNOTE 4.3.16), behind which only its comment lies; undefined where the file has none. */
export async function findZipEnd(file: ByteFile): Promise<ZipEnd | undefined> {
  const from = Math.max(0, file.size - END_SIZE - MAX_COMMENT);
  const tail = await file.read(from, END_SIZE + MAX_COMMENT);
  for (let at = tail.length - END_SIZE; at >= 0; at--) {
    if (tail.readUInt32LE(at) !== END || at + END_SIZE + tail.readUInt16LE(at + 20) !== tail.length) continue;
    return { at: from + at, size: tail.readUInt32LE(at + 12), offset: tail.readUInt32LE(at + 16) };
  }
  return undefined;
}

async function isDirectory(file: ByteFile, offset: number): Promise<boolean> {
  const head = await file.read(offset, 4);
  return head.length === 4 && head.readUInt32LE(0) === DIRECTORY_ENTRY;
}
