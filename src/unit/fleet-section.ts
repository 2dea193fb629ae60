import { DinpError } from '../domain/errors.ts';
import { METADATA, spreads } from '../domain/fleet-options.ts';
import type { InstanceSpec } from '../domain/instance.ts';
import type { UnitFile } from '../domain/unit-file.ts';
import { parseUnit } from './parser.ts';

/** What stands in the [X-Fleet] section of an instance, as its template takes it. */
export interface FleetSection {
  machineId: string | false;
  machineOf: string[];
  /** All pairs on one line: fleet takes them the same on several. */
  machineMetadata: string | false;
  conflicts: string[];
  isGlobal: boolean;
  replaces: string[];
}

/**
 * The [X-Fleet] section of an instance. Instances of a process get a machine each, unless dinp.yml says otherwise.
 * @param allowed `key=value` of the operator's: machines without them are none of ours, whatever dinp.yml says
 * @throws DinpError refused where dinp.yml wants other machines than the operator gives
 */
export function fleetSection(spec: InstanceSpec, allowed: readonly string[]): FleetSection {
  const options = spec.fleet ?? {};
  const pairs = metadata(options.MachineMetadata ?? [], allowed);
  return {
    machineId: options.MachineID ?? false,
    machineOf: options.MachineOf ?? [],
    machineMetadata: pairs.length === 0 ? false : pairs.map((pair) => `"${pair}"`).join(' '),
    // All instances of the process and release; those of other releases may be beside them while traffic moves.
    conflicts: [
      ...(spreads(options) ? [spec.name.replace(/--\d+$/, '--*.service')] : []),
      ...(options.Conflicts ?? []),
    ],
    isGlobal: options.Global === true,
    replaces: options.Replaces ?? [],
  };
}

/**
 * fleet takes any of several values of a key. So where both sides name a key, only what both want may stand, or dinp.yml
 * could widen what the operator has set.
 */
function metadata(wanted: readonly string[], allowed: readonly string[]): string[] {
  for (const pair of [...allowed, ...wanted]) {
    if (METADATA.test(pair)) continue;
    throw new DinpError('config', `${JSON.stringify(pair)} cannot be machine metadata.`, {
      hint: 'Write key=value, such as zone=a.',
    });
  }
  const foreign = wanted.find(
    (pair) => !allowed.includes(pair) && allowed.some((other) => keyOf(other) === keyOf(pair)),
  );
  if (foreign !== undefined) {
    const own = allowed.filter((pair) => keyOf(pair) === keyOf(foreign));
    throw new DinpError('refused', `fleet.MachineMetadata: ${foreign} is not among the machines of this server.`, {
      hint: `Its operator gives machines with ${own.join(' or ')}.`,
    });
  }
  const keys = new Set(wanted.map(keyOf));
  return [...allowed.filter((pair) => !keys.has(keyOf(pair))), ...wanted];
}

function keyOf(pair: string): string {
  return pair.slice(0, pair.indexOf('='));
}

/** A unit as fleet's API takes it: its lines one by one, without comments. */
export function fleetUnit({ name, text }: UnitFile): {
  name: string;
  options: { section: string; name: string; value: string }[];
} {
  const options = parseUnit(text).sections.flatMap(({ name: section, entries }) =>
    entries.map(({ key, value }) => ({ section, name: key, value })),
  );
  return { name, options };
}
