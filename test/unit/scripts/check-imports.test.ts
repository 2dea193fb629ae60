import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { ROOT, run } from './bash.ts';

/** What the checker says about a tree of `path: text`. */
async function check(tree: Record<string, string>): Promise<{ code: number; lines: string[] }> {
  const root = mkdtempSync(join(tmpdir(), 'dinp-imports-'));
  try {
    for (const [path, text] of Object.entries(tree)) {
      mkdirSync(dirname(join(root, path)), { recursive: true });
      writeFileSync(join(root, path), text);
    }
    const { code, stderr } = await run(process.execPath, [join(ROOT, 'scripts/check-imports.ts'), root]);
    return {
      code,
      lines: stderr
        .split('\n')
        .filter(Boolean)
        .map((line) => line.replace(`${root}/`, '')),
    };
  } finally {
    rmSync(root, { recursive: true });
  }
}

test("the project's own source keeps to its rooms", async () => {
  const { code, stderr } = await run(process.execPath, [join(ROOT, 'scripts/check-imports.ts')]);
  assert.equal(stderr, '');
  assert.equal(code, 0);
});

test('what the table allows passes: packages, the own room, the rooms below', async () => {
  const { code, lines } = await check({
    'domain/app.ts': "import { createHash } from 'node:crypto';\nimport './names.ts';\n",
    'git/refs.ts': "import type { App } from '../domain/app.ts';\nimport pino from 'pino';\nimport './deep/x.ts';\n",
    'git/deep/x.ts': "import { y } from '../refs.ts';\nimport { z } from '../../domain/app.ts';\n",
    'deploy/deploy.ts': "import '../git/refs.ts';\nimport '../store/apps.ts';\n",
    'cli/main.ts': "const server = await import('../server/serve.ts');\n",
  });
  assert.deepEqual(lines, []);
  assert.equal(code, 0);
});

const FORBIDDEN: [string, string, string, string][] = [
  [
    'an adapter that imports another',
    'git/a.ts',
    "import { b } from '../image/b.ts';",
    'git may import domain; not image',
  ],
  ['types only', 'run/a.ts', "import type { B } from '../unit/b.ts';", 'run may import domain; not unit'],
  ['a re-export', 'store/a.ts', "export * from '../deploy/b.ts';", 'store may import domain; not deploy'],
  ['a named re-export', 'ssh/a.ts', "export { b } from '../store/b.ts';", 'ssh may import git, domain; not store'],
  ['a lazy import', 'router/a.ts', "const b = await import('../run/b.ts');", 'router may import domain; not run'],
  ['an import in a type', 'unit/a.ts', "type B = import('../git/b.ts').B;", 'unit may import domain; not git'],
  ['several lines and double quotes', 'image/a.ts', 'import {\n  b,\n} from "../artifact/b.ts";', 'not artifact'],
  ['from a folder below', 'git/deep/er/a.ts', "import '../../../web/b.ts';", 'git may import domain; not web'],
  ['the domain that imports anything', 'domain/a.ts', "import '../git/b.ts';", 'domain may import nothing; not git'],
  ['the domain that touches files', 'domain/a.ts', "import 'node:fs';", 'domain is pure and may not import node:fs'],
  ['a computed path', 'git/a.ts', 'await import(`../image/${name}.ts`);', 'imports something computed'],
  ['a way out of src', 'deploy/a.ts', "import '../../test/b.ts';", 'in no room'],
  ['an unknown room', 'utils/a.ts', 'export const a = 1;', 'in no room'],
  ['a file beside the rooms', 'a.ts', 'export const a = 1;', 'in no room'],
  ['the pipeline that imports the server', 'deploy/a.ts', "import '../server/b.ts';", 'not server'],
  ['commands that import the program', 'commands/a.ts', "import '../cli/b.ts';", 'not cli'],
];

for (const [name, path, text, why] of FORBIDDEN) {
  test(`refused: ${name}`, async () => {
    const { code, lines } = await check({ [path]: `// a comment first\n${text}\n` });
    assert.equal(code, 1);
    assert.equal(lines.length, 1, lines.join('\n'));
    assert.match(lines[0]!, new RegExp(`^${path}:`));
    assert.ok(lines[0]!.includes(why), lines[0]);
  });
}

test('an import in a string or a comment is none', async () => {
  const { code } = await check({
    'git/a.ts': `// import '../image/b.ts'\nexport const a = "import '../image/b.ts'";\n`,
  });
  assert.equal(code, 0);
});
