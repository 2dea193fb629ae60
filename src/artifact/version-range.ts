/** From `low` on, up to but without `high`; each is [major, minor, patch]. */
interface Interval {
  low: Version;
  high: Version;
}

type Version = readonly [number, number, number];

const ZERO: Version = [0, 0, 0];
const ENDLESS: Version = [Number.POSITIVE_INFINITY, 0, 0];

/**
 * Whether some version that begins with `known` can lie within a range as npm and Composer write it (`^18 || >=20.1`,
 * `8.1.*`, `1.2 - 3`). Ranges of a grammar of their own count as fitting: the answer is only ever no where that is sure.
 * @param known what is known of a version: `18`, `3.11` or `3.11.2`
 */
export function mayFit(known: string, range: string): boolean {
  const parts = numbersOf(known);
  if (parts.length === 0 || parts.some(Number.isNaN)) return true;
  const version = spanOf(parts);
  return range.split(/\|\|?/).some((alternative) => {
    const interval = parseAll(alternative.trim());
    return interval === undefined || overlap(interval, version);
  });
}

/** Orders versions by their numbers, `3.9` before `3.10`. */
export function compareVersions(a: string, b: string): number {
  return compare(spanOf(numbersOf(a)).low, spanOf(numbersOf(b)).low);
}

function numbersOf(version: string): number[] {
  return version.split('.').map(Number);
}

function overlap(a: Interval, b: Interval): boolean {
  return compare(a.low, b.high) < 0 && compare(b.low, a.high) < 0;
}

function compare(a: Version, b: Version): number {
  return a[0] - b[0] || a[1] - b[1] || a[2] - b[2];
}

/** All versions that begin with these numbers. */
function spanOf(parts: readonly number[]): Interval {
  const [major, minor, patch] = parts;
  if (major === undefined) return { low: ZERO, high: ENDLESS };
  if (minor === undefined) return { low: [major, 0, 0], high: [major + 1, 0, 0] };
  if (patch === undefined) return { low: [major, minor, 0], high: [major, minor + 1, 0] };
  return { low: [major, minor, patch], high: [major, minor, patch + 1] };
}

/** The versions that fit all of a range's comparators; undefined where one of them is not understood. */
function parseAll(text: string): Interval | undefined {
  const hyphen = /^(\S+)\s+-\s+(\S+)$/.exec(text);
  const comparators =
    hyphen === null ? text.replace(/([<>=^~]+)\s+/g, '$1').split(/[\s,]+/) : [`>=${hyphen[1]}`, `<=${hyphen[2]}`];
  let all: Interval = { low: ZERO, high: ENDLESS };
  for (const comparator of comparators) {
    const one = parseOne(comparator);
    if (one === undefined) return undefined;
    all = {
      low: compare(one.low, all.low) > 0 ? one.low : all.low,
      high: compare(one.high, all.high) < 0 ? one.high : all.high,
    };
  }
  return all;
}

function parseOne(text: string): Interval | undefined {
  const match = /^(>=|<=|>|<|==?|\^|~)?v?(\d+(?:\.\d+)*)?(?:\.?[x*X])*(?:[-+@].*)?$/.exec(text);
  if (match === null) return undefined;
  const parts = (match[2] ?? '').split('.').filter(Boolean).map(Number).slice(0, 3);
  const span = spanOf(parts);
  switch (match[1]) {
    case '>=':
      return { low: span.low, high: ENDLESS };
    case '>':
      return { low: span.high, high: ENDLESS };
    case '<':
      return { low: ZERO, high: span.low };
    case '<=':
      return { low: ZERO, high: span.high };
    case '^':
      return { low: span.low, high: spanOf(parts.slice(0, Math.max(1, parts.findIndex((part) => part > 0) + 1))).high };
    case '~':
      // npm's ~1.2.3 stays within 1.2; Composer's ~1.2 within 1: the wider one is never wrong here.
      return { low: span.low, high: spanOf(parts.slice(0, Math.max(1, parts.length - 1))).high };
    default:
      return span;
  }
}
