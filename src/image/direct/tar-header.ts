/** What a tar archive says of one file. */
export interface TarEntry {
  /** Without a leading `/`; of a folder with a `/` at its end. */
  path: string;
  type: 'file' | 'folder' | 'link';
  /** Permission bits. */
  mode: number;
  uid: number;
  gid: number;
  /** Bytes of a file; 0 for the others. */
  size: number;
  /** Seconds since the epoch. */
  mtime: number;
  /** Target of a link. */
  target: string;
}

const BLOCK = 512;
const TYPE = { file: '0', folder: '5', link: '2' };
/** The most that 11 octal digits hold. */
const MAX_SIZE = 0o77777777777;
/** The most that 7 octal digits hold. */
const MAX_ID = 0o7777777;

/** The two empty blocks at the end of an archive. */
export const TAR_END = Buffer.alloc(2 * BLOCK);

const PADS = Buffer.alloc(BLOCK);

/** The zeros that fill the last block of a file of that size. */
export function tarPadding(size: number): Buffer {
  return PADS.subarray(0, (BLOCK - (size % BLOCK)) % BLOCK);
}

/**
 * The header of an entry in the format of POSIX.1-2001 (pax): a ustar block without names of owners, and before it, only where
 * something does not fit, a block of pax records. One entry has exactly one form, so that equal files give equal archives.
 */
export function tarHeader(entry: TarEntry): Buffer {
  const path = Buffer.from(entry.path);
  const target = Buffer.from(entry.target);
  const split = splitPath(path);
  const records = Buffer.concat([
    split === undefined ? paxRecord('path', path) : Buffer.alloc(0),
    target.length > 100 ? paxRecord('linkpath', target) : Buffer.alloc(0),
    entry.uid > MAX_ID ? paxRecord('uid', Buffer.from(String(entry.uid))) : Buffer.alloc(0),
    entry.gid > MAX_ID ? paxRecord('gid', Buffer.from(String(entry.gid))) : Buffer.alloc(0),
    entry.size > MAX_SIZE ? paxRecord('size', Buffer.from(String(entry.size))) : Buffer.alloc(0),
  ]);
  const own = ustar({
    ...(split ?? { prefix: Buffer.alloc(0), name: path.subarray(0, 100) }),
    type: TYPE[entry.type],
    mode: entry.mode,
    uid: entry.uid > MAX_ID ? 0 : entry.uid,
    gid: entry.gid > MAX_ID ? 0 : entry.gid,
    size: entry.size > MAX_SIZE ? 0 : entry.size,
    mtime: entry.mtime,
    target: target.subarray(0, 100),
  });
  if (records.length === 0) return own;
  const before = ustar({
    prefix: Buffer.alloc(0),
    name: Buffer.from('pax'),
    type: 'x',
    mode: 0o644,
    uid: 0,
    gid: 0,
    size: records.length,
    mtime: entry.mtime,
    target: Buffer.alloc(0),
  });
  return Buffer.concat([before, records, tarPadding(records.length), own]);
}

interface Fields {
  prefix: Buffer;
  name: Buffer;
  type: string;
  mode: number;
  uid: number;
  gid: number;
  size: number;
  mtime: number;
  target: Buffer;
}

function ustar(fields: Fields): Buffer {
  const block = Buffer.alloc(BLOCK);
  const octal = (value: number, at: number, digits: number): void => {
    block.write(value.toString(8).padStart(digits, '0'), at, 'latin1');
  };
  fields.name.copy(block, 0);
  octal(fields.mode, 100, 7);
  octal(fields.uid, 108, 7);
  octal(fields.gid, 116, 7);
  octal(fields.size, 124, 11);
  octal(fields.mtime, 136, 11);
  block.fill(' ', 148, 156);
  block.write(fields.type, 156, 'latin1');
  fields.target.copy(block, 157);
  block.write('ustar\x0000', 257, 'latin1');
  octal(0, 329, 7);
  octal(0, 337, 7);
  fields.prefix.copy(block, 345);
  let sum = 0;
  for (const byte of block) sum += byte;
  octal(sum, 148, 6);
  block[154] = 0;
  return block;
}

/** A path as ustar's two fields hold it: at most 155 bytes, a `/`, at most 100 bytes; undefined where it does not fit. */
function splitPath(path: Buffer): { prefix: Buffer; name: Buffer } | undefined {
  if (path.length <= 100) return { prefix: Buffer.alloc(0), name: path };
  if (path.length > 256) return undefined;
  // The last "/" that leaves a name; a folder's own at the end does not count.
  for (let at = Math.min(155, path.length - 2); at >= path.length - 101 && at > 0; at--) {
    if (path[at] === 0x2f) return { prefix: path.subarray(0, at), name: path.subarray(at + 1) };
  }
  return undefined;
}

/** `<length> <key>=<value>\n`, whose length counts its own digits. */
function paxRecord(key: string, value: Buffer): Buffer {
  const rest = Buffer.byteLength(key) + value.length + 3;
  let length = rest + String(rest).length;
  if (String(length).length > String(rest).length) length++;
  return Buffer.concat([Buffer.from(`${length} ${key}=`), value, Buffer.from('\n')]);
}
