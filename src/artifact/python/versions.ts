/** The parts of a version that are compared: epoch, release, and what comes before or after it (PEP 440). */
interface Version {
  epoch: number;
  release: number[];
  /** Below 0 for what comes before a release, above for what comes after, 0 for the release itself. */
  phase: [number, number];
}

const VERSION =
  /^v?(?:(\d+)!)?(\d+(?:\.\d+)*)(?:[-_.]?(a|b|c|rc|alpha|beta|pre|preview)[-_.]?(\d*))?(?:[-_.]?(post|rev|r)[-_.]?(\d*)|-(\d+))?(?:[-_.]?(dev)[-_.]?(\d*))?(?:\+[a-z0-9]+(?:[-_.][a-z0-9]+)*)?$/i;
const PHASES: Record<string, number> = { a: -3, alpha: -3, b: -2, beta: -2, c: -1, rc: -1, pre: -1, preview: -1 };

function parseVersion(text: string): Version | undefined {
  const match = VERSION.exec(text.trim());
  if (match === null) return undefined;
  const [, epoch, release, before, beforeNumber, after, afterNumber, plainAfter, dev, devNumber] = match;
  const phase: [number, number] =
    before !== undefined
      ? [PHASES[before.toLowerCase()]!, Number(beforeNumber || 0)]
      : after !== undefined || plainAfter !== undefined
        ? [1, Number(afterNumber || plainAfter || 0)]
        : dev !== undefined
          ? [-4, Number(devNumber || 0)]
          : [0, 0];
  return { epoch: Number(epoch ?? 0), release: release!.split('.').map(Number), phase };
}

/** Orders two versions as PEP 440 does; undefined where one of them is none. */
export function compareVersions(a: string, b: string): number | undefined {
  const [left, right] = [parseVersion(a), parseVersion(b)];
  if (left === undefined || right === undefined) return undefined;
  return left.epoch - right.epoch || compareReleases(left.release, right.release) || comparePhases(left, right);
}

function compareReleases(a: readonly number[], b: readonly number[]): number {
  for (let i = 0; i < Math.max(a.length, b.length); i++) {
    const difference = (a[i] ?? 0) - (b[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

function comparePhases(a: Version, b: Version): number {
  return a.phase[0] - b.phase[0] || a.phase[1] - b.phase[1];
}

/**
 * Whether a version fits all clauses of a specifier, `>=1.2,<2`. What is not understood counts as fitting: a refusal must
 * be sure of itself.
 */
export function fitsSpecifier(version: string, specifier: string): boolean {
  return specifier
    .split(',')
    .map((clause) => clause.trim())
    .filter((clause) => clause !== '')
    .every((clause) => fitsClause(version, clause));
}

function fitsClause(version: string, clause: string): boolean {
  const match = /^(===|==|~=|!=|<=|>=|<|>)\s*(\S+)$/.exec(clause);
  if (match === null) return true;
  const [, operator, wanted = ''] = match;
  if (operator === '===') return version === wanted;
  if (wanted.endsWith('.*')) return startsWith(version, wanted.slice(0, -2)) === (operator === '==');
  const order = compareVersions(version, wanted);
  if (order === undefined) return true;
  switch (operator) {
    case '==':
      return order === 0;
    case '!=':
      return order !== 0;
    case '>=':
      return order >= 0;
    case '<=':
      return order <= 0;
    case '>':
      return order > 0;
    case '<':
      return order < 0;
    default:
      return order >= 0 && startsWith(version, wanted.split('.').slice(0, -1).join('.'));
  }
}

function startsWith(version: string, beginning: string): boolean {
  const [whole, part] = [parseVersion(version), parseVersion(beginning)];
  if (whole === undefined || part === undefined) return true;
  return compareReleases(whole.release.slice(0, part.release.length), part.release) === 0;
}
