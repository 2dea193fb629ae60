import { DinpError } from '../domain/errors.ts';
import { isProcessName, nearest, printable } from '../domain/names.ts';
import { DEFAULT_HEALTH, type HealthCheck } from '../domain/process.ts';
import { objectIn } from './blobs.ts';

/** What app.json says of how an app runs. */
export interface AppJson {
  /** How many instances of each process. */
  instances: Map<string, number>;
  /** Checks before a process gets traffic, by process. */
  health: Map<string, HealthCheck>;
  /** Variables with their values. */
  env: Record<string, string>;
  notes: string[];
}

/** Keys of Heroku's schema and of Dokku's, which took it over, that mean nothing here. */
const IGNORED = new Set(
  '$schema name description keywords website repository logo success_url image stack buildpacks addons environments scripts cron'.split(
    ' ',
  ),
);
/** Keys of other tools that read a file of this name (Expo, React Native): then it is not meant for us. */
const FOREIGN = ['expo', 'displayName'];
const KEYS = [...IGNORED, 'env', 'formation', 'healthchecks'];
const ENV_KEYS = ['description', 'value', 'required', 'generator', 'sync'];
const FORMATION_KEYS = ['quantity', 'size', 'command', 'max_parallel', 'autoscaling', 'service'];
const CHECK_KEYS =
  'type name description path port attempts initialDelay timeout wait content httpHeaders scheme uptime listening warn command onFailure'.split(
    ' ',
  );
const MAX_INSTANCES = 100;
const ENV_NAME = /^[A-Za-z_][A-Za-z0-9_]*$/;

/**
 * Reads app.json: `env` and `formation` as Heroku has them, `healthchecks` as Dokku has them. What else these two know is
 * left out with a note.
 * @returns undefined where the file is another tool's of the same name
 * @throws DinpError refused, naming every wrong key by its path
 */
export function parseAppJson(text: string): AppJson | undefined {
  const json = objectOf(text);
  if (isForeign(json)) return undefined;
  const reader = new Reader();
  reader.known(json, KEYS, '');
  const read: AppJson = {
    instances: readFormation(reader, json.formation),
    health: readChecks(reader, json.healthchecks),
    env: readEnv(reader, json.env),
    notes: [],
  };
  reader.throwAny();
  const ignored = Object.keys(json).filter(
    (key) => IGNORED.has(key) && !['$schema', 'name', 'description'].includes(key),
  );
  const taken = (['healthchecks', 'formation', 'env'] as const).filter((key) => json[key] !== undefined);
  if (taken.length > 0) read.notes.push(`app.json gives ${taken.join(', ')}; what dinp.yml says wins.`);
  if (ignored.length > 0) read.notes.push(`app.json: ${ignored.join(', ')} not used here.`);
  read.notes.push(...reader.notes);
  return read;
}

function isForeign(json: Record<string, unknown>): boolean {
  const keys = Object.keys(json);
  if (FOREIGN.some((key) => keys.includes(key))) return true;
  return keys.length > 0 && keys.every((key) => !KEYS.includes(key) && nearest(key, KEYS) === undefined);
}

function objectOf(text: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(text.replace(/^\ufeff/, ''));
  } catch (error) {
    throw new DinpError('refused', `app.json is no JSON: ${printable((error as Error).message)}.`, {
      hint: 'Correct it, or remove it: dinp reads env, formation and healthchecks from it.',
      cause: error,
    });
  }
  const object = objectIn(value);
  if (object !== undefined) return object;
  throw new DinpError('refused', 'app.json holds no object.', { hint: 'Write {} around its keys, or remove it.' });
}

/** Gathers mistakes by path, so that they are told all at once. */
class Reader {
  readonly notes: string[] = [];
  readonly #mistakes: string[] = [];

  wrong(path: string, problem: string): void {
    this.#mistakes.push(`${printable(path)}: ${problem}`);
  }

  known(object: Record<string, unknown>, keys: readonly string[], path: string): void {
    for (const key of Object.keys(object)) {
      if (keys.includes(key)) continue;
      const near = nearest(key, keys);
      const known = `known are ${keys.join(', ')}`;
      this.wrong(at(path, key), `there is no such key; ${near === undefined ? known : `did you mean ${near}?`}`);
    }
  }

  object(value: unknown, path: string, example: string): Record<string, unknown> {
    const object = value === undefined ? {} : objectIn(value);
    if (object === undefined) this.wrong(path, `write ${example}`);
    return object ?? {};
  }

  number(value: unknown, path: string, least: number, most: number): number | undefined {
    if (value === undefined) return undefined;
    if (Number.isInteger(value) && (value as number) >= least && (value as number) <= most) return value as number;
    this.wrong(path, `write a number from ${least} to ${most}`);
    return undefined;
  }

  text(value: unknown, path: string, example: string, accept: (text: string) => boolean): string | undefined {
    if (value === undefined) return undefined;
    if (typeof value === 'string' && accept(value) && !/[\u0000-\u001f\u007f]/.test(value)) return value;
    this.wrong(path, `write ${example}`);
    return undefined;
  }

  processName(name: string, path: string): void {
    if (!isProcessName(name)) this.wrong(path, 'a process name has lower-case letters, digits and single hyphens');
  }

  throwAny(): void {
    if (this.#mistakes.length === 0) return;
    const count = this.#mistakes.length;
    throw new DinpError('refused', count === 1 ? 'app.json has a mistake:' : `app.json has ${count} mistakes:`, {
      detail: this.#mistakes.slice(0, 20).join('\n'),
      hint: 'Correct it, commit and push again. dinp reads env, formation and healthchecks of app.json.',
    });
  }
}

function at(path: string, key: string): string {
  return path === '' ? key : `${path}.${key}`;
}

function readFormation(reader: Reader, value: unknown): Map<string, number> {
  const instances = new Map<string, number>();
  const formation = reader.object(value, 'formation', 'a map such as {"web": {"quantity": 2}}');
  for (const [name, settings] of Object.entries(formation)) {
    const path = at('formation', name);
    reader.processName(name, path);
    const object = reader.object(settings, path, 'a map such as {"quantity": 2}');
    reader.known(object, FORMATION_KEYS, path);
    const quantity = reader.number(object.quantity, at(path, 'quantity'), 0, MAX_INSTANCES);
    if (quantity !== undefined) instances.set(name, quantity);
    const unused = Object.keys(object).filter((key) => FORMATION_KEYS.includes(key) && key !== 'quantity');
    if (unused.length > 0) reader.notes.push(`app.json: ${path} has ${unused.join(', ')}, not used here.`);
  }
  return instances;
}

/** Heroku's env: a value, or a map with one. Secrets and required variables have theirs in the server's config. */
function readEnv(reader: Reader, value: unknown): Record<string, string> {
  const env: [string, string][] = [];
  const needed: string[] = [];
  for (const [name, entry] of Object.entries(reader.object(value, 'env', 'a map such as {"LEVEL": "info"}'))) {
    const path = at('env', name);
    if (!ENV_NAME.test(name)) reader.wrong(path, 'a variable has letters, digits and _, and begins with no digit');
    if (name === 'PORT') {
      reader.notes.push('app.json: env.PORT is left out; dinp sets PORT.');
      continue;
    }
    const settings = typeof entry === 'string' ? { value: entry } : reader.object(entry, path, 'a text, or a map');
    reader.known(settings, ENV_KEYS, path);
    const given = reader.text(settings.value, at(path, 'value'), 'a text of one line', () => true);
    if (settings.generator !== undefined && settings.generator !== 'secret')
      reader.wrong(at(path, 'generator'), 'write "secret"');
    if (settings.required !== undefined && typeof settings.required !== 'boolean')
      reader.wrong(at(path, 'required'), 'write true or false');
    if (given !== undefined) env.push([name, given]);
    // Heroku's variables are required unless they say that they are not.
    else if (settings.generator === 'secret') needed.push(`${name}=$(openssl rand -hex 32)`);
    else if (settings.required !== false) needed.push(`${name}=VALUE`);
  }
  if (needed.length > 0) {
    const names = needed.map((pair) => pair.replace(/=.*/, '')).join(', ');
    reader.notes.push(`app.json asks for ${names}; unless set already: dinp config set ${needed.join(' ')}`);
  }
  return Object.fromEntries(env);
}

function readChecks(reader: Reader, value: unknown): Map<string, HealthCheck> {
  const health = new Map<string, HealthCheck>();
  const checks = reader.object(value, 'healthchecks', 'a map such as {"web": [{"path": "/up"}]}');
  for (const [name, list] of Object.entries(checks)) {
    const path = at('healthchecks', name);
    reader.processName(name, path);
    if (!Array.isArray(list)) {
      reader.wrong(path, 'write a list such as [{"type": "startup", "path": "/up"}]');
      continue;
    }
    const found = list.flatMap((check, i) => readCheck(reader, check, `${path}[${i}]`) ?? []);
    const starting = found.filter(({ type }) => type === 'startup');
    // Only one check is made here: that of the start, before traffic comes; else the one that comes first.
    const chosen = starting[0] ?? found[0];
    if (chosen !== undefined) health.set(name, chosen.check);
    if (found.length > 1) reader.notes.push(`app.json: of the ${found.length} checks of ${name} one is used.`);
  }
  return health;
}

/** One of Dokku's checks; its times are seconds. */
function readCheck(reader: Reader, value: unknown, path: string): { type: string; check: HealthCheck } | undefined {
  const object = reader.object(value, path, 'a map such as {"type": "startup", "path": "/up"}');
  reader.known(object, CHECK_KEYS, path);
  const number = (key: string, least: number, most: number) => reader.number(object[key], at(path, key), least, most);
  const types = ['startup', 'readiness', 'liveness'];
  const type =
    reader.text(object.type, at(path, 'type'), types.join(', '), (word) => types.includes(word)) ?? 'startup';
  const url = reader.text(
    object.path,
    at(path, 'path'),
    'a path such as /up',
    (to) => to.startsWith('/') && !/\s/.test(to),
  );
  const content = reader.text(object.content, at(path, 'content'), 'a text of the answer', (part) => part !== '');
  const command = commandOf(reader, object.command, at(path, 'command'));
  const [attempts, wait, timeout] = [number('attempts', 1, 100), number('wait', 0, 3600), number('timeout', 1, 3600)];
  const [delay, uptime] = [number('initialDelay', 0, 3600), number('uptime', 0, 3600)];
  const unused = ['port', 'httpHeaders', 'scheme', 'warn', 'onFailure'].filter((key) => object[key] !== undefined);
  if (unused.length > 0) reader.notes.push(`app.json: ${path} has ${unused.join(', ')}, not used here.`);
  const kind =
    command !== undefined
      ? 'command'
      : url !== undefined || content !== undefined
        ? 'http'
        : object.listening === true
          ? 'tcp'
          : 'auto';
  const intervalMs = wait === undefined ? DEFAULT_HEALTH.intervalMs : Math.max(1, wait) * 1000;
  const retries = attempts ?? DEFAULT_HEALTH.retries;
  const check: HealthCheck = {
    kind,
    ...(kind === 'http' ? { path: url ?? '/' } : {}),
    ...(kind === 'http' && content !== undefined ? { contains: content } : {}),
    ...(command === undefined ? {} : { command }),
    intervalMs,
    timeoutMs: timeout === undefined ? DEFAULT_HEALTH.timeoutMs : timeout * 1000,
    retries,
    startMs: Math.max(DEFAULT_HEALTH.startMs, (delay ?? 0) * 1000 + retries * intervalMs, (uptime ?? 0) * 1000),
  };
  return { type, check };
}

/** A list of words as a shell line, each word as it is. */
function commandOf(reader: Reader, value: unknown, path: string): string | undefined {
  if (value === undefined) return undefined;
  const words = typeof value === 'string' ? [value] : value;
  if (Array.isArray(words) && words.length > 0 && words.every((word) => typeof word === 'string' && word !== '')) {
    return words.length === 1 ? words[0] : words.map((word) => `'${word.replaceAll("'", "'\\''")}'`).join(' ');
  }
  reader.wrong(path, 'write a command, or a list of its words');
  return undefined;
}
