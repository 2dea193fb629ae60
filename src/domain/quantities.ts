const DURATION = /^(\d{1,9})(ms|s|m|h)$/;
const MILLISECONDS: Record<string, number> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 };
const SIZE = /^(\d{1,9})([KMG])$/;
const BYTES: Record<string, number> = { K: 1024, M: 1024 ** 2, G: 1024 ** 3 };

/** `500ms`, `30s`, `15m`, `2h` in milliseconds; undefined for anything else, a bare number as well. */
export function parseDuration(text: string): number | undefined {
  const [, count, unit] = DURATION.exec(text) ?? [];
  return count === undefined ? undefined : Number(count) * MILLISECONDS[unit!]!;
}

/** `512K`, `256M`, `1G` in bytes (1K is 1024); undefined for anything else, a bare number as well. */
export function parseSize(text: string): number | undefined {
  const [, count, unit] = SIZE.exec(text) ?? [];
  return count === undefined ? undefined : Number(count) * BYTES[unit!]!;
}
