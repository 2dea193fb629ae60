import { readFileSync } from 'node:fs';
import { isAbsolute, resolve } from 'node:path';
import { parse as parseYaml, YAMLParseError } from 'yaml';
import { z } from 'zod';
import { allowedHostProblem } from '../deploy/uploads/allowed-hosts.ts';
import { DinpError } from '../domain/errors.ts';
import { METADATA } from '../domain/fleet-options.ts';
import { DEFAULT_KEEP } from '../domain/keep.ts';
import { nearest } from '../domain/names.ts';
import { parseSize } from '../domain/quantities.ts';

const port = z.coerce.number().int().min(0).max(65535);
const PORT_RANGE = /^(\d{1,5})-(\d{1,5})$/;
const portRange = z.string().refine((text) => {
  const [, low, high] = PORT_RANGE.exec(text)?.map(Number) ?? [];
  return low !== undefined && high !== undefined && low > 0 && low <= high && high <= 65535;
}, 'must be two ports such as 22000-24999');
const DURATION = /^(\d+)(ms|s|m|h)$/;
const duration = z.string().regex(DURATION, 'must be a duration such as 30s, 15m or 1h');
const size = z.string().refine((text) => parseSize(text) !== undefined, 'must be a size such as 512M or 2G');
/** A list, in an environment variable or a flag with commas. */
const listed = (value: unknown) =>
  typeof value === 'string' ? value.split(',').filter((entry) => entry !== '') : value;
const metadata = z.preprocess(listed, z.array(z.string().regex(METADATA, 'must be key=value, such as zone=a')));
const hosts = z.preprocess(
  listed,
  z.array(
    z.string().check((entry) => {
      const message = allowedHostProblem(entry.value);
      if (message !== undefined) entry.issues.push({ code: 'custom', message, input: entry.value });
    }),
  ),
);
/** One address or several, in an environment variable or a flag with commas. */
const admins = z.preprocess(
  (value) => (typeof value === 'string' && value.includes(',') ? value.split(',') : value),
  z.union([z.string(), z.array(z.string()).min(1)]).check((given) => {
    const wrong = [given.value].flat().find((each) => each !== 'none' && !isAdminAddress(each));
    if (wrong === undefined && !(Array.isArray(given.value) && given.value.includes('none'))) return;
    const message = `${wrong ?? 'none in a list'} is no admin address: http://HOST:PORT or unix:/PATH, a list of them, or none`;
    given.issues.push({ code: 'custom', message, input: given.value });
  }),
);
const certificate = z.strictObject({ cert: z.string(), key: z.string() });
const listenAddress = (example: string) =>
  z.string().refine((text) => parseListen(text) !== undefined, `must be a host and a port such as ${example}`);
const managers = z.preprocess(
  (value) => (typeof value === 'string' ? value.split(',').filter((entry) => entry !== '') : value),
  z.array(
    z
      .string()
      .regex(
        /^(unix:\/\/\/\S+|[a-z0-9]+(?:[.-][a-z0-9]+)*)$/,
        'must be the name of a host (dinp hosts list) or unix:///PATH',
      ),
  ),
);
const flag = z.preprocess((value) => (value === 'true' ? true : value === 'false' ? false : value), z.boolean());
const count = z.coerce.number().int().min(0).max(1_000_000);
const auth = z.strictObject({ username: z.string(), password: z.string() });

/** The one schema of the server's config: file, environment and flags all end here, and the sample is made of it. */
const schema = z.strictObject({
  data: z.string().default('/var/lib/dinp').describe('folder of repositories, database, logs and the control socket'),
  address: z
    .string()
    .default('127.0.0.1')
    .describe('name or address of this machine as pushers and visitors reach it; printed in addresses'),
  domain: z
    .string()
    .optional()
    .describe('every app gets http://APP.DOMAIN; "localhost" works at once on your own machine'),
  target: z
    .enum(['docker', 'systemd', 'quadlet', 'hosts', 'fleet', 'swarm', 'kustomize', 'emit'])
    .default('docker')
    .describe(
      'what keeps instances running: docker, systemd, quadlet (Podman), hosts (over SSH), fleet, swarm, kustomize or emit (files only)',
    ),
  ssh: z
    .strictObject({
      host: z.string().default('0.0.0.0').describe('address to listen on'),
      port: port.default(2222).describe('port to listen on'),
      user: z
        .string()
        .regex(/^[a-z_][a-z0-9_-]*$/)
        .default('dinp')
        .describe('the only user name that is let in'),
      workers: z.coerce
        .number()
        .int()
        .min(1)
        .max(64)
        .optional()
        .describe('processes that serve connections; a few more than cores do no harm'),
    })
    .prefault({}),
  apps: z
    .strictObject({
      create: flag.default(true).describe('a first push to an unknown name creates the app'),
    })
    .prefault({}),
  docker: z
    .strictObject({
      socket: z.string().default('/var/run/docker.sock').describe('unix socket of the Docker Engine'),
    })
    .prefault({}),
  fleet: z
    .strictObject({
      endpoint: z
        .string()
        .optional()
        .describe(
          "fleet's API, such as unix:///var/run/fleet.sock or http://10.0.0.5:49153; the target fleet needs it",
        ),
      ca: z.string().optional().describe("file with the certificate authority of the API's TLS"),
      cert: z.string().optional().describe('file with the certificate that we show it'),
      key: z.string().optional().describe('file with the key of that certificate'),
      metadata: metadata.default([]).describe('key=value of the machines that may run instances; any where empty'),
      configInUnits: flag
        .default(false)
        .describe('config values may stand in units, readable for all who read the API or etcd'),
    })
    .prefault({}),
  swarm: z
    .strictObject({
      managers: managers
        .default([])
        .describe('managers of the target swarm: names of hosts, or unix:///PATH; docker.socket where none is named'),
    })
    .prefault({}),
  registry: z
    .strictObject({
      push: z.string().default('127.0.0.1:5000').describe('registry that images are pushed to, host:port'),
      pull: z.string().optional().describe('the same registry as hosts reach it, where that differs'),
      auth: auth.optional().describe('{username, password} where the registry asks for them'),
      ca: z.string().optional().describe('file with the certificate authority of its TLS, where it has its own'),
    })
    .prefault({}),
  bases: z
    .strictObject({
      file: z.string().optional().describe('your own catalogue of base images; the built-in one otherwise'),
      auto: flag.default(true).describe('build a missing base from Debian packages when a push needs it'),
      mirrors: z
        .record(z.string(), z.string())
        .optional()
        .describe('{docker.io: host/prefix}: where "bases sync" finds what a hub has'),
    })
    .prefault({}),
  router: z
    .strictObject({
      caddy: admins
        .default('http://127.0.0.1:2019')
        .describe('Caddy\'s admin address, or a list of several that are kept alike; "none" for no router'),
      listen: z.string().default(':80').describe('where Caddy serves APP.DOMAIN'),
      bind: z.string().default('0.0.0.0').describe("address of the apps' own stable ports"),
      tls: z
        .enum(['off', 'acme', 'internal', 'files'])
        .default('off')
        .describe("HTTPS for host names: acme (Let's Encrypt or ca), internal (Caddy's own authority), files, or off"),
      tlsListen: listenAddress(':443').default(':443').describe('where Caddy serves them by HTTPS'),
      email: z
        .email()
        .optional()
        .describe('of the ACME account, which is told of certificates that are about to expire'),
      ca: z.url().optional().describe('ACME directory of an authority of your own'),
      caRoot: z.string().optional().describe('file by which that directory is trusted, on the machine of Caddy'),
      certificates: z
        .array(certificate)
        .default([])
        .describe('[{cert: FILE, key: FILE}]: for the names that they hold, with any tls but off'),
    })
    .prefault({}),
  ports: z
    .strictObject({
      apps: portRange.default('21000-21999').describe('stable ports, one an app'),
      instances: portRange
        .default('22000-24999')
        .describe("ports of instances, on 127.0.0.1 or their host's address (of a swarm: on all of their node)"),
    })
    .prefault({}),
  builds: z
    .strictObject({
      on: z
        .enum(['local', 'hosts'])
        .default('local')
        .describe('where Dockerfiles are built: local (the engine here) or hosts (units on those labelled role=build)'),
      parallel: z.coerce.number().int().min(1).max(64).default(2).describe('builds of different apps at once'),
      timeout: duration.default('15m').describe('longest build, where dinp.yml says nothing'),
    })
    .prefault({}),
  uploads: z
    .strictObject({
      maxSize: size.default('1G').describe('largest artifact that is uploaded or downloaded'),
      timeout: duration.default('1h').describe('longest upload or download; one that stalls for a minute ends earlier'),
      allow: hosts
        .default([])
        .describe('hosts, *.domains and blocks (10.1.0.0/16) that artifacts may come from though they are not public'),
    })
    .prefault({}),
  web: z
    .strictObject({
      listen: z
        .string()
        .refine((text) => parseListen(text) !== undefined, 'must be a host and a port such as 127.0.0.1:2280')
        .optional()
        .describe('where HTTP uploads are taken, such as 127.0.0.1:2280; nowhere if not set'),
      uploads: z.coerce.number().int().min(1).max(64).default(4).describe('uploads over HTTP at once'),
    })
    .prefault({}),
  reconcile: z
    .strictObject({
      every: duration
        .refine((text) => parseConfigDuration(text) > 0, 'must be longer than 0')
        .default('60s')
        .describe('how often what runs and the routes are compared with what should be, and set right'),
    })
    .prefault({}),
  notify: z
    .strictObject({
      url: z
        .url({ protocol: /^https?$/, error: 'must be an http or https address' })
        .optional()
        .describe('webhook that is told of deploys, failing instances and hosts that do not answer (docs/webhook.md)'),
      secret: z.string().min(1).optional().describe('key of the HMAC-SHA256 in its X-Dinp-Signature header'),
      timeout: duration.default('10s').describe('longest answer; what was not taken is sent again later'),
    })
    .prefault({}),
  keep: z
    .strictObject({
      branch: count.default(DEFAULT_KEEP.branch).describe('images of how many newest commits of each branch stay'),
      commits: count.default(DEFAULT_KEEP.commits).describe('of how many newest commits and uploads of an app in all'),
      tags: count.default(DEFAULT_KEEP.tags).describe('of the commits of how many newest git tags'),
      days: count.default(DEFAULT_KEEP.days).describe('and everything younger; dinp.yml may say otherwise for its app'),
    })
    .prefault({}),
  log: z
    .strictObject({
      level: z
        .enum(['trace', 'debug', 'info', 'warn', 'error'])
        .default('info')
        .describe('what the operator log tells'),
    })
    .prefault({}),
});

export type ServerConfig = z.infer<typeof schema>;

/**
 * Reads the server's config: the file (YAML; may be absent when `file` is undefined), then `DINP_SSH_PORT`-like
 * variables, then `ssh.port=2222`-like settings, the later winning.
 * @throws DinpError config naming the key, what was found and the nearest key
 */
export function loadConfig(
  file: string | undefined,
  env: NodeJS.ProcessEnv = process.env,
  settings: string[] = [],
): ServerConfig {
  const values = file === undefined ? {} : readConfigFile(file);
  for (const [path, value] of [...environmentSettings(env), ...settings.map(parseSetting)]) assign(values, path, value);
  const result = schema.safeParse(values);
  if (!result.success) throw configError(file, result.error);
  const config = result.data;
  return isAbsolute(config.data) ? config : { ...config, data: resolve(config.data) };
}

/** `[low, high]` of a port range such as `22000-24999`. */
export function parsePortRange(text: string): [number, number] {
  const [, low, high] = PORT_RANGE.exec(text)!;
  return [Number(low), Number(high)];
}

/** Host and port of `127.0.0.1:2280`, `[::1]:2280` or `:2280`; undefined for anything else. */
export function parseListen(text: string): { host: string | undefined; port: number } | undefined {
  const [, bracketed, plain, port] = /^(?:\[([0-9a-fA-F:]+)\]|([^:[\]\s]*)):(\d{1,5})$/.exec(text) ?? [];
  if (port === undefined || Number(port) > 65535) return undefined;
  return { host: bracketed ?? (plain || undefined), port: Number(port) };
}

/** Caddy's admin addresses; none where there is no router. */
export function adminAddresses({ router }: Pick<ServerConfig, 'router'>): string[] {
  return [router.caddy].flat().filter((address) => address !== 'none');
}

function isAdminAddress(text: string): boolean {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol === 'unix:') return url.pathname.length > 1;
  return url?.protocol === 'http:' && url.hostname !== '' && url.pathname === '/';
}

/** Milliseconds of a duration such as `15m`. */
export function parseConfigDuration(text: string): number {
  const [, count, unit] = DURATION.exec(text)!;
  return Number(count) * { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 }[unit as 'ms' | 's' | 'm' | 'h'];
}

/** The annotated sample that the README shows: every key with its default. */
export function sampleConfig(): string {
  return renderSample(schema.shape, schema.parse({}) as Record<string, unknown>, '')
    .join('\n')
    .concat('\n');
}

function renderSample(shape: Record<string, z.ZodType>, values: Record<string, unknown>, indent: string): string[] {
  return Object.entries(shape).flatMap(([key, type]) => {
    const inner = unwrap(type);
    if (inner instanceof z.ZodObject && type.description === undefined) {
      return [
        `${indent}${key}:`,
        ...renderSample(
          inner.shape as Record<string, z.ZodType>,
          values[key] as Record<string, unknown>,
          `${indent}  `,
        ),
      ];
    }
    const value = values[key];
    const setting = value === undefined ? `# ${key}:` : `${key}: ${scalar(value)}`;
    return [`${`${indent}${setting}`.padEnd(34)} # ${type.description ?? ''}`];
  });
}

function scalar(value: unknown): string {
  if (Array.isArray(value)) return `[${value.join(', ')}]`;
  return typeof value === 'string' && /^[:"]|: /.test(value) ? JSON.stringify(value) : String(value);
}

function unwrap(type: z.ZodType): z.ZodType {
  return type instanceof z.ZodPrefault || type instanceof z.ZodDefault || type instanceof z.ZodOptional
    ? unwrap(type.unwrap() as z.ZodType)
    : type;
}

function readConfigFile(file: string): Record<string, unknown> {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (cause) {
    throw new DinpError('config', `the config file ${file} cannot be read: ${(cause as Error).message}.`, {
      hint: 'Name another with --config FILE.',
      cause,
    });
  }
  try {
    const values: unknown = parseYaml(text) ?? {};
    if (typeof values === 'object' && !Array.isArray(values)) return values as Record<string, unknown>;
  } catch (cause) {
    const line = cause instanceof YAMLParseError ? ` line ${cause.linePos?.[0].line}` : '';
    throw new DinpError('config', `${file}${line} is not valid YAML: ${(cause as Error).message.split('\n')[0]}`, {
      cause,
    });
  }
  throw new DinpError('config', `${file} must hold keys and values, such as "data: /var/lib/dinp".`);
}

/** `DINP_SSH_PORT=22` for `ssh.port`; only names of known keys count, so DINP_HOST and the like stay the CLI's own. */
function environmentSettings(env: NodeJS.ProcessEnv): [string[], string][] {
  return leafPaths(schema.shape).flatMap((path): [string[], string][] => {
    const value = env[`DINP_${path.join('_').toUpperCase()}`];
    return value === undefined ? [] : [[path, value]];
  });
}

function leafPaths(shape: Record<string, z.ZodType>): string[][] {
  return Object.entries(shape).flatMap(([key, type]) => {
    const inner = unwrap(type);
    return inner instanceof z.ZodObject
      ? leafPaths(inner.shape as Record<string, z.ZodType>).map((rest) => [key, ...rest])
      : [[key]];
  });
}

function parseSetting(setting: string): [string[], string] {
  const at = setting.indexOf('=');
  if (at < 1)
    throw new DinpError('usage', `--set takes KEY=VALUE, not "${setting}".`, {
      hint: 'For example --set ssh.port=2222',
    });
  return [setting.slice(0, at).split('.'), setting.slice(at + 1)];
}

function assign(values: Record<string, unknown>, path: string[], value: string): void {
  const [key, ...rest] = path as [string, ...string[]];
  if (rest.length === 0) {
    values[key] = value;
    return;
  }
  const inner = values[key];
  const next = typeof inner === 'object' && inner !== null ? (inner as Record<string, unknown>) : {};
  values[key] = next;
  assign(next, rest, value);
}

function configError(file: string | undefined, error: z.ZodError): DinpError {
  const lines = error.issues.flatMap((issue) => {
    const path = issue.path.join('.');
    if (issue.code !== 'unrecognized_keys') return [`${path}: ${issue.message}`];
    return issue.keys.map((key) => {
      const near = nearest(key, keysAt(issue.path));
      return `${[...issue.path, key].join('.')}: no such key${near ? `; did you mean ${near}?` : ''}`;
    });
  });
  return new DinpError('config', `the config${file ? ` ${file}` : ''} is wrong:\n  ${lines.join('\n  ')}`, {
    hint: 'The README lists every key.',
  });
}

function keysAt(path: PropertyKey[]): string[] {
  let type: z.ZodType = schema;
  for (const part of path) type = unwrap((unwrap(type) as z.ZodObject).shape[part as string] as z.ZodType);
  const inner = unwrap(type);
  return inner instanceof z.ZodObject ? Object.keys(inner.shape) : [];
}
