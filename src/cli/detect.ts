import { resolve } from 'node:path';
import { planDeploy } from '../artifact/plan-deploy.ts';
import type { DeployPlan, ImagePlan, ServicePlan } from '../domain/plan.ts';
import { openWorkingTree } from '../git/working-tree.ts';
import { BaseCatalogue } from '../image/bases.ts';
import { Registries } from '../image/registries.ts';

/**
 * Says what a push of this checkout would become, without a server: the rules are those of the server, its own
 * catalogue of bases apart.
 * @returns text for people
 * @throws DinpError refused with what the push would be told
 */
export async function detectFolder(folder: string, app: string | undefined): Promise<string> {
  const tree = await openWorkingTree(resolve(folder));
  const bases = new BaseCatalogue({ registries: new Registries({ own: { address: '127.0.0.1:5000' } }) });
  await using scope = new AsyncDisposableStack();
  const plan = await planDeploy(tree, {
    app: app ?? 'app',
    hostArch: process.arch === 'x64' ? 'amd64' : process.arch,
    bases: new Map(bases.list().map(({ name }) => [name, bases.facts(name)!])),
    scope,
  });
  return formatPlan(plan);
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
  return `${image.files.length} ${image.files.length === 1 ? 'file' : 'files'} laid over base ${image.base}`;
}
