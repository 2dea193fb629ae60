import { readFileSync } from 'node:fs';
import { parse as parseYaml } from 'yaml';
import { z } from 'zod';
import { DinpError } from '../../domain/errors.ts';

/** The catalogue may say 17 or "3.11"; 3.10 without quotes would be read as 3.1. */
const version = z.union(
  [z.number().int().min(1).transform(String), z.string().regex(/^\d+(?:\.\d+){0,2}$/)],
  'must be a whole number such as 17, or a text such as "3.11"',
);
const absolute = z.string().regex(/^\/[^\0]*$/, 'must be an absolute path');
const packageName = z
  .string()
  .regex(/^[a-z0-9][a-z0-9+.-]*(?:\|[a-z0-9][a-z0-9+.-]*)*$/, 'must be a Debian package, or several joined by |');
const file = z.union([
  z.string().transform((text) => ({ text, mode: 0o644 })),
  z.strictObject({ text: z.string(), mode: z.number().int().min(0).max(0o7777) }),
]);

/** A list that may hold lists, so that entries can share parts of theirs (YAML has no other way to join two). */
const listOf = (item: z.ZodType<string>) =>
  z.array(z.union([item.transform((one) => [one]), z.array(item)])).transform((lists) => lists.flat());

const recipe = z.strictObject({
  method: z.enum(['extract', 'system']),
  packages: listOf(packageName).refine((names) => names.length > 0, 'must name a package'),
  depends: z.boolean().default(false),
  without: listOf(packageName).default([]),
  keep: z.array(absolute).optional(),
  drop: listOf(absolute).default([]),
  busybox: z.boolean().default(false),
  links: z.record(absolute, z.string().min(1)).default({}),
  files: z.record(absolute, file).default({}),
});

const base = z.strictObject({
  image: z.string(),
  from: z.string().optional(),
  for: z.union([z.string().transform((kind) => [kind]), z.array(z.string())]).default([]),
  when: z.enum(['javax', 'jakarta']).optional(),
  version: version.optional(),
  into: absolute.optional(),
  shell: z.boolean().default(true),
  cmd: z.array(z.string()).optional(),
  port: z.number().int().min(1).max(65535).optional(),
  user: z.string().nullish(),
  env: z.record(z.string(), z.string()).default({}),
  build: recipe.optional(),
});

const catalogue = z.record(
  z.string().regex(/^[a-z0-9]+(?:-[a-z0-9]+)*$/, 'must be a name such as static-site'),
  base.nullable(),
);

/** One entry of the catalogue; bases.yml says what its keys mean. */
export type BaseEntry = z.infer<typeof base>;
export type BaseRecipe = z.infer<typeof recipe>;

/** The catalogue that comes with the package; the build copies it beside the compiled code. */
const BUILT_IN = new URL('./bases.yml', import.meta.url);

/**
 * Reads the built-in catalogue and, over it, the operator's own.
 * @param file path of the operator's, if there is one
 * @throws DinpError config naming the key that is wrong
 */
export function readCatalogue(file: string | undefined): Map<string, BaseEntry> {
  const entries = new Map<string, BaseEntry>();
  for (const from of file === undefined ? [BUILT_IN] : [BUILT_IN, file]) {
    for (const [name, entry] of Object.entries(readOne(from))) {
      if (entry === null) entries.delete(name);
      else entries.set(name, entry);
    }
  }
  return entries;
}

function readOne(file: string | URL): z.infer<typeof catalogue> {
  let values: unknown;
  try {
    values = parseYaml(readFileSync(file, 'utf8'), { merge: true });
  } catch (cause) {
    throw new DinpError('config', `The catalogue of bases ${file} cannot be read: ${(cause as Error).message}`, {
      cause,
    });
  }
  const result = catalogue.safeParse(values ?? {});
  if (result.success) return result.data;
  const lines = result.error.issues.map((issue) => `  ${issue.path.join('.')}: ${issue.message}`);
  throw new DinpError('config', `The catalogue of bases ${file} is wrong:\n${lines.join('\n')}`);
}
