import type { Command } from 'commander';
import { DinpError } from '../domain/errors.ts';
import { nearest, printable } from '../domain/names.ts';
import type { BaseInfo, BaseState } from '../image/bases/bases.ts';
import type { Bind, Input } from './bind.ts';
import type { Call } from './context.ts';
import { printRows } from './print.ts';
import { withProgress } from './progress.ts';
import { listed } from './text.ts';

export function defineBases(program: Command, bind: Bind): void {
  const bases = program.command('bases').description('images that artifacts are laid over (admins)');
  bases
    .command('list')
    .description('the catalogue')
    .option('--json', 'print JSON: name, image, for, when, version, from, buildable')
    .action(bind(list, { admin: true }));
  bases
    .command('check')
    .argument('[names...]', 'all where none is given')
    .description('whether the images are there and fit; exit status 1 where one does not')
    .option('--json', 'print JSON: the fields of list, and digest, problem, pinned, remedies')
    .action(bind(check, { admin: true }));
  bases
    .command('sync')
    .argument('[names...]', 'all that come from elsewhere where none is given')
    .description('copy images from where the catalogue says that they come from into the registry')
    .option('--all-platforms', 'the images for all machines, not only for these hosts')
    .action(bind(sync, { admin: true }));
  bases
    .command('load')
    .argument('<name>')
    .argument('[file]', 'an archive of docker save, or an OCI layout; else standard input')
    .description('put an image of an archive into the registry as a base, where no hub can be reached')
    .option('--image <name>', 'which one, where the archive holds several')
    .action(bind(load, { admin: true, input: loadInput }));
  bases
    .command('build')
    .argument('<names...>')
    .description("make images from Debian's packages and put them into the registry")
    .action(bind(build, { admin: true }));
}

function view({ name, image, for: kinds, when, version, from, buildable }: BaseInfo): object {
  return { name, image, for: kinds, when: when ?? null, version: version ?? null, from: from ?? null, buildable };
}

async function list(call: Call, options: { json?: boolean }): Promise<void> {
  const facts = await call.bases.usableBases(call.out.signal);
  const rows = call.bases.list().map((base) => ({ ...base, version: facts.get(base.name)?.version ?? base.version }));
  await printRows(call, rows, {
    json: options.json,
    view,
    columns: [
      { title: 'BASE', value: (base) => base.name },
      { title: 'FOR', value: (base) => base.for.join(','), shrink: true },
      { title: 'WHEN', value: (base) => base.when ?? '' },
      { title: 'VERSION', value: (base) => base.version ?? '' },
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
  if (base.problem !== undefined) return 'unfit';
  return base.pinned === undefined ? 'ready' : 'changed';
}

function detailOf(base: BaseState): string {
  if (base.problem !== undefined) return base.problem;
  if (base.pinned === undefined) return base.digest ?? '';
  return `${base.digest}; dinp put ${base.pinned} there, and someone has pushed another since`;
}

async function check(call: Call, names: string[], options: { json?: boolean }): Promise<number> {
  const bases = names.length === 0 ? call.bases.list() : names.map((name) => findBase(call, name));
  const rows: BaseState[] = [];
  for (const base of bases) rows.push(await call.bases.check(base.name, call.out.signal));
  await printRows(call, rows, {
    json: options.json,
    view: (row) => ({
      ...view(row),
      digest: row.digest ?? null,
      problem: row.problem ?? null,
      pinned: row.pinned ?? null,
      remedies: row.remedies,
    }),
    columns: [
      { title: 'BASE', value: (row) => row.name },
      { title: 'STATE', value: stateOf },
      { title: 'VERSION', value: (row) => row.version ?? '' },
      { title: 'DETAIL', value: detailOf, shrink: true },
    ],
    empty: 'The catalogue of bases is empty.',
  });
  const wrong = rows.filter((row) => stateOf(row) !== 'ready');
  const lines = wrong.map(({ name, remedies }) => {
    const [first, ...others] = remedies.map((remedy) => `${call.program} ${remedy}`);
    return `  ${name}: ${first}${others.length === 0 ? '' : `   (or ${others.join(', or ')})`}\n`;
  });
  if (lines.length > 0) await call.out.stderr(`What to type:\n${lines.join('')}`);
  return wrong.length === 0 ? 0 : 1;
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

async function sync(call: Call, names: string[], options: { allPlatforms?: boolean }): Promise<void> {
  const all = call.bases.list().filter(({ from }) => from !== undefined);
  const bases = names.length === 0 ? all : [...new Set(names)].map((name) => findBase(call, name));
  for (const base of bases) {
    const { digest, from } = await withProgress(call, (progress) => {
      progress.heading(`Copying the base ${base.name}${base.from === undefined ? '' : ` from ${base.from}`}`);
      return call.bases.sync(base.name, {
        allPlatforms: options.allPlatforms ?? false,
        onProgress: tenths((part, bytes) => progress.line(`${part} % of ${Math.ceil(bytes / 1e6)} MB`)),
        signal: call.out.signal,
      });
    });
    await call.out.stdout(`Copied ${base.name}: ${printable(base.image)} ${digest} (${printable(from)})\n`);
  }
}

/** Tells each tenth of a copy once. */
function tenths(tell: (percent: number, bytes: number) => void): (sent: number, total: number) => void {
  let told = 0;
  return (sent, total) => {
    const part = total === 0 ? 0 : Math.floor((sent / total) * 10) * 10;
    if (part <= told) return;
    told = part;
    tell(part, total);
  };
}

function loadInput(_name: string, file: string | undefined): Input {
  if (file !== undefined && file !== '-') return { kind: 'file', path: file };
  return { kind: 'needed', what: 'the archive that docker save wrote' };
}

async function load(call: Call, name: string, _file: string | undefined, options: { image?: string }): Promise<void> {
  const base = findBase(call, name);
  const { stdin, signal } = call.out;
  if (stdin === undefined) throw new DinpError('usage', 'The archive is read from standard input, and there is none.');
  const { digest } = await withProgress(call, (progress) => {
    progress.heading(`Loading the base ${base.name}`);
    return call.bases.load(base.name, stdin, { image: options.image, signal });
  });
  await call.out.stdout(`Loaded ${base.name}: ${printable(base.image)} ${digest}\n`);
}
