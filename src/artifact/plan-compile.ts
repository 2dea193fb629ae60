import { posix } from 'node:path';
import type { CompilePlan } from '../domain/compile-plan.ts';
import { DinpError } from '../domain/errors.ts';
import type { Tree } from '../domain/tree.ts';
import { type Intent, readIntent, watchIds } from './intent.ts';
import { overlayTree } from './overlay-tree.ts';

const DEFAULT_WORKDIR = '/src';

/**
 * What the builder of dinp.yml is to do before the commit can be planned.
 * @returns undefined where there is no builder
 * @throws DinpError refused for mistakes in dinp.yml
 */
export async function planCompile(
  tree: Tree,
  asked: { app: string; base?: string | undefined },
): Promise<CompilePlan | undefined> {
  const intent = await readIntent(tree, asked);
  const { manifest, dir } = intent;
  const { builder } = manifest;
  if (builder === undefined) return undefined;
  const sources = manifest.context ?? dir;
  const watch = watchIds(tree, manifest, [tree.treeId(dir)!]);
  return {
    image: builder.image,
    workdir: workdirOf(builder.workdir ?? DEFAULT_WORKDIR),
    sources,
    dir: dirInSources(dir, sources),
    commands: (['build', 'test'] as const).flatMap((script) =>
      (manifest.scripts?.[script] ?? []).map((line) => ({ script: `scripts.${script}` as const, line })),
    ),
    output: manifest.output ?? '.',
    env: { ...manifest.env, ...manifest.args },
    watch,
    packaging: packagingOf(intent),
    timeoutMs: manifest.timeout,
    repository: manifest.image,
  };
}

/**
 * What a builder left, with the repository's Dockerfile where dinp.yml asks for one and the builder left none: its context is
 * then what the builder left.
 */
export function withAskedDockerfile(output: Tree, { manifest, folder }: Intent): Tree {
  if (manifest.dockerfile === undefined && manifest.type !== 'dockerfile') return output;
  const path = manifest.dockerfile ?? 'Dockerfile';
  const entry = folder.find(path);
  if (entry === undefined || output.find(path) !== undefined) return output;
  const alone: Tree = {
    ...folder,
    oid: entry.oid,
    entries: [entry],
    find: (asked) => (asked === path ? entry : undefined),
    treeId: (asked) => (asked === '.' ? entry.oid : undefined),
  };
  return overlayTree([
    { at: '.', tree: output },
    { at: '.', tree: alone },
  ]);
}

/** @throws DinpError refused for folders that are the system's or the cache's */
function workdirOf(path: string): string {
  const workdir = posix.normalize(path).replace(/\/$/, '');
  if (workdir !== '' && !/^\/(?:cache|proc|sys|dev)(?:\/|$)/.test(workdir)) return workdir;
  throw new DinpError('refused', `dinp.yml says builder.workdir: ${path}, a folder that no sources can be put in.`, {
    hint: 'Leave it out (it is /src then), or name a folder of its own such as /work.',
  });
}

function dirInSources(dir: string, sources: string): string {
  if (sources === '.' || dir === sources) return dir === sources ? '.' : dir;
  if (dir.startsWith(`${sources}/`)) return dir.slice(sources.length + 1);
  throw new DinpError('refused', `dinp.yml says dir: ${dir}, which is not in its context: ${sources}.`, {
    hint: 'Name a context that dir lies in, such as context: .',
  });
}

/** Keys that say how it runs; what was compiled is the same, and so is its image. */
const RUNNING = ['instances', 'memory', 'health', 'stop', 'domains', 'keep', 'target', 'timeout', 'deploy'] as const;

/** What decides, besides the sources, what is compiled and what image it becomes: dinp.yml may lie outside of what is watched. */
function packagingOf({ manifest, folder }: Intent): string {
  const packaging: Record<string, unknown> = { ...manifest };
  for (const key of RUNNING) delete packaging[key];
  const asked = [manifest.dockerfile ?? 'Dockerfile', 'Procfile', 'app.json'];
  return JSON.stringify([packaging, asked.map((path) => folder.find(path)?.oid ?? null)]);
}
