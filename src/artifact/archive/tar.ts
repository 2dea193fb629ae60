import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip, createZstdDecompress } from 'node:zlib';
import { extract, type Header } from 'tar-stream';
import { DinpError } from '../../domain/errors.ts';
import { printable } from '../../domain/names.ts';
import type { Tree } from '../../domain/tree.ts';
import { archiveTree, type Leaf } from './archive-tree.ts';
import { type ByteFile, Spool } from './byte-file.ts';
import { type ArchiveLimits, bomb, damaged, refused, tooLarge, tooManyEntries } from './limits.ts';
import { type Member, placeMembers } from './members.ts';

export type TarPacking = 'none' | 'gzip' | 'zstd';

/** Headers, padding and folders of a tar count too while it is inflated. */
const HEADER_ROOM = 4096;

/** Tars from before POSIX have no magic, only a checksum. The library's types lack the option. */
const OLD_TOO = { allowUnknownFormat: true } as object;

interface TarMember extends Member {
  size: number;
  /** Where its content lies in the spool. */
  offset: number;
  /** Of its content, hexadecimal. */
  sha256: string;
}

/**
 * Unpacks a tar once into a temporary file without a name, and gives a tree over it (POSIX ustar and pax, GNU long names).
 * @param name of the archive, for people
 * @throws DinpError refused, naming the entry
 */
export async function openTar(
  file: ByteFile,
  name: string,
  packing: TarPacking,
  { limits, strip, scratch }: { limits: ArchiveLimits; strip: boolean; scratch?: string | undefined },
): Promise<Tree & AsyncDisposable> {
  await using stack = new AsyncDisposableStack();
  const spool = stack.use(await Spool.create(scratch));
  const members = await unpack(file, name, packing, limits, spool);
  await spool.flush();
  const leaves = placeMembers(name, members, { strip }).map(({ path, mode, member }): Leaf => {
    const link = member.type === 'link' ? Buffer.from(member.target!) : undefined;
    const content = link === undefined ? member.sha256 : createHash('sha256').update(link).digest('hex');
    const oid = createHash('sha256').update(`tar ${mode} ${content}`).digest('hex');
    const size = link?.length ?? member.size;
    return {
      entry: { path, mode, oid, size },
      open: link === undefined ? () => spool.stream(member.offset, member.size) : () => only(link),
    };
  });
  const kept = stack.move();
  return Object.assign(archiveTree(leaves), { [Symbol.asyncDispose]: () => kept.disposeAsync() });
}

async function* only(content: Buffer): AsyncGenerator<Buffer> {
  yield content;
}

async function unpack(
  file: ByteFile,
  name: string,
  packing: TarPacking,
  limits: ArchiveLimits,
  spool: Spool,
): Promise<TarMember[]> {
  const members = new Map<string, TarMember>();
  const all: TarMember[] = [];
  const tar = extract(OLD_TOO);
  const progress = { entry: 'its beginning' };
  const source = Readable.from(inflated(file, name, packing, limits, progress), { objectMode: false });
  // A failure of either side ends the loop below; which one it was is asked afterwards.
  const fed = pipeline(source, tar).then(
    () => undefined,
    (error: unknown) => error,
  );
  let total = 0;
  try {
    for await (const entry of tar) {
      const { header } = entry;
      progress.entry = header.name;
      if (all.length >= limits.maxEntries) throw tooManyEntries(name, header.name, limits);
      total += header.size ?? 0;
      if (total > limits.maxBytes) throw tooLarge(name, header.name, limits);
      const member = memberOf(name, header, members);
      if (header.type === 'link') await drain(entry as AsyncIterable<Buffer>);
      else await spoolContent(entry as AsyncIterable<Buffer>, member, spool);
      members.set(key(header.name), member);
      all.push(member);
    }
  } catch (error) {
    source.destroy();
    tar.destroy();
    await fed;
    if (error instanceof DinpError) throw error;
    throw damaged(name, `at "${printable(progress.entry)}": ${reasonOf(error)}`, error);
  }
  const failure = await fed;
  if (failure instanceof DinpError) throw failure;
  if (failure !== undefined) throw damaged(name, `at "${printable(progress.entry)}": ${reasonOf(failure)}`, failure);
  return all;
}

/** The tar inside; what it comes to is counted as it flows. */
async function* inflated(
  file: ByteFile,
  name: string,
  packing: TarPacking,
  limits: ArchiveLimits,
  progress: { entry: string },
): AsyncGenerator<Buffer> {
  let packed = 0;
  let length = 0;
  const counted = async function* () {
    for await (const chunk of file.stream(0, file.size)) {
      packed += chunk.length;
      yield chunk;
    }
  };
  const most = limits.maxBytes + (limits.maxEntries + 1) * HEADER_ROOM;
  for await (const chunk of unpacker(counted(), packing)) {
    length += chunk.length;
    if (length > most) throw tooLarge(name, progress.entry, limits);
    if (length > limits.ratioFrom && length > packed * limits.maxRatio) throw bomb(name, progress.entry, limits);
    yield chunk;
  }
}

async function* unpacker(source: AsyncGenerator<Buffer>, packing: TarPacking): AsyncGenerator<Buffer> {
  if (packing === 'none') {
    yield* source;
    return;
  }
  const inflater = packing === 'gzip' ? createGunzip({ chunkSize: 128 * 1024 }) : createZstdDecompress();
  const input = Readable.from(source, { objectMode: false });
  input.on('error', (error) => inflater.destroy(error)).pipe(inflater);
  try {
    yield* inflater;
  } finally {
    input.destroy();
  }
}

function memberOf(archive: string, header: Header, earlier: ReadonlyMap<string, TarMember>): TarMember {
  const { name, type, linkname } = header;
  const shown = printable(name);
  const member = {
    name,
    executable: ((header.mode ?? 0) & 0o100) !== 0,
    size: header.size ?? 0,
    offset: 0,
    sha256: '',
  };
  if (isSparse(header)) throw refused(archive, `has "${shown}" as a sparse file.`, 'Pack it again without --sparse.');
  switch (type) {
    case 'file':
    case 'contiguous-file':
      return { ...member, type: 'file' };
    case 'directory':
      return { ...member, type: 'folder' };
    case 'symlink':
      return { ...member, type: 'link', target: linkname ?? '' };
    case 'link': {
      const original = earlier.get(key(linkname ?? ''));
      if (original !== undefined && original.type !== 'folder') return { ...original, name };
      throw refused(
        archive,
        `has the hard link "${shown}" to "${printable(linkname ?? '')}", which is no earlier file of it.`,
      );
    }
    default:
      throw refused(archive, `has the entry "${shown}", which is ${NAMED[type ?? ''] ?? 'of an unknown kind'}.`);
  }
}

const NAMED: Record<string, string> = {
  'character-device': 'a device',
  'block-device': 'a device',
  fifo: 'a named pipe',
};

/** GNU tar's sparse files in the pax format look like ordinary ones with a map in front of their content. */
function isSparse({ pax }: Header): boolean {
  return Object.keys(pax ?? {}).some((name) => name.startsWith('GNU.sparse.'));
}

/** Names as hard links refer to them: `./a//b` is `a/b`. */
function key(name: string): string {
  return name
    .split('/')
    .filter((part) => part !== '' && part !== '.')
    .join('/');
}

async function spoolContent(content: AsyncIterable<Buffer>, member: TarMember, spool: Spool): Promise<void> {
  const hash = createHash('sha256');
  member.offset = spool.end;
  for await (const chunk of content) {
    hash.update(chunk);
    await spool.append(chunk);
  }
  member.size = spool.end - member.offset;
  member.sha256 = hash.digest('hex');
}

async function drain(content: AsyncIterable<Buffer>): Promise<void> {
  for await (const _ of content);
}

/** What a decompressor or the tar parser found wrong, as part of a sentence. */
export function reasonOf(error: unknown): string {
  const { message, code } = error as { message: string; code?: string };
  if (code === 'Z_BUF_ERROR' || /[Uu]nexpected end/.test(message)) return 'its end is missing';
  if (/incorrect (?:data|length) check/.test(message)) return 'its checksum is wrong';
  if (/[Ii]nvalid tar header/.test(message)) return 'what follows is no tar header';
  return printable(message);
}
