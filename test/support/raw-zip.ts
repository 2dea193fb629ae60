import { crc32, deflateRawSync } from 'node:zlib';

/** One entry of a zip that is written byte by byte, so that it can be wrong in any way. */
export interface RawEntry {
  name: string | Buffer;
  content?: string | Buffer;
  /** st_mode; undefined: written as by DOS. */
  mode?: number;
  stored?: boolean;
  /** What the directory says in place of the truth. */
  method?: number;
  flags?: number;
  size?: number;
  crc?: number;
  /** Takes the bytes of the entry of this index in place of bytes of its own. */
  sharedWith?: number;
}

/** Writes a zip (APPNOTE 6.3) of these entries, with `prefix` in front of it. */
export function rawZip(entries: RawEntry[], prefix: Buffer = Buffer.alloc(0)): Buffer {
  const parts: Buffer[] = [prefix];
  const directory: Buffer[] = [];
  const offsets: number[] = [];
  let at = prefix.length;
  for (const entry of entries) {
    const name = Buffer.from(entry.name);
    const content = Buffer.from(entry.content ?? '');
    const packed = entry.stored ? content : deflateRawSync(content);
    const fields = fieldsOf(entry, name, content, packed);
    offsets.push(entry.sharedWith === undefined ? at : offsets[entry.sharedWith]!);
    if (entry.sharedWith === undefined) {
      const local = Buffer.concat([Buffer.from('504b0304', 'hex'), fields, name, packed]);
      parts.push(local);
      at += local.length;
    }
    const tail = Buffer.alloc(14);
    tail.writeUInt32LE(((entry.mode ?? 0) << 16) >>> 0, 6);
    tail.writeUInt32LE(offsets.at(-1)!, 10);
    const madeBy = Buffer.from([20, entry.mode === undefined ? 0 : 3]);
    directory.push(Buffer.concat([Buffer.from('504b0102', 'hex'), madeBy, fields, tail, name]));
  }
  const central = Buffer.concat(directory);
  const end = Buffer.alloc(22);
  end.writeUInt32LE(0x06054b50, 0);
  end.writeUInt16LE(entries.length, 8);
  end.writeUInt16LE(entries.length, 10);
  end.writeUInt32LE(central.length, 12);
  end.writeUInt32LE(at, 16);
  return Buffer.concat([...parts, central, end]);
}

/** What the local header and the directory have in common. */
function fieldsOf(entry: RawEntry, name: Buffer, content: Buffer, packed: Buffer): Buffer {
  const fields = Buffer.alloc(26);
  fields.writeUInt16LE(20, 0);
  fields.writeUInt16LE(entry.flags ?? (typeof entry.name === 'string' ? 0x800 : 0), 2);
  fields.writeUInt16LE(entry.method ?? (entry.stored ? 0 : 8), 4);
  fields.writeUInt32LE(entry.crc ?? crc32(content), 10);
  fields.writeUInt32LE(packed.length, 14);
  fields.writeUInt32LE(entry.size ?? content.length, 18);
  fields.writeUInt16LE(name.length, 22);
  return fields;
}
