/** One `FROM` and what its stage takes from elsewhere. */
export interface Stage {
  /** Lower case; undefined for stages without AS. */
  name: string | undefined;
  /** What FROM names, variables filled in where they are known. */
  from: string;
  /** `--platform`, filled in. */
  platform: string | undefined;
  /** What COPY --from, ADD --from and RUN --mount=from= name. */
  uses: string[];
}

/** What a Dockerfile says that matters before it is built. */
export interface Dockerfile {
  /** The image of `# syntax=`, as it is written. */
  syntax: string | undefined;
  stages: Stage[];
}

interface Instruction {
  /** Upper case. */
  word: string;
  rest: string;
}

const DIRECTIVE = /^#\s*([A-Za-z][A-Za-z0-9]*)\s*=\s*(.*?)\s*$/;

/**
 * Reads the stages of a Dockerfile (Dockerfile reference: parser directives, FROM, ARG before the first FROM). Errors are left
 * to the engine, which says them best.
 * @param args build arguments, which win over the defaults in the file
 * @param platform of the engine, `linux/amd64`
 */
export function parseDockerfile(text: string, args: Record<string, string> = {}, platform = 'linux/amd64'): Dockerfile {
  const directives = parseDirectives(text);
  const variables = predefined(platform);
  const stages: Stage[] = [];
  for (const { word, rest } of instructions(text, directives.get('escape') === '`' ? '`' : '\\')) {
    if (word === 'ARG' && stages.length === 0) {
      for (const [, name = '', value] of rest.matchAll(/([A-Za-z_][A-Za-z0-9_]*)(?:=("[^"]*"|'[^']*'|\S*))?/g)) {
        const given = Object.hasOwn(args, name)
          ? args[name]
          : value === undefined
            ? undefined
            : expand(unquote(value), variables);
        if (given !== undefined) variables.set(name, given);
      }
    } else if (word === 'FROM') {
      stages.push(parseFrom(rest, variables));
    } else if (stages.length > 0 && (word === 'COPY' || word === 'ADD' || word === 'RUN')) {
      stages[stages.length - 1]!.uses.push(...usesOf(rest));
    }
  }
  return { syntax: directives.get('syntax'), stages };
}

/**
 * The images that must be fetched to build a stage (the last one where `target` is undefined), in the order they are met; a name
 * with a variable nobody has set stays as it is written.
 */
export function imagesOf(
  dockerfile: Dockerfile,
  target: string | undefined,
): { image: string; platform: string | undefined }[] {
  const found = new Map<string, string | undefined>();
  const seen = new Set<number>();
  const visit = (index: number): void => {
    const stage = dockerfile.stages[index];
    if (stage === undefined || seen.has(index)) return;
    seen.add(index);
    for (const [name, platform] of [
      [stage.from, stage.platform],
      ...stage.uses.map((use) => [use, undefined]),
    ] as const) {
      if (name === undefined) continue;
      const earlier = stageIndex(dockerfile.stages.slice(0, index), name);
      if (earlier >= 0) visit(earlier);
      else if (name !== 'scratch' && name !== 'context' && !/^\d+$/.test(name)) found.set(name, platform);
    }
  };
  visit(target === undefined ? dockerfile.stages.length - 1 : stageIndex(dockerfile.stages, target));
  return [...found].map(([image, platform]) => ({ image, platform }));
}

/**
 * Takes the `# syntax=` line out, for an engine that cannot fetch that image. Line numbers in errors stay right: a comment takes
 * its place below the other directives, which must stay first.
 */
export function withoutSyntax(text: string): string {
  const lines = text.split('\n');
  let end = 0;
  while (end < lines.length && DIRECTIVE.test(lines[end]!.trim())) end++;
  const rest = lines.slice(0, end).filter((line) => DIRECTIVE.exec(line.trim())?.[1]?.toLowerCase() !== 'syntax');
  const blanks = Array<string>(end - rest.length).fill('#');
  return [...rest, ...blanks, ...lines.slice(end)].join('\n');
}

function parseDirectives(text: string): Map<string, string> {
  const directives = new Map<string, string>();
  for (const line of text.replace(/^\ufeff/, '').split('\n')) {
    const match = DIRECTIVE.exec(line.trim());
    if (match === null) break;
    directives.set(match[1]!.toLowerCase(), match[2]!);
  }
  return directives;
}

/** Joins continued lines, drops comments and the bodies of here-documents. */
function* instructions(text: string, continues: '\\' | '`'): Generator<Instruction> {
  const lines = text.split(/\r?\n/);
  for (let i = 0; i < lines.length; i++) {
    let line = lines[i]!.trim();
    if (line === '' || line.startsWith('#')) continue;
    while (line.endsWith(continues) && i + 1 < lines.length) {
      const next = lines[++i]!.trim();
      if (next === '' || next.startsWith('#')) continue;
      line = `${line.slice(0, -1)} ${next}`;
    }
    const [, word = '', rest = ''] = /^(\S+)\s*(.*)$/s.exec(line)!;
    yield { word: word.toUpperCase(), rest };
    if (/^(?:RUN|COPY|ADD)$/i.test(word)) {
      for (const [, , end] of rest.matchAll(/<<-?(["']?)([A-Za-z_][A-Za-z0-9_]*)\1/g)) {
        while (++i < lines.length && lines[i]!.trim() !== end);
      }
    }
  }
}

function parseFrom(rest: string, variables: Map<string, string>): Stage {
  const words = rest.split(/\s+/);
  const flags = words.filter((word) => word.startsWith('--'));
  const [from = '', as, name] = words.filter((word) => !word.startsWith('--'));
  const platform = flags.find((flag) => flag.startsWith('--platform='))?.slice('--platform='.length);
  return {
    name: as?.toUpperCase() === 'AS' ? name?.toLowerCase() : undefined,
    from: expand(unquote(from), variables),
    platform: platform === undefined ? undefined : expand(unquote(platform), variables),
    uses: [],
  };
}

function usesOf(rest: string): string[] {
  const flags = /^(?:--\S+\s+)*/.exec(rest)![0];
  return [...flags.matchAll(/--from=(\S+)|--mount=(?:\S+,)?from=([^,\s]+)/g)].map((match) =>
    unquote(match[1] ?? match[2]!),
  );
}

function stageIndex(stages: readonly Stage[], name: string): number {
  const lower = name.toLowerCase();
  const named = stages.findLastIndex((stage) => stage.name === lower);
  return named < 0 && /^\d+$/.test(name) && Number(name) < stages.length ? Number(name) : named;
}

/** Fills in `$A`, `${A}`, `${A:-default}` and `${A:+other}`; what is not set stays. */
function expand(text: string, variables: ReadonlyMap<string, string>): string {
  return text.replace(
    /\$(?:([A-Za-z_][A-Za-z0-9_]*)|\{([A-Za-z_][A-Za-z0-9_]*)(?::([-+])([^}]*))?\})/g,
    (all, plain, braced, operator, word) => {
      const value = variables.get(plain ?? braced);
      if (operator === '-') return value === undefined || value === '' ? expand(word, variables) : value;
      if (operator === '+') return value === undefined || value === '' ? '' : expand(word, variables);
      return value ?? all;
    },
  );
}

function unquote(text: string): string {
  return /^(["']).*\1$/s.test(text) ? text.slice(1, -1) : text;
}

/** The platform arguments that BuildKit sets by itself. */
function predefined(platform: string): Map<string, string> {
  const [os = 'linux', arch = 'amd64', variant = ''] = platform.split('/');
  const variables = new Map<string, string>();
  for (const side of ['BUILD', 'TARGET']) {
    variables
      .set(`${side}PLATFORM`, platform)
      .set(`${side}OS`, os)
      .set(`${side}ARCH`, arch)
      .set(`${side}VARIANT`, variant);
  }
  return variables;
}
