export interface ElfOptions {
  /** e_machine: 62 amd64, 183 arm64. */
  machine?: number;
  /** e_type: 1 object, 2 executable, 3 shared or position independent. */
  type?: number;
  interpreter?: string;
  /** Marks a static-pie program. */
  pie?: boolean;
  bits?: 32 | 64;
  bigEndian?: boolean;
  /** Bytes between the headers and what they point at, as large programs have. */
  gap?: number;
}

/** A small ELF file with just the headers that loaders look at. */
export function makeElf(options: ElfOptions = {}): Buffer {
  const { machine = 62, type = 2, interpreter, pie, bits = 64, bigEndian = false, gap = 0 } = options;
  const wide = bits === 64;
  const headerSize = wide ? 64 : 52;
  const segmentSize = wide ? 56 : 32;
  const count = (interpreter === undefined ? 0 : 1) + (pie ? 1 : 0);
  const body = headerSize + segmentSize * count + gap;
  const interp = Buffer.from(interpreter === undefined ? '' : `${interpreter}\0`);
  const dynamic = Buffer.alloc(pie ? (wide ? 48 : 24) : 0);
  const file = Buffer.alloc(body + interp.length + dynamic.length);
  const u16 = (at: number, value: number) =>
    bigEndian ? file.writeUInt16BE(value, at) : file.writeUInt16LE(value, at);
  const u32 = (at: number, value: number, to = file) =>
    bigEndian ? to.writeUInt32BE(value, at) : to.writeUInt32LE(value, at);
  const word = (at: number, value: number, to = file) => {
    if (!wide) u32(at, value, to);
    else if (bigEndian) to.writeBigUInt64BE(BigInt(value), at);
    else to.writeBigUInt64LE(BigInt(value), at);
  };
  file.write('\x7fELF', 0, 'latin1');
  file[4] = wide ? 2 : 1;
  file[5] = bigEndian ? 2 : 1;
  file[6] = 1;
  u16(16, type);
  u16(18, machine);
  word(wide ? 32 : 28, headerSize);
  u16(wide ? 54 : 42, segmentSize);
  u16(wide ? 56 : 44, count);
  const segments = [
    ...(interpreter === undefined ? [] : [{ type: 3, offset: body, size: interp.length }]),
    ...(pie ? [{ type: 2, offset: body + interp.length, size: dynamic.length }] : []),
  ];
  for (const [i, segment] of segments.entries()) {
    const at = headerSize + i * segmentSize;
    u32(at, segment.type);
    word(at + (wide ? 8 : 4), segment.offset);
    word(at + (wide ? 32 : 16), segment.size);
  }
  if (pie) {
    const step = wide ? 16 : 8;
    word(0, 30, dynamic);
    word(step, 0x6ffffffb, dynamic);
    word(step + step / 2, 0x08000001, dynamic);
  }
  interp.copy(file, body);
  dynamic.copy(file, body + interp.length);
  return file;
}
