/**
 * Where fleet may run an app's instances: options of a unit's [X-Fleet] section under fleet's own names (fleet, "Unit Files
 * and Scheduling"), and one of ours.
 */
export interface FleetOptions {
  /** The whole id of the one machine. */
  MachineID?: string | undefined;
  /** Units whose machine it must be. */
  MachineOf?: string[] | undefined;
  /** `key=value` that a machine must have; of several for the same key one will do. */
  MachineMetadata?: string[] | undefined;
  /** Names, with `*`, of units that must not be on the same machine. */
  Conflicts?: string[] | undefined;
  /** One of each instance on every machine that fits. */
  Global?: true | undefined;
  /** Units that have to leave the machine for it. */
  Replaces?: string[] | undefined;
  /** false: instances of a process may share a machine. Each gets one of its own where not given. */
  spread?: boolean | undefined;
}

/** `key=value` as fleet reads it: with a second `=` it would pass the pair over without a word. */
export const METADATA = /^[A-Za-z0-9._-]+=[A-Za-z0-9._:/-]+$/;

const FORBIDDEN: readonly (readonly [keyof FleetOptions, readonly (keyof FleetOptions)[]])[] = [
  ['MachineID', ['MachineOf', 'Conflicts', 'Global', 'Replaces']],
  ['Global', ['MachineOf', 'Replaces']],
  ['Conflicts', ['Replaces']],
];

/** What fleet's API refuses in options that are fine one by one; undefined where it takes them. */
export function fleetProblem(options: FleetOptions): { key: keyof FleetOptions; message: string } | undefined {
  const isSet = (key: keyof FleetOptions) => options[key] !== undefined;
  for (const [key, others] of FORBIDDEN) {
    const other = others.find(isSet);
    if (isSet(key) && other !== undefined)
      return { key, message: `cannot be together with ${other}: fleet refuses a unit with both` };
  }
  for (const key of ['Conflicts', 'Replaces'] as const) {
    for (const pattern of options[key] ?? []) {
      const unit = options.MachineOf?.find((name) => matchesGlob(pattern, name));
      if (unit === undefined) continue;
      return { key, message: `"${pattern}" is also ${unit}, which MachineOf wants on the same machine` };
    }
  }
  return undefined;
}

/** Whether instances of a process each get a machine of their own: fleet lets no unit say so that names its machine otherwise. */
export function spreads({ spread, MachineID, MachineOf, Global, Replaces }: FleetOptions): boolean {
  return (spread ?? true) && [MachineID, MachineOf, Global, Replaces].every((option) => option === undefined);
}

/** A unit's name against a pattern in which `*` stands for any characters and `?` for one. */
export function matchesGlob(pattern: string, name: string): boolean {
  const source = pattern.replace(/[.*+?^${}()|[\]\\]/g, (found) =>
    found === '*' ? '.*' : found === '?' ? '.' : `\\${found}`,
  );
  return new RegExp(`^${source}$`).test(name);
}
