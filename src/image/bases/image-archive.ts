import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join, posix } from 'node:path';
import { Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import { extract } from 'tar-stream';
import { DinpError } from '../../domain/errors.ts';
import { printable } from '../../domain/names.ts';
import { canceled } from '../abort.ts';

/** A file of an archive, spooled to disk. */
export interface ArchiveFile {
  file: string;
  size: number;
  /** `sha256:…` of its bytes. */
  digest: string;
}

export interface ArchiveLimits {
  /** Of all files together, unpacked. */
  bytes: number;
  entries: number;
}

const LIMITS: ArchiveLimits = { bytes: 32 * 2 ** 30, entries: 10_000 };
/** Manifests and configs are small. */
const MAX_JSON = 8 << 20;

/** The files of a tar, by their names in it; where they lie on disk has nothing to do with those. */
export class ImageArchive {
  readonly #files: ReadonlyMap<string, ArchiveFile>;
  readonly #links: ReadonlyMap<string, string>;

  private constructor(files: ReadonlyMap<string, ArchiveFile>, links: ReadonlyMap<string, string>) {
    this.#files = files;
    this.#links = links;
  }

  /**
   * Reads a tar, gzipped or not, to its end.
   * @param folder empty; gets the contents
   * @throws DinpError refused for what is no tar, ends early, has names that lead out of it or is too large; canceled
   */
  static async read(
    bytes: AsyncIterable<Uint8Array>,
    folder: string,
    signal: AbortSignal,
    limits = LIMITS,
  ): Promise<ImageArchive> {
    const files = new Map<string, ArchiveFile>();
    const links = new Map<string, string>();
    const unpack = extract();
    let total = 0;
    let entries = 0;
    const reading = (async () => {
      for await (const entry of unpack) {
        const { name, type, size = 0, linkname } = entry.header;
        const body = entry as unknown as Readable;
        total += size;
        entries += 1;
        if (total > limits.bytes || entries > limits.entries) throw tooLarge(limits);
        const path = cleanPath(name);
        if (type === 'symlink' || type === 'link') {
          const target = linkname ?? '';
          links.set(path, cleanPath(path, type === 'link' ? target : posix.join(posix.dirname(path), target)));
          body.resume();
        } else if (type === 'file' || type === 'contiguous-file') {
          files.set(path, await spool(body, join(folder, String(entries)), size, signal));
        } else if (type === 'directory') {
          body.resume();
        } else {
          throw new DinpError('refused', `The archive holds ${printable(name)}, which is neither file nor folder.`);
        }
      }
    })();
    const unpacked = await unzipped(bytes);
    const fed = pipeline(unpacked, unpack as unknown as NodeJS.WritableStream, { signal });
    const [first, second] = await Promise.allSettled([
      reading.catch((error) => {
        unpack.destroy(error as Error);
        throw error;
      }),
      fed,
    ]);
    const failures = [first, second].flatMap((each) => (each.status === 'rejected' ? [each.reason as Error] : []));
    if (failures.length > 0) throw explain(failures, signal);
    return new ImageArchive(files, links);
  }

  /** A file by its name, through links; undefined where it is not there. */
  find(name: string): ArchiveFile | undefined {
    let path = posix.normalize(name);
    for (let hops = 0; hops < 8; hops++) {
      const file = this.#files.get(path);
      if (file !== undefined) return file;
      const target = this.#links.get(path);
      if (target === undefined) return undefined;
      path = target;
    }
    return undefined;
  }

  /** @throws DinpError refused where the archive lacks it */
  get(name: string): ArchiveFile {
    const file = this.find(name);
    if (file === undefined) throw new DinpError('refused', `The archive lacks ${printable(name)}.`);
    return file;
  }

  /** A blob of an OCI layout, which must be what its name says. @throws DinpError refused */
  blob(digest: string): ArchiveFile {
    const [, hex] = /^sha256:([0-9a-f]{64})$/.exec(digest) ?? [];
    if (hex === undefined) throw new DinpError('refused', `The archive names a blob as "${printable(digest)}".`);
    const file = this.get(`blobs/sha256/${hex}`);
    if (file.digest === digest) return file;
    throw new DinpError('refused', `The archive is damaged: blobs/sha256/${hex} has other content than its name says.`);
  }

  /** @throws DinpError refused where it is not JSON, or not small */
  async json(file: ArchiveFile, what: string): Promise<{ bytes: Buffer; value: unknown }> {
    if (file.size > MAX_JSON) throw new DinpError('refused', `${printable(what)} in the archive is too large.`);
    const bytes = await readFile(file.file);
    try {
      return { bytes, value: JSON.parse(bytes.toString('utf8')) };
    } catch (cause) {
      throw new DinpError('refused', `${printable(what)} in the archive is not JSON.`, { cause });
    }
  }
}

/** Whether a file begins as gzip does. */
export async function isGzip(file: string): Promise<boolean> {
  for await (const chunk of createReadStream(file, { end: 1 })) {
    const [first, second] = chunk as Buffer;
    return first === 0x1f && second === 0x8b;
  }
  return false;
}

/** Unzips where the first bytes say that it is needed. */
async function unzipped(bytes: AsyncIterable<Uint8Array>): Promise<Readable> {
  const iterator = bytes[Symbol.asyncIterator]();
  const head: Buffer[] = [];
  let length = 0;
  while (length < 2) {
    const next = await iterator.next();
    if (next.done) break;
    head.push(Buffer.from(next.value));
    length += next.value.length;
  }
  if (length === 0) throw new DinpError('refused', 'The archive is empty.');
  const first = Buffer.concat(head);
  const whole = Readable.from(
    (async function* () {
      yield first;
      for (let next = await iterator.next(); !next.done; next = await iterator.next()) yield Buffer.from(next.value);
    })(),
    { objectMode: false },
  );
  if (first[0] !== 0x1f || first[1] !== 0x8b) return whole;
  const gunzip = createGunzip();
  whole.on('error', (error) => gunzip.destroy(error));
  return whole.pipe(gunzip);
}

async function spool(body: Readable, file: string, size: number, signal: AbortSignal): Promise<ArchiveFile> {
  const hash = createHash('sha256');
  const hashed = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      hash.update(chunk);
      done(null, chunk);
    },
  });
  await pipeline(body, hashed, createWriteStream(file), { signal });
  return { file, size, digest: `sha256:${hash.digest('hex')}` };
}

/** @throws DinpError refused for a name that leads out of the archive */
function cleanPath(name: string, target = name): string {
  const path = posix.normalize(target).replace(/\/+$/, '');
  if (!path.startsWith('/') && path !== '..' && !path.startsWith('../') && !name.split('/').includes('..')) return path;
  throw new DinpError('refused', `The archive holds the name ${printable(name)}, which leads out of it.`);
}

function tooLarge(limits: ArchiveLimits): DinpError {
  return new DinpError(
    'refused',
    `The archive holds more than ${limits.entries} files or ${limits.bytes / 2 ** 30} GiB.`,
  );
}

function explain(failures: readonly Error[], signal: AbortSignal): Error {
  if (signal.aborted) return canceled(signal);
  const known = failures.find((each) => each instanceof DinpError);
  if (known !== undefined) return known;
  const [cause] = failures;
  if (failures.some((each) => /unexpected end/i.test(each.message)))
    return new DinpError('refused', 'The archive ends too early; it was not sent whole.', { cause });
  if (failures.some((each) => (each as { code?: string }).code === 'ENOSPC'))
    return new DinpError('unavailable', 'The disk is full: the archive has no room beside what is there.', { cause });
  if (failures.some((each) => /header|incorrect|invalid/i.test(each.message)))
    return new DinpError('refused', 'That is not a tar of images.', {
      hint: 'Make one with docker save, podman save or skopeo copy … oci-archive:FILE.',
      cause,
    });
  return cause!;
}
