import type { InstanceSpec } from './instance.ts';
import type { Release } from './release.ts';

/** Rendered text of one unit, named as the engine that takes it wants it. */
export interface UnitFile {
  /** `dinp-blog--web--v3--1.service`; of kinds with folders of their own, with `/` in it. */
  name: string;
  text: string;
}

/** The kinds of unit files that every release has, whatever target runs it. */
export const UNIT_KINDS = ['systemd', 'fleet', 'quadlet', 'swarm', 'kustomize'] as const;

export type UnitKind = (typeof UNIT_KINDS)[number];

/** Turns releases into unit files of one kind. */
export interface UnitRenderer {
  /**
   * The unit files of a release. No config value is in them.
   * @param specs its instances, in the order of its services and processes
   * @throws DinpError refused for values that this kind cannot carry
   */
  render(release: Release, specs: InstanceSpec[]): Promise<UnitFile[]>;
  /** The files with config values that the units need beside them, for those who take the units elsewhere; never kept. */
  secretFiles(release: Release, specs: InstanceSpec[]): UnitFile[];
  /** What the engine would not take in them, a line each; undefined where that cannot be found out here. */
  verify?(files: UnitFile[]): Promise<string[] | undefined>;
}

/** The kind of unit files that a target runs, or would; systemd's where it has none of its own. */
export function unitKindOf(target: string): UnitKind {
  return UNIT_KINDS.find((kind) => kind === target) ?? 'systemd';
}
