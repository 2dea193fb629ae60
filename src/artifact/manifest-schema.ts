import { z } from 'zod';
import { fleetProblem, METADATA } from '../domain/fleet-options.ts';
import { findHostName } from '../domain/host-names.ts';
import { isProcessName, printable } from '../domain/names.ts';
import { DEFAULT_HEALTH, type HealthCheck } from '../domain/process.ts';
import { parseDuration, parseSize } from '../domain/quantities.ts';
import { parseCommand } from './command.ts';

/** The least that the Docker Engine gives a container. */
const MIN_MEMORY = 6 * 1024 * 1024;
const MAX_INSTANCES = 100;
const ENV_NAME = /^[A-Za-z_][A-Za-z0-9_]*$/;
const REPOSITORY = /^[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*$/;
/** A host's name, or a label of hosts. */
const HOST_OR_LABEL = /^[a-z0-9]+([._-][a-z0-9]+)*(=[A-Za-z0-9._-]{1,63})?$/;
const BASE_NAME = /^[a-z0-9]+(?:[._-][a-z0-9]+)*$/;
const CONTROL = /[\u0000-\u001f\u007f-\u009f]/;

/** Keys of dinp.yml that this version knows of and cannot honour yet. */
export const LATER_KEYS: Record<string, string> = {
  services: 'several services in one repository',
  git: 'sources from another repository',
  needs: 'images that need other images',
  on: 'deploying after other apps',
};

/** What a value is, as its writer sees it. */
export function show(value: unknown): string {
  if (value === null || value === undefined) return 'nothing';
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'object') return 'a map';
  const text = printable(String(value));
  const short = text.length > 60 ? `${text.slice(0, 60)}…` : text;
  return typeof value === 'string' ? `"${short}"` : short;
}

/** A JSON Schema (draft 7) of one value. */
export type JsonSchema = { readonly [key: string]: unknown };

const editorSchemas = new WeakMap<z.ZodType, JsonSchema>();

/** Keeps what editors are told of a value beside what reads it, so that the two are written in one place. */
function told<T extends z.ZodType>(schema: T, json: JsonSchema): T {
  editorSchemas.set(schema, json);
  return schema;
}

/** What editors are told of a value of the manifest. */
export function editorSchema(schema: z.ZodType): JsonSchema {
  const own = editorSchemas.get(schema);
  if (own !== undefined) return own;
  if (schema instanceof z.ZodOptional) return editorSchema(schema.unwrap() as z.ZodType);
  if (schema instanceof z.ZodArray) return { type: 'array', items: editorSchema(schema.element as z.ZodType) };
  if (schema instanceof z.ZodPipe) return editorSchema(schema.in as z.ZodType);
  if (!(schema instanceof z.ZodObject)) throw new Error('a part of the manifest that editors are told nothing of');
  const properties = Object.entries(schema.shape as Record<string, z.ZodType>).map(([key, part]) => [
    key,
    editorSchema(part),
  ]);
  const required = Object.entries(schema.shape).filter(([, part]) => !(part instanceof z.ZodOptional));
  return {
    type: 'object',
    properties: Object.fromEntries(properties),
    additionalProperties: false,
    ...(required.length === 0 ? {} : { required: required.map(([key]) => key) }),
  };
}

/** A value that `parse` understands; anything else is answered with what was found and an example of what is right. */
function value<T>(example: string, json: JsonSchema, parse: (value: unknown) => T | undefined) {
  const schema = z.unknown().transform((input, context): T => {
    const parsed = parse(input);
    if (parsed !== undefined) return parsed;
    context.issues.push({ code: 'custom', input, message: `found ${show(input)}; write ${example}` });
    return z.NEVER;
  });
  return told(schema, json);
}

/** A text of one line that fits `pattern`. */
function text(example: string, pattern: RegExp) {
  return value(example, { type: 'string', pattern: pattern.source }, (input) =>
    typeof input === 'string' && !CONTROL.test(input) && pattern.test(input) ? input : undefined,
  );
}

function oneOf<T extends string>(words: readonly T[]) {
  const example = `${words.slice(0, -1).join(', ')} or ${words.at(-1)}`;
  return value(example, { enum: words }, (input) => words.find((word) => word === input));
}

function integer(example: string, min: number, max: number) {
  return value(example, { type: 'integer', minimum: min, maximum: max }, (input) =>
    Number.isInteger(input) && (input as number) >= min && (input as number) <= max ? (input as number) : undefined,
  );
}

const duration = (example: string) =>
  value(example, { type: 'string', pattern: '^(?=.*[1-9])[0-9]+(ms|s|m|h)$' }, (input) => {
    const milliseconds = typeof input === 'string' ? parseDuration(input) : undefined;
    return milliseconds !== undefined && milliseconds > 0 && milliseconds <= 24 * 3_600_000 ? milliseconds : undefined;
  });

/** At least 6M, in any unit. */
const SIZE = {
  type: 'string',
  pattern:
    '^0*(([6-9]|[1-9][0-9]+)M|[1-9][0-9]*G|(614[4-9]|61[5-9][0-9]|6[2-9][0-9]{2}|[7-9][0-9]{3}|[1-9][0-9]{4,})K)$',
};
const memory = value('a size of at least 6M, such as 256M or 1G', SIZE, (input) => {
  const bytes = typeof input === 'string' ? parseSize(input) : undefined;
  return bytes !== undefined && bytes >= MIN_MEMORY ? bytes : undefined;
});

/** A path inside the commit, without `./` in front and `/` behind. */
const path = (example: string) =>
  value(example, { type: 'string', pattern: '^(?!/)(?!(.*/)?\\.\\.(/|$)).' }, (input) => {
    if (typeof input !== 'string' || input === '' || input.startsWith('/') || CONTROL.test(input)) return undefined;
    const parts = input.split('/').filter((part) => part !== '' && part !== '.');
    return parts.includes('..') ? undefined : parts.join('/') || '.';
  });

/** argv: a list as it is, a string as a shell would understand it. */
const COMMAND = {
  anyOf: [
    { type: 'string', pattern: '\\S' },
    { type: 'array', items: [{ type: 'string', minLength: 1 }], additionalItems: { type: 'string' }, minItems: 1 },
  ],
};
const command = value('a command such as "./server --port 8080", or a list of its words', COMMAND, (input) => {
  if (typeof input === 'string') return input.trim() !== '' && !CONTROL.test(input) ? parseCommand(input) : undefined;
  if (!Array.isArray(input) || input.length === 0 || input[0] === '') return undefined;
  return input.every((word) => typeof word === 'string' && !word.includes('\0')) ? (input as string[]) : undefined;
});

const SCALAR = { type: ['string', 'number', 'boolean'] };
const scalar = value('a text, a number, true or false', SCALAR, (input) =>
  ['string', 'number', 'boolean'].includes(typeof input) ? String(input) : undefined,
);

type Issues = z.core.ParsePayload['issues'];

/** A map of names of the writer's choosing. Names and values are all checked, whatever else is wrong. */
function map<T extends z.ZodType>(
  values: T,
  names: JsonSchema,
  problem: (key: string, value: unknown) => string | undefined,
) {
  const schema = z.unknown().transform((input, context): Record<string, z.output<T>> => {
    const entries: [string, z.output<T>][] = [];
    if (!isMapping(input))
      context.issues.push({ code: 'custom', input, message: `found ${show(input)}; write a map of names to values` });
    for (const [key, value] of Object.entries(isMapping(input) ? input : {})) {
      const message = problem(key, value);
      if (message !== undefined) context.issues.push({ code: 'custom', input: value, path: [key], message });
      const result = values.safeParse(value);
      if (result.success) entries.push([key, result.data]);
      else pushIssues(context.issues, result.error, [key]);
    }
    return Object.fromEntries(entries);
  });
  return told(schema, { type: 'object', propertyNames: names, additionalProperties: editorSchema(values) });
}

function isMapping(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Takes over what an inner schema found, below `path`. */
function pushIssues(issues: Issues, error: z.ZodError, path: PropertyKey[]): void {
  for (const issue of error.issues) issues.push({ ...issue, path: [...path, ...issue.path] } as Issues[number]);
}

const processNameProblem = (name: string) =>
  isProcessName(name) ? undefined : 'a name has lower-case letters, digits and single hyphens, at most 30 characters';
const variableProblem = (name: string) =>
  ENV_NAME.test(name) ? undefined : 'a variable has letters, digits and _, and begins with no digit';

const LABEL = '[A-Za-z0-9\\u0080-\\uffff]([A-Za-z0-9\\u0080-\\uffff-]{0,61}[A-Za-z0-9\\u0080-\\uffff])?';
const HOST = {
  type: 'string',
  pattern: `^(\\*\\.)?${LABEL}(\\.${LABEL})*$`,
};
const NAMES = { pattern: '^[a-z0-9]+(-[a-z0-9]+)*$', maxLength: 30 };
const VARIABLES = { pattern: ENV_NAME.source };

const env = map(scalar, { ...VARIABLES, not: { const: 'PORT' } }, (name, entry) => {
  if (name === 'PORT') return 'PORT is set by dinp; write "port: 3000" instead';
  if (typeof entry === 'string' && CONTROL.test(entry)) {
    return 'holds a line break or control character; set it with "dinp config set", which takes any text';
  }
  return variableProblem(name);
});

const volumes = map(
  text('an absolute path in the container, such as /data', /^\/(?!\/)(?!(?:.*\/)?\.{1,2}(?:\/|$))[^:,]+$/),
  NAMES,
  processNameProblem,
);

const PORT = { anyOf: [{ const: 'auto' }, { type: 'integer', minimum: 1, maximum: 65535 }] };
const port = value('auto, or a port such as 3000', PORT, (input) =>
  input === 'auto'
    ? ('auto' as const)
    : Number.isInteger(input) && (input as number) >= 1 && (input as number) <= 65535
      ? (input as number)
      : undefined,
);

const HEALTH_EXAMPLE = 'auto, none, a path such as /healthz, or {path: /healthz, interval: 5s}';
const URL_PATH = /^\/\S*$/;
const urlPath = text('a path such as /healthz', URL_PATH);

const healthObject = z
  .strictObject({
    path: urlPath.optional(),
    command: text('a shell command such as "pg_isready"', /\S/).optional(),
    tcp: value('true', { const: true }, (input) => (input === true ? true : undefined)).optional(),
    contains: text('a text that the answer must contain', /./).optional(),
    interval: duration('a time such as 5s').optional(),
    timeout: duration('a time such as 3s').optional(),
    retries: integer('a number from 1 to 100', 1, 100).optional(),
    start: duration('a time such as 60s').optional(),
  })
  .transform((input, context): HealthCheck => {
    const ways = (['path', 'command', 'tcp'] as const).filter((key) => input[key] !== undefined);
    if (ways.length > 1)
      context.addIssue({ code: 'custom', message: `${ways.join(' and ')} cannot be together; keep one` });
    if (input.contains !== undefined && input.path === undefined) {
      context.addIssue({ code: 'custom', path: ['contains'], message: 'needs a path whose answer is looked at' });
    }
    return {
      kind: input.path !== undefined ? 'http' : input.command !== undefined ? 'command' : input.tcp ? 'tcp' : 'auto',
      ...(input.path === undefined ? {} : { path: input.path }),
      ...(input.contains === undefined ? {} : { contains: input.contains }),
      ...(input.command === undefined ? {} : { command: input.command }),
      intervalMs: input.interval ?? DEFAULT_HEALTH.intervalMs,
      timeoutMs: input.timeout ?? DEFAULT_HEALTH.timeoutMs,
      retries: input.retries ?? DEFAULT_HEALTH.retries,
      startMs: input.start ?? DEFAULT_HEALTH.startMs,
    };
  });

const HEALTH_WORD = { anyOf: [{ enum: ['auto', 'none'] }, { type: 'string', pattern: URL_PATH.source }] };
const healthWord = value(HEALTH_EXAMPLE, HEALTH_WORD, (input): HealthCheck | undefined => {
  if (input === 'auto' || input === 'none') return { ...DEFAULT_HEALTH, kind: input };
  if (typeof input !== 'string' || !input.startsWith('/') || /\s/.test(input) || CONTROL.test(input)) return undefined;
  return { ...DEFAULT_HEALTH, kind: 'http', path: input };
});

/** Chosen by what the value is, so that a mistake inside a map is told by its own key. */
function mapOr<M extends z.ZodType, W extends z.ZodType>(maps: M, words: W) {
  const schema = z.unknown().transform((input, context): z.output<M> | z.output<W> => {
    const result = (isMapping(input) ? maps : words).safeParse(input);
    if (result.success) return result.data as z.output<M> | z.output<W>;
    pushIssues(context.issues, result.error, []);
    return z.NEVER;
  });
  return told(schema, { anyOf: [editorSchema(maps), editorSchema(words)] });
}

/** Of the ways to check health only one can be taken, and only an answer over HTTP contains something. */
told(healthObject, {
  ...editorSchema(healthObject),
  allOf: [
    ...[
      ['path', 'command'],
      ['path', 'tcp'],
      ['command', 'tcp'],
    ].map((pair) => ({ not: { required: pair } })),
  ],
  dependencies: { contains: ['path'] },
});

const health = mapOr(healthObject, healthWord);
const instances = integer('a number from 0 to 100', 0, MAX_INSTANCES);
const stop = duration('a time such as 30s');

const processObject = z.strictObject({
  command: command.optional(),
  instances: instances.optional(),
  memory: memory.optional(),
  port: port.optional(),
  health: health.optional(),
  stop: stop.optional(),
});
/** `web:` with nothing behind it: the process is wanted, all of it by default. */
const processWord = told(
  z.unknown().transform((input, context) => {
    if (input === null) return {};
    const result = command.safeParse(input);
    if (result.success) return { command: result.data };
    pushIssues(context.issues, result.error, []);
    return z.NEVER;
  }),
  { anyOf: [{ type: 'null' }, COMMAND] },
);

/** A file from the web, with the checksum that it must have. */
const download = z.strictObject(
  {
    url: text('an address such as https://example.org/app.war', /^https?:\/\/[^\s/]+\/\S*$/),
    sha256: text('the 64 hexadecimal digits that sha256sum prints', /^[0-9a-f]{64}$/),
  },
  'write a path of the commit, or {url: https://…, sha256: …}',
);
const IMAGE = /^[a-z0-9][a-z0-9._:/-]*(?:@sha256:[0-9a-f]{64})?$/i;
/** Commands for the builder, one after the other. */
const script = value(
  'a command, or a list of commands',
  {
    anyOf: [
      { type: 'string', pattern: '\\S' },
      { type: 'array', items: { type: 'string', pattern: '\\S' } },
    ],
  },
  (input) => {
    const lines = typeof input === 'string' ? [input] : input;
    const right = Array.isArray(lines) && lines.every((line) => typeof line === 'string' && line.trim() !== '');
    return right && !lines.some((line) => line.includes('\0')) ? (lines as string[]) : undefined;
  },
);

/** One text, or a list of them. */
function texts(example: string, pattern: RegExp) {
  const one = { type: 'string', pattern: pattern.source };
  return value(`${example}, or a list`, { anyOf: [one, { type: 'array', items: one }] }, (input) => {
    const list = typeof input === 'string' ? [input] : input;
    const right = Array.isArray(list) && list.every((entry) => typeof entry === 'string' && pattern.test(entry));
    return right ? (list as string[]) : undefined;
  });
}

const flag = value('true or false', { type: 'boolean' }, (input) => (typeof input === 'boolean' ? input : undefined));
/** A unit's name with a type, as fleet takes it; `%` would be a specifier, and expand. */
const UNIT = /^[A-Za-z0-9:_.@-]+\.(?:service|socket|path|timer|mount|automount|device|target)$/;
const UNITS = /^[A-Za-z0-9:_.@*?-]+$/;

/** Where fleet may run the instances; what its API would refuse is refused here, with the key. */
const fleet = z
  .strictObject(
    {
      MachineID: text('a machine\'s whole id, as "fleetctl list-machines -l" prints it', /^[0-9a-f]{32}$/).optional(),
      MachineOf: texts('the name of a unit, such as db.service', UNIT).optional(),
      MachineMetadata: texts('key=value, such as zone=a', METADATA).optional(),
      Conflicts: texts('names of units, such as batch*.service', UNITS).optional(),
      Global: value('true', { const: true }, (input) => (input === true ? (true as const) : undefined)).optional(),
      Replaces: texts('names of units, such as old*.service', UNITS).optional(),
      spread: flag.optional(),
    },
    'write a map such as {MachineMetadata: [zone=a]}',
  )
  .superRefine((options, context) => {
    const problem = fleetProblem(options);
    if (problem !== undefined) context.addIssue({ code: 'custom', path: [problem.key], message: problem.message });
  });

const KINDS = ['dockerfile', 'plain', 'binary', 'war', 'jar', 'php', 'python', 'node', 'static'] as const;

/** dinp.yml of one service, as MANIFEST has it; absent keys stay undefined. */
export const manifestSchema = z.strictObject({
  type: oneOf(['auto', ...KINDS]).optional(),
  dir: path('a folder of the commit, such as server').optional(),
  context: path('a folder of the commit, such as .').optional(),
  watch: z.array(path('a path of the commit'), 'write a list of paths, such as [server, shared]').optional(),
  artifact: mapOr(download, path('a path in the commit, such as dist/server')).optional(),
  base: text('the name of a base, such as glibc', BASE_NAME).optional(),
  root: path('a folder of the commit, such as public').optional(),
  builder: z
    .strictObject(
      {
        image: text('an image with the toolchain, such as maven:3-eclipse-temurin-21', IMAGE),
        workdir: text('an absolute path in the container, such as /src', /^\/\S+$/).optional(),
      },
      'write a map such as {image: "maven:3-eclipse-temurin-21"}',
    )
    .optional(),
  scripts: z
    .strictObject(
      { build: script.optional(), test: script.optional() },
      'write a map such as {build: ["mvn -B package"]}',
    )
    .optional(),
  output: path('a folder that the build leaves, such as target').optional(),
  dockerfile: path('a path such as docker/Dockerfile').optional(),
  stage: text('the name of a stage of the Dockerfile', /^[A-Za-z0-9_.-]+$/).optional(),
  args: map(scalar, VARIABLES, variableProblem).optional(),
  image: text('a repository in the registry, such as blog/web', REPOSITORY).optional(),
  deploy: flag.optional(),
  timeout: duration('a time such as 15m').optional(),
  processes: map(mapOr(processObject, processWord), NAMES, processNameProblem).optional(),
  instances: instances.optional(),
  memory: memory.optional(),
  port: port.optional(),
  health: health.optional(),
  env: env.optional(),
  release: command.optional(),
  stop: stop.optional(),
  volumes: volumes.optional(),
  target: text('the name of a target, such as docker or systemd', /^(?=.{1,30}$)[a-z0-9]+(?:-[a-z0-9]+)*$/).optional(),
  hosts: z
    .array(text('the name of a host, or a label such as zone=a', HOST_OR_LABEL), 'write a list such as [web1, zone=b]')
    .optional(),
  fleet: fleet.optional(),
  domains: z
    .array(
      value('a host name such as www.example.org', HOST, (input) =>
        typeof input === 'string' ? findHostName(input) : undefined,
      ),
      'write a list of host names, such as [www.example.org]',
    )
    .optional(),
  keep: z
    .strictObject(
      Object.fromEntries(
        ['branch', 'commits', 'tags', 'days'].map((key) => [key, integer('a number from 0', 0, 1_000_000).optional()]),
      ),
      'write a map such as {branch: 2, days: 30}',
    )
    .optional(),
});

type Written = z.output<typeof manifestSchema>;

/** A file that is fetched from the web, and what it must be. */
export type Download = z.output<typeof download>;

/** What dinp.yml says; absent keys are undefined. */
export type Manifest = Omit<Written, 'artifact'> & {
  /** Path of the artifact in the commit. */
  artifact?: string | undefined;
  /** The artifact where it is not in the commit. */
  download?: Download | undefined;
};

/** Tells an artifact of the commit from one of the web. */
export function manifestOf({ artifact, ...written }: Written): Manifest {
  if (artifact === undefined) return written;
  return typeof artifact === 'string' ? { ...written, artifact } : { ...written, download: artifact };
}
