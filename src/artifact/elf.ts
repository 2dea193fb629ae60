/** GOARCH-like names of the machines that e_machine may say (System V ABI, gABI chapter 4). */
const MACHINES: Record<number, string> = {
  3: '386',
  8: 'mips',
  20: 'ppc',
  21: 'ppc64',
  22: 's390x',
  40: 'arm',
  62: 'amd64',
  183: 'arm64',
  243: 'riscv64',
  258: 'loong64',
};

const ET_EXEC = 2;
const ET_DYN = 3;
const PT_LOAD = 1;
const PT_DYNAMIC = 2;
const PT_INTERP = 3;
const DT_NEEDED = 1;
const DT_STRTAB = 5;
const DT_STRSZ = 10;
const DT_FLAGS_1 = 0x6ffffffb;
const DF_1_PIE = 0x08000000;
const MAX_PROGRAM_HEADERS = 256;
const MAX_INTERPRETER = 4096;
const MAX_DYNAMIC = 64 * 1024;
const MAX_STRINGS = 4 * 1024 * 1024;

export interface ElfFile {
  /** `amd64`, `arm64` …, or `machine 999` for one that nobody here knows. */
  arch: string;
  /** program: can be started; library and object cannot. */
  kind: 'program' | 'library' | 'object' | 'other';
  /** Path of the loader; undefined for static programs. */
  interpreter: string | undefined;
}

/** Reads `length` bytes at `offset` of the file; fewer at its end. */
export type ReadRange = (offset: number, length: number) => Promise<Buffer>;

interface Segment {
  type: number;
  offset: number;
  /** Where it lies in memory. */
  address: number;
  size: number;
}

/**
 * Reads as much of an ELF file as tells what it is and what it needs to be started.
 * @returns undefined where the bytes are not ELF, or are cut off or damaged
 */
export async function readElf(read: ReadRange): Promise<ElfFile | undefined> {
  const header = await read(0, 64);
  if (header.length < 52 || header.readUInt32BE(0) !== 0x7f454c46) return undefined;
  const layout = layoutOf(header);
  if (layout === undefined) return undefined;
  const arch = MACHINES[layout.u16(header, 18)] ?? `machine ${layout.u16(header, 18)}`;
  const type = layout.u16(header, 16);
  if (type === 1) return { arch, kind: 'object', interpreter: undefined };
  if (type !== ET_EXEC && type !== ET_DYN) return { arch, kind: 'other', interpreter: undefined };
  const segments = await readSegments(header, layout, read);
  if (segments === undefined) return undefined;
  const interpreter = await readInterpreter(segments, read);
  const starts = type === ET_EXEC || interpreter !== undefined || (await isStaticPie(segments, layout, read));
  return { arch: littleOnly(arch, layout), kind: starts ? 'program' : 'library', interpreter };
}

/** Names of the shared libraries that an ELF file is linked to; none where they cannot be read. */
export async function readNeeded(read: ReadRange): Promise<string[]> {
  const header = await read(0, 64);
  if (header.length < 52 || header.readUInt32BE(0) !== 0x7f454c46) return [];
  const layout = layoutOf(header);
  const segments = layout === undefined ? undefined : await readSegments(header, layout, read);
  if (layout === undefined || segments === undefined) return [];
  const entries = await readDynamic(segments, layout, read);
  const address = entries.find(({ tag }) => tag === DT_STRTAB)?.value;
  const load = segments.find(
    (segment) => segment.type === PT_LOAD && address! >= segment.address && address! < segment.address + segment.size,
  );
  if (address === undefined || load === undefined || Number.isNaN(load.offset)) return [];
  const size = entries.find(({ tag }) => tag === DT_STRSZ)?.value ?? 0;
  const texts = await read(address - load.address + load.offset, Math.min(size, MAX_STRINGS));
  return entries
    .filter(({ tag }) => tag === DT_NEEDED)
    .map(({ value }) => texts.toString('latin1', value, Math.max(value, texts.indexOf(0, value))));
}

/** The entries of the dynamic section, up to its end mark. */
async function readDynamic(
  segments: readonly Segment[],
  layout: Layout,
  read: ReadRange,
): Promise<{ tag: number; value: number }[]> {
  const segment = segments.find(({ type }) => type === PT_DYNAMIC);
  if (segment === undefined || Number.isNaN(segment.offset) || !(segment.size <= MAX_DYNAMIC)) return [];
  const table = await read(segment.offset, segment.size);
  const step = layout.wide ? 16 : 8;
  const entries: { tag: number; value: number }[] = [];
  for (let at = 0; at + step <= table.length; at += step) {
    const tag = layout.word(table, at);
    if (tag === 0) break;
    entries.push({ tag, value: layout.word(table, at + step / 2) });
  }
  return entries;
}

/** How numbers lie in the file: by class (32 or 64 bits) and byte order. */
interface Layout {
  wide: boolean;
  little: boolean;
  u16(bytes: Buffer, at: number): number;
  u32(bytes: Buffer, at: number): number;
  /** An address or offset; one beyond 2^53 is damage and becomes NaN. */
  word(bytes: Buffer, at: number): number;
}

function layoutOf(header: Buffer): Layout | undefined {
  const [elfClass, order] = [header[4], header[5]];
  if ((elfClass !== 1 && elfClass !== 2) || (order !== 1 && order !== 2)) return undefined;
  const wide = elfClass === 2;
  const little = order === 1;
  if (wide && header.length < 64) return undefined;
  const u32 = (bytes: Buffer, at: number) => (little ? bytes.readUInt32LE(at) : bytes.readUInt32BE(at));
  const u64 = (bytes: Buffer, at: number) => {
    const number = Number(little ? bytes.readBigUInt64LE(at) : bytes.readBigUInt64BE(at));
    return Number.isSafeInteger(number) ? number : Number.NaN;
  };
  return {
    wide,
    little,
    u16: (bytes, at) => (little ? bytes.readUInt16LE(at) : bytes.readUInt16BE(at)),
    u32,
    word: wide ? u64 : u32,
  };
}

/** ppc64 and mips exist in both byte orders, under names of their own. */
function littleOnly(arch: string, layout: Layout): string {
  return (arch === 'ppc64' || arch === 'mips') && layout.little ? `${arch}le` : arch;
}

async function readSegments(header: Buffer, layout: Layout, read: ReadRange): Promise<Segment[] | undefined> {
  const offset = layout.word(header, layout.wide ? 32 : 28);
  const entrySize = layout.u16(header, layout.wide ? 54 : 42);
  const count = layout.u16(header, layout.wide ? 56 : 44);
  const least = layout.wide ? 56 : 32;
  if (Number.isNaN(offset) || entrySize < least || entrySize > 1024 || count > MAX_PROGRAM_HEADERS) return undefined;
  const table = await read(offset, entrySize * count);
  if (table.length < entrySize * count) return undefined;
  return Array.from({ length: count }, (_, i) => {
    const at = i * entrySize;
    return {
      type: layout.u32(table, at),
      offset: layout.word(table, at + (layout.wide ? 8 : 4)),
      address: layout.word(table, at + (layout.wide ? 16 : 8)),
      size: layout.word(table, at + (layout.wide ? 32 : 16)),
    };
  });
}

async function readInterpreter(segments: Segment[], read: ReadRange): Promise<string | undefined> {
  const segment = segments.find(({ type }) => type === PT_INTERP);
  if (segment === undefined || !(segment.size > 1 && segment.size <= MAX_INTERPRETER) || Number.isNaN(segment.offset))
    return undefined;
  return (await read(segment.offset, segment.size)).toString('utf8').replace(/\0.*$/s, '');
}

/** A static-pie program has neither a loader nor ET_EXEC; its linker marks it with DF_1_PIE, which libraries lack. */
async function isStaticPie(segments: Segment[], layout: Layout, read: ReadRange): Promise<boolean> {
  const flags = (await readDynamic(segments, layout, read)).find(({ tag }) => tag === DT_FLAGS_1)?.value ?? 0;
  return Math.floor(flags / DF_1_PIE) % 2 === 1;
}
