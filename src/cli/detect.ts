import { stat } from 'node:fs/promises';
import { basename, resolve } from 'node:path';
import { openUpload } from '../artifact/archive/upload.ts';
import { planCompile } from '../artifact/plan-compile.ts';
import { planDeploy } from '../artifact/plan-deploy.ts';
import type { CompilePlan } from '../domain/compile-plan.ts';
import { DinpError } from '../domain/errors.ts';
import { appNameProblem } from '../domain/names.ts';
import type { DeployPlan, ImagePlan, ServicePlan } from '../domain/plan.ts';
import type { Tree } from '../domain/tree.ts';
import { openLocalCommit } from '../git/local-commit.ts';
import { openFolder, openWorkingTree } from '../git/working-tree.ts';
import { BaseCatalogue } from '../image/bases/bases.ts';
import { Registries } from '../image/registry/registries.ts';
import { findProgram } from '../server/find-program.ts';

/** Where the app's name is known from nothing else. */
const UNNAMED = 'app';

interface Found {
  tree: Tree;
  /** What it is called where it lies; a guess at the app's name. */
  name: string;
  notes: string[];
}

/**
 * Says what a push of a checkout or a commit, or an upload of a file, would become; without a server. The rules are those
 * of the server, its own catalogue of bases apart.
 * @param what a folder, a file, or a commit of the checkout around `from`
 * @param app its name where that is known
 * @returns text for people
 * @throws DinpError refused with what the deploy would be told; not-found
 */
export async function detectLocally(what: string, app: string | undefined, from = process.cwd()): Promise<string> {
  await using scope = new AsyncDisposableStack();
  const { tree, name, notes } = await find(what, from, scope);
  const bases = new BaseCatalogue({ registries: new Registries({ own: { address: '127.0.0.1:5000' } }) });
  const named = app ?? (appNameProblem(name) === undefined ? name : UNNAMED);
  const compile = await planCompile(tree, { app: named });
  if (compile !== undefined) return formatCompile(compile);
  const plan = await planDeploy(tree, {
    app: named,
    hostArch: process.arch === 'x64' ? 'amd64' : process.arch,
    bases: new Map(bases.list().map((base) => [base.name, bases.facts(base.name)!])),
    scope,
  });
  return formatPlan({ ...plan, notes: [...notes, ...plan.notes] });
}

async function find(what: string, from: string, scope: AsyncDisposableStack): Promise<Found> {
  const path = resolve(from, what);
  const stats = await stat(path).catch(() => undefined);
  if (stats?.isFile()) {
    const name = basename(path);
    return { tree: scope.use(await openUpload(path, name)), name: name.replace(/\..*$/, '').toLowerCase(), notes: [] };
  }
  const checkout = await openWorkingTree(stats === undefined ? from : path).catch((error: unknown) => {
    if (stats !== undefined && error instanceof DinpError && error.code === 'not-found') return undefined;
    throw error;
  });
  if (checkout === undefined) {
    const notes = [`${path} is in no git repository: all of its files count.`];
    return { tree: await openFolder(path), name: basename(path), notes };
  }
  const name = basename(checkout.root);
  if (stats !== undefined) return { tree: checkout, name, notes: [] };
  const git = findProgram('git');
  return { tree: scope.use(await openLocalCommit({ git, root: checkout.root }, what)), name, notes: [] };
}

/** What runs on the server first; what it leaves is looked at there. */
function formatCompile({ image, workdir, sources, commands, output }: CompilePlan): string {
  return [
    `Builder:    ${image}, with ${sources === '.' ? 'all files' : sources} in ${workdir}`,
    ...commands.map(({ script, line }, i) => `${i === 0 ? 'Scripts:' : ''}`.padEnd(12).concat(`${script}: ${line}`)),
    `Output:     ${output}, looked at once the builder has made it`,
  ]
    .join('\n')
    .concat('\n');
}

function formatPlan(plan: DeployPlan): string {
  return [...plan.notes, ...plan.services.flatMap(formatService)].join('\n').concat('\n');
}

function formatService(service: ServicePlan): string[] {
  const { image } = service;
  const processes = service.processes.map(
    ({ name, command, instances, port }) =>
      `${name.padEnd(10)} ${command?.join(' ') ?? "the image's own command"}${instances === 1 ? '' : `, ${instances} instances`}${port === undefined ? '' : `, port ${port}`}`,
  );
  return [
    `Found:      ${service.found}`,
    `Image:      ${describeImage(image)}`,
    ...processes.map((line, i) => `${i === 0 ? 'Processes:' : ''.padEnd(10)}  ${line}`),
  ];
}

function describeImage(image: ImagePlan): string {
  if (image.kind === 'image') return image.reference;
  if (image.kind === 'dockerfile') return `built from ${image.dockerfile}, context ${image.context}`;
  if (image.kind === 'kept') return 'made before';
  return `${image.files.length} ${image.files.length === 1 ? 'file' : 'files'} laid over base ${image.base}`;
}
