import { DinpError } from '../../domain/errors.ts';
import { printable } from '../../domain/names.ts';
import { baseName } from '../folder.ts';

/** What an archive may come to when it is unpacked. */
export interface ArchiveLimits {
  /** Inflated bytes, all files together. */
  maxBytes: number;
  maxEntries: number;
  /** Inflated bytes to one packed byte, once more than `ratioFrom` bytes were inflated. */
  maxRatio: number;
  ratioFrom: number;
}

export const DEFAULT_LIMITS: ArchiveLimits = {
  maxBytes: 1024 ** 3,
  maxEntries: 10_000,
  maxRatio: 200,
  ratioFrom: 32 * 1024 ** 2,
};

export interface ArchiveOptions {
  limits?: Partial<ArchiveLimits> | undefined;
  /** Folder with room for what is inflated; default: the system's folder of temporary files. */
  scratch?: string | undefined;
}

export function limitsOf({ limits }: ArchiveOptions): ArchiveLimits {
  return { ...DEFAULT_LIMITS, ...limits };
}

/** How an archive of its kind is packed as it should be. */
function packAgain(archive: string): string {
  const line = /\.(?:[jw]ar|zip)$/i.test(archive)
    ? `(cd FOLDER && zip -qr ../${baseName(printable(archive))} .)`
    : 'tar -czf app.tar.gz -C FOLDER .';
  return `Pack it again from inside its folder, for example:\n  ${line}`;
}

/** An archive that nobody should unpack. @param hint what to do; default: pack it again */
export function refused(archive: string, problem: string, hint = packAgain(archive), cause?: unknown): DinpError {
  return new DinpError('refused', `${printable(archive)} ${problem}`, { hint, cause });
}

export function damaged(archive: string, detail: string, cause?: unknown): DinpError {
  return refused(
    archive,
    `is damaged or cut off: ${detail}.`,
    'Make or copy it again, and look at it with:  unzip -t FILE, or tar -tf FILE',
    cause,
  );
}

/** @param entry name of the entry with which it became too many */
export function tooManyEntries(archive: string, entry: string, { maxEntries }: ArchiveLimits): DinpError {
  return refused(
    archive,
    `has more than ${maxEntries} entries; the first that is too many is "${printable(entry)}".`,
    SLIMMER,
  );
}

/** @param entry name of the entry with which it became too much */
export function tooLarge(archive: string, entry: string, { maxBytes }: ArchiveLimits): DinpError {
  return refused(
    archive,
    `holds more than ${formatBytes(maxBytes)} when unpacked; "${printable(entry)}" is beyond it.`,
    SLIMMER,
  );
}

export function bomb(archive: string, entry: string, { maxRatio }: ArchiveLimits): DinpError {
  return refused(
    archive,
    `unpacks to more than ${maxRatio} times its size at "${printable(entry)}", as archives do that are made to fill disks.`,
    SLIMMER,
  );
}

const SLIMMER = 'Pack only what runs, or push a Dockerfile that gets the rest.';

function formatBytes(bytes: number): string {
  const units = ['bytes', 'KiB', 'MiB', 'GiB'];
  const power = Math.min(3, Math.floor(Math.log2(Math.max(1, bytes)) / 10));
  return `${Math.round((bytes / 1024 ** power) * 10) / 10} ${units[power]}`;
}
