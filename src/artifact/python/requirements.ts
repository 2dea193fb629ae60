import { posix } from 'node:path';
import type { Tree } from '../../domain/tree.ts';
import { readText } from '../blobs.ts';
import { dirName } from '../folder.ts';

const MAX_FILES = 20;

/** One package that is asked for (PEP 508). */
export interface Requirement {
  /** As it is written, for people. */
  text: string;
  /** In the one form that all spellings of a name come to: `Foo_Bar` is `foo-bar` (PEP 503). */
  name: string;
  extras: string[];
  /** `>=1.2,<2`; empty for any version. */
  specifier: string;
  /** Behind `;`: when it counts. */
  marker: string | undefined;
}

const REQUIREMENT =
  /^([A-Za-z0-9](?:[\w.-]*[A-Za-z0-9])?)\s*(?:\[([^\]]*)\])?\s*(?:\(([^)]*)\)|@\s*\S+|((?:[<>=!~]=?=?\s*[^\s;,]+\s*,?\s*)*))\s*(?:;\s*(.*))?$/;

/** Reads one requirement; undefined for what is none, such as a path or an address. */
export function parseRequirement(text: string): Requirement | undefined {
  const match = REQUIREMENT.exec(text.trim());
  if (match === null) return undefined;
  const [, name = '', extras = '', bracketed, specifier = '', marker] = match;
  return {
    text: text.trim().replace(/\s*;.*$/, ''),
    name: canonicalName(name),
    extras: extras
      .split(',')
      .map((extra) => extra.trim())
      .filter(Boolean)
      .map(canonicalName),
    specifier: (bracketed ?? specifier).trim(),
    marker: marker?.trim() || undefined,
  };
}

export function canonicalName(name: string): string {
  return name.toLowerCase().replace(/[-_.]+/g, '-');
}

export interface RequirementsFile {
  requirements: Requirement[];
  /** Lines that name a path or an address instead of a package. */
  others: string[];
}

/** Reads a pip requirements file with those that it includes (`-r`); options that say where to look mean nothing here. */
export async function readRequirements(tree: Tree, path: string): Promise<RequirementsFile> {
  const read: RequirementsFile = { requirements: [], others: [] };
  const waiting = [path];
  const seen = new Set<string>();
  for (let file = waiting.shift(); file !== undefined && seen.size < MAX_FILES; file = waiting.shift()) {
    if (seen.has(file)) continue;
    seen.add(file);
    for (const line of linesOf((await readText(tree, file)) ?? '')) {
      const included = /^(?:-r|--requirement)[\s=]+(\S+)$/.exec(line)?.[1];
      if (included !== undefined) waiting.push(posix.normalize(posix.join(dirName(file), included)));
      else if (/^(?:-e|--editable)\b/.test(line)) read.others.push(line);
      else if (!line.startsWith('-')) addTo(read, line);
    }
  }
  return read;
}

function addTo(read: RequirementsFile, line: string): void {
  const requirement = /^(?:\.{0,2}\/|\.$|[a-z+]+:\/\/)/.test(line) ? undefined : parseRequirement(line);
  if (requirement === undefined) read.others.push(line);
  else read.requirements.push(requirement);
}

/** Lines without comments, those that end in a backslash put together, hashes left out. */
function linesOf(text: string): string[] {
  return text
    .replace(/^\ufeff/, '')
    .replace(/\\\r?\n/g, ' ')
    .split(/\r?\n/)
    .map((line) =>
      line
        .replace(/(?:^|\s)#.*$/, '')
        .replace(/\s--(?:hash|config-settings|global-option)[=\s]\S+/g, '')
        .trim(),
    )
    .filter((line) => line !== '');
}
