/** One `Key=value` line. The value is as written: quotes, escapes and specifiers are still in it. */
export interface Entry {
  key: string;
  value: string;
}

/** One `[Name]` block. Keys may repeat; their order counts. */
export interface Section {
  name: string;
  entries: Entry[];
}

/** The content of a unit file, in its order. A section name that appears twice stays two sections, as written. */
export interface Unit {
  sections: Section[];
}

/** All values of a key, over every section of that name, in order. */
export function valuesOf(unit: Unit, section: string, key: string): string[] {
  return unit.sections
    .filter((candidate) => candidate.name === section)
    .flatMap((candidate) => candidate.entries)
    .filter((entry) => entry.key === key)
    .map((entry) => entry.value);
}
