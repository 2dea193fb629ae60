import type { Command } from 'commander';
import { DinpError } from '../domain/errors.ts';
import { nearest, printable } from '../domain/names.ts';
import type { BaseInfo, BaseState } from '../image/bases.ts';
import type { Bind } from './bind.ts';
import type { Call } from './context.ts';
import { printRows } from './print.ts';
import { withProgress } from './progress.ts';
import { listed } from './text.ts';

export function defineBases(program: Command, bind: Bind): void {
  const bases = program.command('bases').description('images that artifacts are laid over (admins)');
  bases
    .command('list')
    .description('the catalogue')
    .option('--json', 'print JSON: name, image, for, buildable')
    .action(bind(list, { admin: true }));
  bases
    .command('check')
    .argument('[names...]', 'all where none is given')
    .description('whether the images are there and fit; exit status 1 where one does not')
    .option('--json', 'print JSON: the fields of list, and digest, problem')
    .action(bind(check, { admin: true }));
  bases
    .command('build')
    .argument('<names...>')
    .description("make images from Debian's packages and put them into the registry")
    .action(bind(build, { admin: true }));
}

function view(base: BaseInfo): object {
  return { name: base.name, image: base.image, for: base.for, buildable: base.buildable };
}

async function list(call: Call, options: { json?: boolean }): Promise<void> {
  await printRows(call, call.bases.list(), {
    json: options.json,
    view,
    columns: [
      { title: 'BASE', value: (base) => base.name },
      { title: 'FOR', value: (base) => base.for.join(','), shrink: true },
      { title: 'IMAGE', value: (base) => base.image, shrink: true },
    ],
    empty: 'The catalogue of bases is empty. The server reads it from the file that "bases.file" in its config names.',
  });
}

function findBase(call: Call, name: string): BaseInfo {
  const all = call.bases.list();
  const base = all.find((each) => each.name === name);
  if (base) return base;
  const names = all.map((each) => each.name);
  const near = nearest(name, names);
  throw new DinpError('not-found', `the catalogue has no base "${printable(name)}".`, {
    hint: near === undefined ? `It has ${listed(names)}.` : `Did you mean ${near}?`,
  });
}

function stateOf(base: BaseState): string {
  if (base.digest === undefined) return 'missing';
  return base.problem === undefined ? 'ready' : 'unfit';
}

async function check(call: Call, names: string[], options: { json?: boolean }): Promise<number> {
  const bases = names.length === 0 ? call.bases.list() : names.map((name) => findBase(call, name));
  const rows: BaseState[] = [];
  for (const base of bases) rows.push(await call.bases.check(base.name, call.out.signal));
  await printRows(call, rows, {
    json: options.json,
    view: (row) => ({ ...view(row), digest: row.digest ?? null, problem: row.problem ?? null }),
    columns: [
      { title: 'BASE', value: (row) => row.name },
      { title: 'STATE', value: stateOf },
      { title: 'DETAIL', value: (row) => row.problem ?? row.digest ?? '', shrink: true },
    ],
    empty: 'The catalogue of bases is empty.',
  });
  const missing = rows.filter((row) => row.digest === undefined && row.buildable).map((row) => row.name);
  if (missing.length > 0) await call.out.stderr(`To make them:  ${call.program} bases build ${missing.join(' ')}\n`);
  return rows.every((row) => stateOf(row) === 'ready') ? 0 : 1;
}

async function build(call: Call, names: string[]): Promise<void> {
  const bases = [...new Set(names)].map((name) => findBase(call, name));
  for (const base of bases) {
    const { digest } = await withProgress(call, (progress) => {
      progress.heading(`Building the base ${base.name}`);
      return call.bases.build(base.name, (text) => progress.line(text), call.out.signal);
    });
    await call.out.stdout(`Built ${base.name}: ${printable(base.image)} ${digest}\n`);
  }
}
