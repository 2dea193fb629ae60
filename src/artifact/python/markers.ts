import { compareVersions } from './versions.ts';

/** What environment markers (PEP 508) ask about, as it is in the image. */
export type Environment = Readonly<Record<string, string>>;

/** @param version of Python in the base, `3.11` or `3.11.2`; undefined where the catalogue does not know it */
export function environmentOf(version: string | undefined, hostArch: string): Environment {
  const [, minor, patch = '.99'] = /^(\d+\.\d+)(\.\d+)?/.exec(version ?? '') ?? [];
  return {
    os_name: 'posix',
    sys_platform: 'linux',
    platform_system: 'Linux',
    platform_machine: hostArch === 'arm64' ? 'aarch64' : 'x86_64',
    platform_python_implementation: 'CPython',
    implementation_name: 'cpython',
    ...(minor === undefined ? {} : { python_version: minor, python_full_version: minor + patch }),
  };
}

const TOKEN = /\s*(\(|\)|"[^"]*"|'[^']*'|===|==|~=|!=|<=|>=|<|>|not\s+in\b|[\w.]+)/y;
const COMPARISONS = new Set(['===', '==', '~=', '!=', '<=', '>=', '<', '>', 'in', 'not in']);

/**
 * Whether a requirement counts in this environment. What cannot be told counts: better one package too many asked for.
 */
export function markerHolds(marker: string, environment: Environment): boolean {
  const tokens = tokensOf(marker);
  if (tokens === undefined) return true;
  try {
    return new MarkerReader(tokens, environment).read();
  } catch {
    return true;
  }
}

function tokensOf(text: string): string[] | undefined {
  const tokens: string[] = [];
  TOKEN.lastIndex = 0;
  while (TOKEN.lastIndex < text.trimEnd().length) {
    const match = TOKEN.exec(text);
    if (match === null) return undefined;
    tokens.push(match[1]!.replace(/^not\s+in$/, 'not in'));
  }
  return tokens;
}

/** Reads `a and (b or c)`, one token after the other. */
class MarkerReader {
  readonly #tokens: readonly string[];
  readonly #environment: Environment;
  #at = 0;

  constructor(tokens: readonly string[], environment: Environment) {
    this.#tokens = tokens;
    this.#environment = environment;
  }

  read(): boolean {
    let holds = this.#both();
    while (this.#take('or')) holds = this.#both() || holds;
    return holds;
  }

  #both(): boolean {
    let holds = this.#one();
    while (this.#take('and')) holds = this.#one() && holds;
    return holds;
  }

  #one(): boolean {
    if (this.#take('(')) {
      const holds = this.read();
      if (!this.#take(')')) throw new Error('no end of a bracket');
      return holds;
    }
    const [left, operator, right] = [this.#next(), this.#next(), this.#next()];
    if (!COMPARISONS.has(operator)) throw new Error('no comparison');
    return compare(this.#value(left), operator, this.#value(right), /^python_/.test(left) || /^python_/.test(right));
  }

  /** undefined for what is not known of the environment. */
  #value(token: string): string | undefined {
    return /^["']/.test(token) ? token.slice(1, -1) : this.#environment[token];
  }

  #take(token: string): boolean {
    if (this.#tokens[this.#at] !== token) return false;
    this.#at++;
    return true;
  }

  #next(): string {
    const token = this.#tokens[this.#at++];
    if (token === undefined) throw new Error('ends in the middle');
    return token;
  }
}

function compare(left: string | undefined, operator: string, right: string | undefined, versions: boolean): boolean {
  if (left === undefined || right === undefined) return true;
  if (operator === 'in') return right.includes(left);
  if (operator === 'not in') return !right.includes(left);
  const order = (versions ? compareVersions(left, right) : undefined) ?? (left < right ? -1 : left > right ? 1 : 0);
  switch (operator) {
    case '==':
    case '===':
      return order === 0;
    case '!=':
      return order !== 0;
    case '<':
      return order < 0;
    case '>':
      return order > 0;
    case '<=':
      return order <= 0;
    default:
      return order >= 0;
  }
}
