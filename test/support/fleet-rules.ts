import { createHash } from 'node:crypto';
import type { FleetOption } from '../../src/run/fleet/fleet-client.ts';

/**
 * What fleet's API refuses, in its own words (coreos/fleet: Documentation/unit-files-and-scheduling.md, and what fleetd 1.0
 * was seen to answer). Nothing of src/ decides here: this is what src/ is held to.
 */

/** Line ends count: a line of 2048 bytes is one too many. */
const MAX_LINE = 2048;
const MAX_NAME = 256;
const TYPES = 'automount busname device mount path scope service slice snapshot socket swap target timer'.split(' ');
const TEMPLATE_TYPES = ['path', 'service', 'socket', 'target', 'timer'];
const TRUE = ['true', 'yes', '1', 'on', 't'];

export function nameProblem(name: string): string | undefined {
  if (Buffer.byteLength(name) > MAX_NAME) return `unit name exceeds maximum length (${MAX_NAME})`;
  const dot = name.lastIndexOf('.');
  if (dot === -1) return 'unit name must contain "."';
  if (dot === name.length - 1) return 'unit name cannot end in "."';
  const type = name.slice(dot + 1);
  if (!TYPES.includes(type)) return `invalid unit type: "${type}"`;
  if (name.includes('@') && !TEMPLATE_TYPES.includes(type)) return `invalid unit type for template: "${type}"`;
  const bad = [...name.slice(0, dot)].find((char) => !/[A-Za-z0-9:\-_.\\@]/.test(char));
  if (bad !== undefined) return `invalid character '${bad}' in unit name`;
  return name.startsWith('@') ? 'unit name cannot start in "@"' : undefined;
}

export function optionsProblem(options: FleetOption[]): string | undefined {
  if (
    unitText(options)
      .split('\n')
      .some((line) => Buffer.byteLength(line) >= MAX_LINE)
  )
    return `line too long (max ${MAX_LINE} bytes)`;
  const wishes = wishesOf('', options);
  for (const peer of wishes.machineOf) {
    const conflict = wishes.conflicts.find((pattern) => globMatches(pattern, peer));
    if (conflict !== undefined) return `unresolvable requirements: peer "${peer}" matches conflict "${conflict}"`;
    const replace = wishes.replaces.find((pattern) => globMatches(pattern, peer));
    if (replace !== undefined) return `unresolvable requirements: peer "${peer}" matches replace "${replace}"`;
  }
  const has = {
    MachineID: wishes.machineId !== undefined,
    Peers: wishes.machineOf.length > 0,
    Conflicts: wishes.conflicts.length > 0,
    Global: wishes.isGlobal,
    Replaces: wishes.replaces.length > 0,
  };
  const pairs = [
    ...(['Peers', 'Conflicts', 'Global', 'Replaces'] as const).map((other) => ['MachineID', other] as const),
    ...[['Global', 'Peers'] as const, ['Global', 'Replaces'] as const, ['Conflicts', 'Replaces'] as const],
  ];
  const found = pairs.find(([one, other]) => has[one] && has[other]);
  return found && `${found[0]} cannot be used with ${found[1]}`;
}

/** A unit's [X-Fleet] section, with the four specifiers expanded. Options that fleet does not know mean nothing to it. */
export function wishesOf(name: string, options: FleetOption[]) {
  const values = (key: string) =>
    options
      .filter((option) => option.section === 'X-Fleet' && option.name === key)
      .flatMap(({ value }) =>
        /^".*"$/.test(value) ? [...value.matchAll(/"([^"]*)"/g)].map((word) => word[1]!) : [value],
      )
      .map((value) => expand(value, name));
  const metadata = new Map<string, string[]>();
  for (const pair of values('MachineMetadata')) {
    const [key, value, more] = pair.split('=');
    // A pair that is none is passed over.
    if (key && value && more === undefined) metadata.set(key, [...(metadata.get(key) ?? []), value]);
  }
  return {
    machineId: values('MachineID')[0],
    machineOf: values('MachineOf'),
    conflicts: values('Conflicts').flatMap((value) => value.split(/\s+/).filter((word) => word !== '')),
    replaces: values('Replaces'),
    isGlobal: TRUE.includes(values('Global').at(-1)?.toLowerCase() ?? ''),
    metadata,
  };
}

export type Wishes = ReturnType<typeof wishesOf>;

/** `*`, `?` and classes, as Go's path.Match has them. */
export function globMatches(pattern: string, name: string): boolean {
  const source = pattern.replace(/[.+^${}()|\\*?]/g, (char) =>
    char === '*' ? '[^/]*' : char === '?' ? '[^/]' : `\\${char}`,
  );
  return new RegExp(`^${source}$`).test(name);
}

/** The unit file that fleet makes of options: sections in the order in which they first come. */
export function unitText(options: FleetOption[]): string {
  const sections = [...new Set(options.map(({ section }) => section))];
  const lines = (section: string) => options.filter((option) => option.section === section);
  return sections
    .map(
      (section) =>
        `[${section}]\n${lines(section)
          .map(({ name, value }) => `${name}=${value}\n`)
          .join('')}`,
    )
    .join('\n');
}

export function unitHash(options: FleetOption[]): string {
  return createHash('sha1').update(unitText(options)).digest('hex');
}

function expand(value: string, name: string): string {
  const whole = name.slice(0, name.lastIndexOf('.'));
  const [prefix = '', instance = ''] = whole.split('@');
  return value.replaceAll('%n', name).replaceAll('%N', whole).replaceAll('%p', prefix).replaceAll('%i', instance);
}
