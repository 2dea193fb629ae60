/** A runtime that bases bring. */
interface Runtime {
  /** Kinds of artifacts that run on it. */
  kinds: readonly string[];
  /** The variable in which official images say its version; the bases that are built here say it in the same one. */
  variable: string;
  /** Names of the Debian packages that have its version, the one that holds it itself first. */
  packages: readonly RegExp[];
}

const RUNTIMES: readonly Runtime[] = [
  { kinds: ['python'], variable: 'PYTHON_VERSION', packages: [/^python3\.\d+$/, /^python3$/] },
  { kinds: ['node'], variable: 'NODE_VERSION', packages: [/^nodejs$/] },
  { kinds: ['php'], variable: 'PHP_VERSION', packages: [/^php\d+\.\d+-(?:fpm|cli)$/, /^php-(?:fpm|cli)$/] },
  {
    kinds: ['jar', 'war'],
    variable: 'JAVA_VERSION',
    packages: [/^(?:openjdk|temurin)-\d+-(?:jre|jdk)(?:-headless)?$/],
  },
];

/**
 * The numbers of a version as images and Debian write it, at most three: `3.11.2` of `3.11.2-1+b1`, `8.2` of `2:8.2+93`, `17.0.13` of
 * `jdk-17.0.13+11`, `8` of `8u432`. undefined where it begins with none.
 */
export function versionNumbers(text: string): string | undefined {
  return /^(?:\d+:)?(?:jdk-?|v)?(?:1\.(?=[5-8]\b))?(\d+(?:\.\d+){0,2})/.exec(text)?.[1];
}

/**
 * The variables that say which runtimes a base has.
 * @param kinds of artifacts that the base is for
 * @param packages Debian's version of each package by its name
 */
export function versionVariables(
  kinds: readonly string[],
  packages: ReadonlyMap<string, string>,
): Record<string, string> {
  const found = runtimesFor(kinds).map(({ variable, packages: names }) => {
    const name = names.flatMap((pattern) => [...packages.keys()].filter((each) => pattern.test(each)).sort())[0];
    return [variable, name && versionNumbers(packages.get(name)!)] as const;
  });
  return Object.fromEntries(found.filter((pair): pair is [string, string] => pair[1] !== undefined));
}

/**
 * The version of the runtime that the variables of a base name; undefined where they name none, or where the base is for apps of
 * several runtimes, of which one number would say nothing.
 */
export function versionIn(
  kinds: readonly string[],
  variables: Readonly<Record<string, string | undefined>>,
): string | undefined {
  const [runtime, other] = runtimesFor(kinds);
  return runtime === undefined || other !== undefined ? undefined : versionNumbers(variables[runtime.variable] ?? '');
}

function runtimesFor(kinds: readonly string[]): Runtime[] {
  return RUNTIMES.filter((runtime) => runtime.kinds.some((kind) => kinds.includes(kind)));
}
