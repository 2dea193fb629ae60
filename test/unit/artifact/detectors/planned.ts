import { planDeploy } from '../../../../src/artifact/plan-deploy.ts';
import { DinpError } from '../../../../src/domain/errors.ts';
import type { BaseFacts, ServicePlan } from '../../../../src/domain/plan.ts';
import { type FileSpec, memoryTree } from '../memory-tree.ts';

export const BASES = new Map<string, BaseFacts>([
  ['php', { shell: true, for: ['php'], version: '8.2.29', usable: true }],
  ['python', { shell: true, for: ['python'], version: '3.11.2', usable: true }],
  ['node', { shell: true, for: ['node'], version: '18.20.4', usable: true }],
  ['plain', { shell: true, into: '/opt/app', for: ['plain'], usable: true }],
  ['static', { shell: false, for: ['binary'], usable: true }],
  ['static-site', { shell: false, into: '/srv/www', for: ['static'], usable: true }],
]);

export type Files = Record<string, FileSpec>;

export interface Planned extends ServicePlan {
  notes: string[];
}

export async function plan(files: Files, bases: ReadonlyMap<string, BaseFacts> = BASES): Promise<Planned> {
  const scope = new AsyncDisposableStack();
  const { services, notes } = await planDeploy(memoryTree(files), { app: 'shop', hostArch: 'amd64', bases, scope });
  return { ...services[0]!, notes };
}

/** What is found, on which base, how it is started, what is in the lower layer, and the notes: one line each. */
export async function planned(files: Files, bases?: ReadonlyMap<string, BaseFacts>): Promise<string> {
  const { found, image, notes } = await plan(files, bases);
  if (image.kind !== 'layers') return found;
  const env = Object.entries(image.env).map(([name, value]) => `${name}=${value}`);
  return [
    `${found} on ${image.base}`,
    `starts ${image.command?.join(' ') ?? "the base's"} in ${image.workdir}`,
    ...(image.dependencies.length === 0 ? [] : [`below: ${image.dependencies.join(' ')}`]),
    ...env,
    ...notes,
  ].join('\n');
}

/** What a push of these files is refused with: the message, and the first lines of the hint. */
export async function refusal(files: Files, bases?: ReadonlyMap<string, BaseFacts>): Promise<string> {
  try {
    return `not refused: ${await planned(files, bases)}`;
  } catch (error) {
    if (!(error instanceof DinpError)) throw error;
    return `${error.message}\n${error.hint?.split('\n\nOr ')[0]}`;
  }
}
