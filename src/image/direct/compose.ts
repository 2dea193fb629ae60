import { DinpError } from '../../domain/errors.ts';
import { printable } from '../../domain/names.ts';
import { FIXED_CREATED } from '../image-format.ts';
import type { Base, StoredConfig, StoredHistory } from './base.ts';
import type { Layer } from './layer-upload.ts';
import type { LayersPlan, Layout } from './layout.ts';

/** A layer of ours, and what it was made from. */
export interface MadeLayer {
  layout: Layout;
  layer: Layer;
}

/** How our entries in an image's history begin; inspecting an image knows our layers by it. */
export const HISTORY_MARK = 'dinp layer ';

/** What a base's config says about the container that it was once made in, or about the builder that made it. */
const LEFT_OUT = /^(?:container|container_config|docker_version|id|parent|Size|throwaway)$|^moby\./;
/** The same inside of `config`; triggers for a `docker build` are not run here. */
const LEFT_OUT_INSIDE = new Set(['Hostname', 'Domainname', 'Image', 'OnBuild']);

/**
 * The config of an image: the base's, with our layers, and what the plan sets. It says nothing of when, where or by which build it was
 * made, so that one commit gives one digest everywhere.
 * @param labels set over the base's
 * @throws DinpError refused for names and values of variables that no process can have
 */
export function composeConfig(
  base: Base,
  made: readonly MadeLayer[],
  plan: LayersPlan,
  labels: Record<string, string>,
): StoredConfig {
  const kept = Object.entries(base.config).filter(([name]) => !LEFT_OUT.test(name));
  return {
    ...(Object.fromEntries(kept) as StoredConfig),
    created: FIXED_CREATED,
    config: composeSettings(base.config.config ?? {}, plan, labels),
    rootfs: { type: 'layers', diff_ids: [...base.config.rootfs.diff_ids, ...made.map(({ layer }) => layer.diffId)] },
    history: [
      ...baseHistory(base.config),
      ...made.map(({ layout }) => ({
        created: FIXED_CREATED,
        created_by: `${HISTORY_MARK}${layout.name}`,
        comment: `files: ${layout.files.length}, bytes: ${layout.bytes}`,
      })),
    ],
  };
}

function composeSettings(
  base: Record<string, unknown>,
  plan: LayersPlan,
  labels: Record<string, string>,
): Record<string, unknown> {
  const kept = Object.entries(base).filter(([name]) => !LEFT_OUT_INSIDE.has(name));
  return {
    ...Object.fromEntries(kept),
    Env: composeEnv((base.Env as string[] | null | undefined) ?? [], plan.env),
    // A base's entrypoint would run before our command, with the command as its arguments.
    ...(plan.command === undefined ? {} : { Entrypoint: [], Cmd: plan.command }),
    ...(plan.workdir === undefined ? {} : { WorkingDir: plan.workdir }),
    ...(plan.port === undefined ? {} : { ExposedPorts: { [`${plan.port}/tcp`]: {} } }),
    Labels: { ...(base.Labels as Record<string, string> | null | undefined), ...labels },
  };
}

function composeEnv(base: readonly string[], own: Record<string, string>): string[] {
  for (const [name, value] of Object.entries(own)) {
    if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name))
      throw new DinpError('refused', `"${printable(name)}" cannot be the name of a variable.`);
    if (value.includes('\0'))
      throw new DinpError('refused', `The value of ${name} holds a NUL, which no variable can.`);
  }
  const left = base.filter((line) => !Object.hasOwn(own, line.slice(0, line.indexOf('='))));
  const added = Object.entries(own).sort(([a], [b]) => (a < b ? -1 : 1));
  return [...left, ...added.map(([name, value]) => `${name}=${value}`)];
}

/** The base's history, or a made up one where it does not fit its layers: engines refuse an image of which the two differ. */
function baseHistory({ history, rootfs }: StoredConfig): StoredHistory[] {
  const known = Array.isArray(history) ? history : [];
  const layers = known.filter((step) => step.empty_layer !== true).length;
  if (layers === rootfs.diff_ids.length) return known;
  return rootfs.diff_ids.map(() => ({ created: FIXED_CREATED, created_by: 'a layer of the base' }));
}
