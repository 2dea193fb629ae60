import { z } from 'zod';
import { isProcessName, printable } from '../domain/names.ts';
import { DEFAULT_HEALTH, type HealthCheck } from '../domain/process.ts';
import { parseDuration, parseSize } from '../domain/quantities.ts';
import { parseCommand } from './command.ts';

/** The least that the Docker Engine gives a container. */
const MIN_MEMORY = 6 * 1024 * 1024;
const MAX_INSTANCES = 100;
const ENV_NAME = /^[A-Za-z_][A-Za-z0-9_]*$/;
const HOST_NAME = /^(?=.{1,253}$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$/;
const REPOSITORY = /^[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*$/;
const BASE_NAME = /^[a-z0-9]+(?:[._-][a-z0-9]+)*$/;
const CONTROL = /[\u0000-\u001f\u007f-\u009f]/;

/** Keys of dinp.yml that this version knows of and cannot honour yet. */
export const LATER_KEYS: Record<string, string> = {
  services: 'several services in one repository',
  builder: 'building in a container with the toolchain',
  scripts: 'building in a container with the toolchain',
  output: 'building in a container with the toolchain',
  git: 'sources from another repository',
  needs: 'images that need other images',
  on: 'deploying after other apps',
  hosts: 'choosing hosts',
  fleet: 'options for fleet',
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

/** A value that `parse` understands; anything else is answered with what was found and an example of what is right. */
function value<T>(example: string, parse: (value: unknown) => T | undefined) {
  return z.unknown().transform((input, context): T => {
    const parsed = parse(input);
    if (parsed !== undefined) return parsed;
    context.issues.push({ code: 'custom', input, message: `found ${show(input)}; write ${example}` });
    return z.NEVER;
  });
}

function text(example: string, accept: (text: string) => boolean) {
  return value(example, (input) =>
    typeof input === 'string' && !CONTROL.test(input) && accept(input) ? input : undefined,
  );
}

function integer(example: string, min: number, max: number) {
  return value(example, (input) =>
    Number.isInteger(input) && (input as number) >= min && (input as number) <= max ? (input as number) : undefined,
  );
}

const duration = (example: string) =>
  value(example, (input) => {
    const milliseconds = typeof input === 'string' ? parseDuration(input) : undefined;
    return milliseconds !== undefined && milliseconds > 0 && milliseconds <= 24 * 3_600_000 ? milliseconds : undefined;
  });

const memory = value('a size of at least 6M, such as 256M or 1G', (input) => {
  const bytes = typeof input === 'string' ? parseSize(input) : undefined;
  return bytes !== undefined && bytes >= MIN_MEMORY ? bytes : undefined;
});

/** A path inside the commit, without `./` in front and `/` behind. */
const path = (example: string) =>
  value(example, (input) => {
    if (typeof input !== 'string' || input === '' || input.startsWith('/') || CONTROL.test(input)) return undefined;
    const parts = input.split('/').filter((part) => part !== '' && part !== '.');
    return parts.includes('..') ? undefined : parts.join('/') || '.';
  });

/** argv: a list as it is, a string as a shell would understand it. */
const command = value('a command such as "./server --port 8080", or a list of its words', (input) => {
  if (typeof input === 'string') return input.trim() !== '' && !CONTROL.test(input) ? parseCommand(input) : undefined;
  if (!Array.isArray(input) || input.length === 0 || input[0] === '') return undefined;
  return input.every((word) => typeof word === 'string' && !word.includes('\0')) ? (input as string[]) : undefined;
});

const scalar = value('a text, a number, true or false', (input) =>
  ['string', 'number', 'boolean'].includes(typeof input) ? String(input) : undefined,
);

type Issues = z.core.ParsePayload['issues'];

/** A map of names of the writer's choosing. Names and values are all checked, whatever else is wrong. */
function map<T extends z.ZodType>(values: T, problem: (key: string, value: unknown) => string | undefined) {
  return z.unknown().transform((input, context): Record<string, z.output<T>> => {
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

const env = map(scalar, (name, entry) => {
  if (name === 'PORT') return 'PORT is set by dinp; write "port: 3000" instead';
  if (typeof entry === 'string' && CONTROL.test(entry)) {
    return 'holds a line break or control character; set it with "dinp config set", which takes any text';
  }
  return variableProblem(name);
});

const volumes = map(
  text(
    'an absolute path in the container, such as /data',
    (to) => /^\/[^/]/.test(to) && !/(^|\/)\.{1,2}(\/|$)|[:,]/.test(to),
  ),
  processNameProblem,
);

const port = value('auto, or a port such as 3000', (input) =>
  input === 'auto'
    ? ('auto' as const)
    : Number.isInteger(input) && (input as number) >= 1 && (input as number) <= 65535
      ? (input as number)
      : undefined,
);

const HEALTH_EXAMPLE = 'auto, none, a path such as /healthz, or {path: /healthz, interval: 5s}';
const urlPath = text('a path such as /healthz', (to) => to.startsWith('/') && !/\s/.test(to));

const healthObject = z
  .strictObject({
    path: urlPath.optional(),
    command: text('a shell command such as "pg_isready"', (line) => line.trim() !== '').optional(),
    tcp: value('true', (input) => (input === true ? true : undefined)).optional(),
    contains: text('a text that the answer must contain', (part) => part !== '').optional(),
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

const healthWord = value(HEALTH_EXAMPLE, (input): HealthCheck | undefined => {
  if (input === 'auto' || input === 'none') return { ...DEFAULT_HEALTH, kind: input };
  if (typeof input !== 'string' || !input.startsWith('/') || /\s/.test(input) || CONTROL.test(input)) return undefined;
  return { ...DEFAULT_HEALTH, kind: 'http', path: input };
});

/** Chosen by what the value is, so that a mistake inside a map is told by its own key. */
function mapOr<M extends z.ZodType, W extends z.ZodType>(maps: M, words: W) {
  return z.unknown().transform((input, context): z.output<M> | z.output<W> => {
    const result = (isMapping(input) ? maps : words).safeParse(input);
    if (result.success) return result.data as z.output<M> | z.output<W>;
    pushIssues(context.issues, result.error, []);
    return z.NEVER;
  });
}

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
const processWord = z.unknown().transform((input, context) => {
  if (input === null) return {};
  const result = command.safeParse(input);
  if (result.success) return { command: result.data };
  pushIssues(context.issues, result.error, []);
  return z.NEVER;
});

/** dinp.yml of one service, as MANIFEST has it; absent keys stay undefined. */
export const manifestSchema = z.strictObject({
  type: text('auto, dockerfile, binary, static or plain', (word) =>
    ['auto', 'dockerfile', 'binary', 'static', 'plain', 'war', 'jar', 'php', 'python', 'node'].includes(word),
  ).optional(),
  dir: path('a folder of the commit, such as server').optional(),
  context: path('a folder of the commit, such as .').optional(),
  watch: z.array(path('a path of the commit'), 'write a list of paths, such as [server, shared]').optional(),
  artifact: path('a path in the commit, such as dist/server').optional(),
  base: text('the name of a base, such as glibc', (name) => BASE_NAME.test(name)).optional(),
  root: path('a folder of the commit, such as public').optional(),
  dockerfile: path('a path such as docker/Dockerfile').optional(),
  stage: text('the name of a stage of the Dockerfile', (name) => /^[A-Za-z0-9_.-]+$/.test(name)).optional(),
  args: map(scalar, variableProblem).optional(),
  image: text('a repository in the registry, such as blog/web', (name) => REPOSITORY.test(name)).optional(),
  deploy: value('true or false', (input) => (typeof input === 'boolean' ? input : undefined)).optional(),
  timeout: duration('a time such as 15m').optional(),
  processes: map(mapOr(processObject, processWord), processNameProblem).optional(),
  instances: instances.optional(),
  memory: memory.optional(),
  port: port.optional(),
  health: health.optional(),
  env: env.optional(),
  release: command.optional(),
  stop: stop.optional(),
  volumes: volumes.optional(),
  target: text('the name of a target, such as docker or systemd', (name) => isProcessName(name)).optional(),
  domains: z
    .array(
      value('a host name such as www.example.org', (input) => {
        const name = typeof input === 'string' ? input.toLowerCase() : '';
        return HOST_NAME.test(name) ? name : undefined;
      }),
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

export type Manifest = z.output<typeof manifestSchema>;
