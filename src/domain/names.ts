import { DinpError } from './errors.ts';

const NAME = /^[a-z0-9]+(?:-[a-z0-9]+)*$/;
const MAX_APP_NAME = 39;
const MAX_PROCESS_NAME = 30;
/** Names that are verbs, refs or hosts of ours; an app of that name could never be told apart from them. */
const RESERVED = new Set([
  'dinp',
  'admin',
  'api',
  'base',
  'help',
  'new',
  'none',
  'all',
  'localhost',
  'git',
  'refs',
  'www',
]);

/** Says what is wrong with an app name, or undefined where it is fine. */
export function appNameProblem(name: string): string | undefined {
  if (name === '') return 'it is empty';
  if (name.length > MAX_APP_NAME)
    return `it has ${name.length} characters; at most ${MAX_APP_NAME} fit in container and host names`;
  if (!NAME.test(name)) return 'only lower-case letters, digits and single hyphens between them are allowed';
  if (RESERVED.has(name)) return 'it is a reserved word';
  return undefined;
}

/**
 * Checks an app name: `[a-z0-9]+(-[a-z0-9]+)*`, at most 39 characters, not reserved.
 * @throws DinpError usage, with a name that would do where one can be made of it
 */
export function parseAppName(name: string): string {
  const problem = appNameProblem(name);
  if (problem === undefined) return name;
  const better = name
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-+|-+$/g, '')
    .slice(0, MAX_APP_NAME)
    .replace(/-+$/, '');
  throw new DinpError('usage', `"${printable(name)}" cannot be an app name: ${problem}.`, {
    ...(appNameProblem(better) === undefined ? { hint: `Use ${better} instead.` } : {}),
  });
}

/** The grammar of app names, at most 30 characters. */
export function isProcessName(name: string): boolean {
  return NAME.test(name) && name.length <= MAX_PROCESS_NAME;
}

/** Text of unknown origin made safe for a terminal: control, escape and bidirectional characters become "?". */
export function printable(text: string): string {
  return text.replace(/[\u0000-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]/g, '?');
}

/** The candidate nearest to `name` by edit distance, if near enough to be a typing error. */
export function nearest(name: string, candidates: Iterable<string>): string | undefined {
  let best: string | undefined;
  let bestDistance = Math.max(1, Math.floor(name.length / 3)) + 1;
  for (const candidate of candidates) {
    const distance = editDistance(name, candidate);
    if (distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}

/** Damerau-Levenshtein distance (optimal string alignment). */
function editDistance(a: string, b: string): number {
  let beforeLast: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const cost = a[i - 1] === b[j - 1] ? 0 : 1;
      let distance = Math.min(last[j]! + 1, row[j - 1]! + 1, last[j - 1]! + cost);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        distance = Math.min(distance, beforeLast[j - 2]! + 1);
      }
      row.push(distance);
    }
    beforeLast = last;
    last = row;
  }
  return last[b.length]!;
}
