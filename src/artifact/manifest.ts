import { type Document, isMap, isScalar, LineCounter, parseDocument } from 'yaml';
import type { z } from 'zod';
import { DinpError } from '../domain/errors.ts';
import { nearest, printable } from '../domain/names.ts';
import { LATER_KEYS, type Manifest, manifestOf, manifestSchema, show } from './manifest-schema.ts';

const MAX_MISTAKES = 20;

interface Mistake {
  line: number;
  text: string;
}

/**
 * Reads dinp.yml (YAML 1.2) of one service.
 * @returns what it says; keys that it does not have are undefined
 * @throws DinpError refused, telling all mistakes at once, each with its line and the key's path
 */
export function parseManifest(text: string): Manifest {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  if (document.errors.length > 0) {
    throw refuse(
      document.errors.map((error) => ({ line: lines.linePos(error.pos[0]).line, text: printable(error.message) })),
    );
  }
  let content: unknown;
  try {
    // null counts as absent: the documented defaults are written that way.
    content = withoutNulls(document.toJS({ maxAliasCount: 100 }) ?? {});
  } catch (error) {
    throw refuse([{ line: 1, text: printable((error as Error).message) }]);
  }
  const result = manifestSchema.safeParse(content);
  if (result.success) return manifestOf(withBuilder(result.data, document, lines));
  throw refuse(result.error.issues.flatMap((issue) => mistakesOf(issue, content, document, lines)));
}

/** Top-level keys without a value are dropped. */
function withoutNulls(content: unknown): unknown {
  if (typeof content !== 'object' || content === null || Array.isArray(content)) return content;
  return Object.fromEntries(Object.entries(content).filter(([, value]) => value !== null));
}

function mistakesOf(issue: z.core.$ZodIssue, content: unknown, document: Document, lines: LineCounter): Mistake[] {
  const at = (path: PropertyKey[]) => lineOf(document, lines, path);
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => {
      const path = [...issue.path, key];
      return { line: at(path), text: `${join(path)}: ${unknownKey(key, issue.path)}` };
    });
  }
  const where = join(issue.path) || 'the file';
  const found =
    issue.code === 'invalid_type' ? `found ${show(valueAt(content, issue.path))}; ${expected(issue)}` : issue.message;
  return [{ line: at(issue.path), text: `${where}: ${found}` }];
}

function valueAt(content: unknown, path: PropertyKey[]): unknown {
  return path.reduce((value: unknown, part) => (value as Record<PropertyKey, unknown> | undefined)?.[part], content);
}

function expected(issue: z.core.$ZodIssue): string {
  return issue.message.startsWith('write') ? issue.message : 'write "key: value" lines, such as "memory: 256M"';
}

function unknownKey(key: string, parent: PropertyKey[]): string {
  const later = parent.length === 0 ? LATER_KEYS[key] : undefined;
  if (later !== undefined) return `this version of dinp does not support it yet (${later}); take the key out`;
  const keys = keysAt(parent);
  const near = nearest(key, keys);
  return near === undefined
    ? `there is no such key; known are ${keys.join(', ')}`
    : `there is no such key; did you mean ${near}?`;
}

const PROCESS_KEYS = ['command', 'instances', 'memory', 'port', 'health', 'stop'];
const MAP_KEYS: Record<string, string[]> = {
  keep: ['branch', 'commits', 'tags', 'days'],
  builder: ['image', 'workdir'],
  scripts: ['build', 'test'],
  artifact: ['url', 'sha256'],
  fleet: ['MachineID', 'MachineOf', 'MachineMetadata', 'Conflicts', 'Global', 'Replaces', 'spread'],
};
const HEALTH_KEYS = ['path', 'command', 'tcp', 'contains', 'interval', 'timeout', 'retries', 'start'];

/** The keys that fit at a path of the file. */
function keysAt(path: PropertyKey[]): string[] {
  if (path.length === 0) return Object.keys(manifestSchema.shape);
  if (path.at(-1) === 'health') return HEALTH_KEYS;
  return MAP_KEYS[String(path[0])] ?? PROCESS_KEYS;
}

/** @throws DinpError refused for keys that only mean something together */
function withBuilder<T extends { builder?: unknown; scripts?: { build?: unknown; test?: unknown }; output?: unknown }>(
  manifest: T,
  document: Document,
  lines: LineCounter,
): T {
  const mistakes: Mistake[] = [];
  const wrong = (key: string, text: string) =>
    mistakes.push({ line: lineOf(document, lines, [key]), text: `${key}: ${text}` });
  const { builder, scripts, output } = manifest;
  if (builder === undefined && scripts !== undefined) wrong('scripts', 'needs a builder that they run in');
  if (builder === undefined && output !== undefined) wrong('output', 'needs a builder that makes it');
  if (builder !== undefined && (scripts?.build === undefined || (scripts.build as string[]).length === 0))
    wrong('builder', 'needs scripts.build, the commands that it runs');
  if (mistakes.length > 0) throw refuse(mistakes);
  return manifest;
}

function join(path: PropertyKey[]): string {
  return path
    .map((part) => (typeof part === 'number' ? `[${part}]` : printable(String(part))))
    .join('.')
    .replaceAll('.[', '[');
}

/** Line of a key; of the nearest key above it where it is not in the file as such (it came by an alias). */
function lineOf(document: Document, lines: LineCounter, path: PropertyKey[]): number {
  let node: unknown = document.contents;
  let position = 0;
  for (const part of path) {
    if (isMap(node)) {
      const pair = node.items.find(({ key }) => (isScalar(key) ? String(key.value) : '') === String(part));
      if (pair === undefined) break;
      position = (pair.key as { range?: [number, number, number] }).range?.[0] ?? position;
      node = pair.value;
    } else {
      const item = (node as { items?: unknown[] } | undefined)?.items?.[Number(part)];
      if (item === undefined) break;
      position = (item as { range?: [number, number, number] }).range?.[0] ?? position;
      node = item;
    }
  }
  return lines.linePos(position).line || 1;
}

function refuse(mistakes: Mistake[]): DinpError {
  const sorted = mistakes.toSorted((a, b) => a.line - b.line);
  const shown = sorted.slice(0, MAX_MISTAKES).map(({ line, text }) => `line ${line}: ${text}`);
  if (sorted.length > shown.length) shown.push(`and ${sorted.length - shown.length} more`);
  return new DinpError(
    'refused',
    sorted.length === 1 ? 'dinp.yml has a mistake:' : `dinp.yml has ${sorted.length} mistakes:`,
    {
      detail: shown.join('\n'),
      hint: 'Correct it, commit and push again.',
    },
  );
}
