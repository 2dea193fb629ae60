import { Readable } from 'node:stream';
import { crc32, createInflateRaw, inflateRawSync } from 'node:zlib';
import {
  type Entry,
  fromRandomAccessReaderPromise,
  getFileNameLowLevel,
  RandomAccessReader,
  type ZipFile,
} from 'yauzl';
import { DinpError } from '../../domain/errors.ts';
import { printable } from '../../domain/names.ts';
import { type ByteFile, WindowReader } from './byte-file.ts';
import { damaged, refused } from './limits.ts';
import type { Member } from './members.ts';
import { zipStart } from './zip-start.ts';

/** Entries up to this size are inflated in one go and at once, in less than a millisecond; a stream costs more than that. */
const IN_ONE_GO = 128 * 1024;

const STORED = 0;
const DEFLATED = 8;
const METHODS: Record<number, string> = {
  9: 'Deflate64',
  12: 'bzip2',
  14: 'LZMA',
  93: 'Zstandard',
  95: 'xz',
  99: 'AES',
};

const S_IFMT = 0o170000;
const S_IFREG = 0o100000;
const S_IFDIR = 0o040000;
const S_IFLNK = 0o120000;

/** One entry of a zip's central directory. */
export interface ZipRecord extends Member {
  method: number;
  crc: number;
  packed: number;
  /** Inflated bytes, as the directory says; reading fails where that is untrue. */
  size: number;
  entry: Entry;
}

/** A zip that is read at random from a file (APPNOTE 6.3, with zip64, data descriptors and Info-ZIP's Unix modes). */
export class Zip {
  /** For people. */
  readonly name: string;
  /** Its bytes, without what stands in front of it. */
  readonly file: ByteFile;
  readonly records: readonly ZipRecord[];
  readonly #zip: ZipFile;
  readonly #starts = new Map<ZipRecord, number>();

  private constructor(name: string, file: ByteFile, zip: ZipFile, records: ZipRecord[]) {
    this.name = name;
    this.file = file;
    this.records = records;
    this.#zip = zip;
  }

  /**
   * Reads the central directory.
   * @param name of the archive, for people
   * @param maxEntries more are refused
   * @throws DinpError refused for what is no zip, is damaged, encrypted, packed by an unknown method or holds devices
   */
  static async open(file: ByteFile, name: string, maxEntries: number): Promise<Zip> {
    const options = { lazyEntries: true, autoClose: false, decodeStrings: false, validateEntrySizes: true };
    const records: ZipRecord[] = [];
    try {
      const start = await zipStart(file);
      const bytes = start === 0 ? file : file.from(start);
      const zip = await fromRandomAccessReaderPromise(new FileReader(bytes), bytes.size, options);
      for await (const entry of zip.eachEntry()) {
        const record = recordOf(name, entry);
        records.push(record);
        if (records.length > maxEntries) {
          throw refused(
            name,
            `has more than ${maxEntries} entries; the first that is too many is "${printable(record.name)}".`,
          );
        }
      }
      if (records.length === 0) throw refused(name, 'is empty: there is no file in it.');
      return new Zip(name, bytes, zip, records);
    } catch (error) {
      if (error instanceof DinpError) throw error;
      throw damaged(name, plain((error as Error).message), error);
    }
  }

  /** Where an entry's packed bytes begin. @throws DinpError refused where they are not all in the file */
  async startOf(record: ZipRecord): Promise<number> {
    const known = this.#starts.get(record);
    if (known !== undefined) return known;
    let start: number;
    try {
      start = (await this.#zip.readLocalFileHeaderPromise(record.entry, { minimal: true })).fileDataStart;
    } catch (error) {
      throw this.#broken(record, plain((error as Error).message), error);
    }
    if (start + record.packed > this.file.size) throw this.#broken(record, 'its end is missing');
    this.#starts.set(record, start);
    return start;
  }

  /** An entry's content. Its length and CRC are checked at its end. @throws DinpError refused where they are wrong */
  async *stream(record: ZipRecord): AsyncGenerator<Buffer> {
    const start = await this.startOf(record);
    let length = 0;
    let crc = 0;
    try {
      for await (const chunk of this.#inflated(record, start)) {
        length += chunk.length;
        if (length > record.size) throw this.#broken(record, 'it is longer than the directory says');
        crc = crc32(chunk, crc);
        yield chunk;
      }
    } catch (error) {
      if (error instanceof DinpError) throw error;
      throw this.#broken(record, plain((error as Error).message), error);
    }
    if (length < record.size) throw this.#broken(record, 'it is shorter than the directory says');
    if (crc !== record.crc) throw this.#broken(record, 'its checksum is wrong');
  }

  /** All of an entry that is known to be small. @param limit bytes; more of it is left out */
  async read(record: ZipRecord, limit: number): Promise<Buffer> {
    const chunks: Buffer[] = [];
    let length = 0;
    for await (const chunk of this.stream(record)) {
      chunks.push(chunk);
      length += chunk.length;
      if (length > limit) break;
    }
    return Buffer.concat(chunks).subarray(0, limit);
  }

  async *#inflated(record: ZipRecord, start: number): AsyncGenerator<Buffer> {
    // Some writers call an empty file deflated and give it no bytes at all.
    if (record.packed === 0 && record.size === 0) return;
    if (record.method === STORED) {
      yield* this.file.stream(start, record.packed);
    } else if (record.size <= IN_ONE_GO && record.packed <= IN_ONE_GO) {
      const packed = await this.file.read(start, record.packed);
      yield inflateRawSync(packed, { maxOutputLength: Math.max(1, record.size) });
    } else {
      const source = Readable.from(this.file.stream(start, record.packed), { objectMode: false });
      const inflater = createInflateRaw({ chunkSize: 128 * 1024 });
      source.on('error', (error) => inflater.destroy(error)).pipe(inflater);
      try {
        yield* inflater;
      } finally {
        source.destroy();
      }
    }
  }

  #broken(record: ZipRecord, detail: string, cause?: unknown): DinpError {
    return damaged(this.name, `"${printable(record.name)}": ${detail}`, cause);
  }
}

function recordOf(archive: string, entry: Entry): ZipRecord {
  // Without decodeStrings it is a Buffer, whatever its type says; the library knows the rules of how names are encoded.
  const raw = entry.fileName as unknown as Buffer;
  const name = getFileNameLowLevel(entry.generalPurposeBitFlag, raw, entry.extraFields, false);
  const shown = printable(name);
  if (entry.isEncrypted()) throw refused(archive, `is encrypted ("${shown}").`, 'Pack it again without a password.');
  const mode = unixMode(entry);
  const kind = mode & S_IFMT;
  const folder = name.endsWith('/') || kind === S_IFDIR || (mode === 0 && (entry.externalFileAttributes & 0x10) !== 0);
  if (!folder && ![0, S_IFREG, S_IFLNK].includes(kind)) {
    throw refused(archive, `has the entry "${shown}", which is a device, pipe or socket.`);
  }
  if (!folder && entry.compressionMethod !== STORED && entry.compressionMethod !== DEFLATED) {
    const method = METHODS[entry.compressionMethod] ?? `method ${entry.compressionMethod}`;
    throw refused(archive, `has "${shown}" packed by ${method}.`, 'Pack it again by the usual method (Deflate).');
  }
  return {
    name,
    type: folder ? 'folder' : kind === S_IFLNK ? 'link' : 'file',
    executable: (mode & 0o100) !== 0,
    method: entry.compressionMethod,
    crc: entry.crc32,
    packed: entry.compressedSize,
    size: entry.uncompressedSize,
    entry,
  };
}

/** Info-ZIP keeps st_mode in the upper half of the attributes where the maker is Unix (3) or macOS (19). */
function unixMode({ versionMadeBy, externalFileAttributes }: Entry): number {
  const host = versionMadeBy >>> 8;
  return host === 3 || host === 19 ? externalFileAttributes >>> 16 : 0;
}

/** The libraries' own texts, as part of a sentence. */
function plain(message: string): string {
  if (/^Cannot create a Buffer larger/.test(message)) return 'it is longer than the directory says';
  if (/^End of central directory/.test(message)) return 'its directory, which lies at the end, is missing';
  return printable(message.replace(/\.$/, ''));
}

/** What the library reads through: the directory and headers, in small pieces. */
class FileReader extends RandomAccessReader {
  readonly #window: WindowReader;
  readonly #file: ByteFile;

  constructor(file: ByteFile) {
    super();
    this.#file = file;
    this.#window = new WindowReader(file);
  }

  override _readStreamForRange(start: number, end: number): Readable {
    return Readable.from(this.#file.stream(start, end - start), { objectMode: false });
  }

  override read(
    buffer: Buffer,
    offset: number,
    length: number,
    position: number,
    callback: (error: Error | null, bytesRead?: number) => void,
  ): void {
    this.#window.read(position, length).then(
      (bytes) => {
        bytes.copy(buffer, offset);
        if (bytes.length < length) callback(new Error('unexpected end of the file'));
        else callback(null, length);
      },
      (error: Error) => callback(error),
    );
  }
}
