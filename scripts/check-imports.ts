/**
 * Holds src/ to its rooms: which folder may import which (README, Architecture). Prints one line a violation and ends 1
 * when there is one. `node scripts/check-imports.ts [FOLDER]` (default: src beside this script).
 *
 * Type-only imports count as well: a room that needs another's types knows about it. Any specifier that is not a plain
 * string, and any file outside the rooms, is a violation too, so that nothing slips past the table.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve, sep } from 'node:path';
import { parseSync } from 'oxc-parser';

const ADAPTERS = ['git', 'artifact', 'image', 'unit', 'run', 'router'];

/** What each room may import besides itself and packages. */
const MAY_IMPORT: Record<string, string[]> = {
  domain: [],
  store: ['domain'],
  ...Object.fromEntries(ADAPTERS.map((room) => [room, ['domain']])),
  deploy: [...ADAPTERS, 'store', 'domain'],
  ssh: ['git', 'domain'],
  commands: ['deploy', ...ADAPTERS, 'store', 'domain'],
  web: ['commands', 'deploy', 'store', 'domain'],
  server: ['commands', 'ssh', 'web', 'deploy', ...ADAPTERS, 'store', 'domain'],
  cli: ['commands', 'server', 'ssh', 'web', 'deploy', ...ADAPTERS, 'store', 'domain'],
};

/** Rooms that are pure rules: no package and nothing of Node that touches the world. */
const PURE = new Map([['domain', new Set(['node:crypto', 'node:util', 'node:path'])]]);

interface Import {
  line: number;
  /** undefined where it is computed. */
  specifier: string | undefined;
}

/** Every static import, re-export and import() of a file, types included. @throws Error where it cannot be parsed */
function importsOf(file: string, text: string): Import[] {
  const { module, program, errors } = parseSync(file, text);
  const error = errors[0];
  if (error) throw new Error(`${file}: ${error.message}`);
  const lineAt = (offset: number) => text.slice(0, offset).split('\n').length;
  const literal = (source: string) => /^(['"`])((?:(?!\1|\\|\$\{).)*)\1$/s.exec(source.trim())?.[2];
  return [
    ...module.staticImports.map((i) => ({ line: lineAt(i.start), specifier: i.moduleRequest.value })),
    ...module.staticExports.flatMap((e) =>
      [...new Set(e.entries.flatMap((entry) => entry.moduleRequest?.value ?? []))].map((specifier) => ({
        line: lineAt(e.start),
        specifier,
      })),
    ),
    ...module.dynamicImports.map((i) => ({
      line: lineAt(i.start),
      specifier: literal(text.slice(i.moduleRequest.start, i.moduleRequest.end)),
    })),
    ...typeImports(program).map((i) => ({ line: lineAt(i.start), specifier: i.source.value })),
  ];
}

interface TypeImport {
  type: 'TSImportType';
  start: number;
  source: { value: string };
}

/** Every `import('…').T` in a type: these are no module requests, so they are looked for in the whole tree. */
function typeImports(node: unknown): TypeImport[] {
  if (typeof node !== 'object' || node === null) return [];
  const below = Object.values(node).flatMap(typeImports);
  return 'type' in node && node.type === 'TSImportType' ? [node as TypeImport, ...below] : below;
}

/** Why a file of `room` may not have this import, or undefined where it may. */
function objection(root: string, file: string, room: string, specifier: string | undefined): string | undefined {
  if (specifier === undefined) return 'imports something computed: write the path as a plain string';
  if (!specifier.startsWith('.') && !specifier.startsWith('/') && !specifier.startsWith('#')) {
    const pure = PURE.get(room);
    return pure && !pure.has(specifier) ? `${room} is pure and may not import ${specifier}` : undefined;
  }
  const target = relative(root, resolve(dirname(file), specifier)).split(sep);
  const other = target[0]!;
  if (other === room) return undefined;
  if (target.length < 2 || !(other in MAY_IMPORT)) return `imports ${specifier}, which is in no room`;
  if (MAY_IMPORT[room]!.includes(other)) return undefined;
  const allowed = MAY_IMPORT[room]!.join(', ') || 'nothing';
  return `${room} may import ${allowed}; not ${other} (${specifier})`;
}

function check(root: string): string[] {
  const files = readdirSync(root, { recursive: true, encoding: 'utf8' }).filter((f) => /\.[cm]?[jt]s$/.test(f));
  return files.sort().flatMap((name) => {
    const file = join(root, name);
    const [room, ...rest] = name.split(sep);
    if (rest.length === 0 || !(room! in MAY_IMPORT)) return [`${file}: in no room; give it a folder of the table`];
    return importsOf(file, readFileSync(file, 'utf8')).flatMap(({ line, specifier }) => {
      const why = objection(root, file, room!, specifier);
      return why ? [`${file}:${line}: ${why}`] : [];
    });
  });
}

const root = resolve(process.argv[2] ?? join(import.meta.dirname, '..', 'src'));
const violations = check(root);
for (const violation of violations) console.error(violation);
process.exitCode = violations.length > 0 ? 1 : 0;
