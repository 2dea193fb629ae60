import type { Command } from 'commander';
import type { App } from '../domain/app.ts';
import { DinpError } from '../domain/errors.ts';
import { nearest, printable } from '../domain/names.ts';
import { type Bind, type Input, NO_INPUT } from './bind.ts';
import type { Call } from './context.ts';
import { formatEnvFile, parseEnvFile } from './env-file.ts';
import { readInput } from './input.ts';
import { findApp, requireAdmin } from './lookup.ts';
import { printRows } from './print.ts';
import { withProgress } from './progress.ts';
import { counted, listed } from './text.ts';

const NAME = /^[A-Za-z_][A-Za-z0-9_]*$/;
const MAX_VALUE = 64 * 1024;
const MAX_INPUT = 1024 * 1024;
const MAX_NAME = 255;

interface SetOptions {
  file?: string;
}

export function defineConfig(program: Command, bind: Bind): void {
  const config = program.command('config').description('environment of an app: settings and secrets');
  config
    .command('list')
    .argument('<app>')
    .description('the names that are set; values are hidden')
    .option('--show', 'print the values, as a file that --file reads (admins)')
    .option('--json', 'print JSON: name, value (null where it is hidden)')
    .action(bind(list));
  config
    .command('set')
    .argument('<app>')
    .argument('[settings...]', 'NAME=VALUE; or NAME alone, whose value is read from standard input')
    .description('set values and release them')
    // Not --env-file: Node itself acts on that one wherever it stands.
    .option('--file <file>', 'read NAME=VALUE lines from this file; "-" for standard input')
    .addHelpText(
      'after',
      '\nA secret that is typed as NAME=VALUE is seen in the list of processes and in the history of the shell.' +
        '\nGiven on standard input it is not (one newline at the end is not part of it):' +
        '\n  config set blog DATABASE_URL < file' +
        '\nA change makes a new release of the image that runs.',
    )
    .action(bind(set, { input: setInput }));
  config
    .command('unset')
    .argument('<app>')
    .argument('<names...>')
    .description('remove values and release without them')
    .action(bind(unset));
}

async function list(call: Call, name: string, options: { show?: boolean; json?: boolean }): Promise<void> {
  const app = findApp(call, name);
  if (options.show) requireAdmin(call);
  const values = call.store.config.get(app.id);
  if (options.show && !options.json) return call.out.stdout(formatEnvFile(values));
  await printRows(call, Object.keys(values), {
    json: options.json,
    view: (each) => ({ name: each, value: options.show ? values[each] : null }),
    columns: [
      { title: 'NAME', value: (each) => each },
      { title: 'VALUE', value: () => '(hidden)' },
    ],
    empty: `${app.name} has no config. Set some:\n  ${call.program} config set ${app.name} NAME=VALUE`,
  });
}

/** A setting as it was typed: `NAME=VALUE`, or NAME (or `NAME=-`) whose value comes on standard input. */
function splitSetting(setting: string): { name: string; value: string | undefined } {
  const at = setting.indexOf('=');
  if (at === -1) return { name: setting, value: undefined };
  const value = setting.slice(at + 1);
  return { name: setting.slice(0, at), value: value === '-' ? undefined : value };
}

function setInput(_app: string, settings: string[], options: SetOptions): Input {
  if (options.file !== undefined && options.file !== '-') return { kind: 'file', path: options.file };
  if (options.file === '-') return { kind: 'needed', what: 'NAME=VALUE lines' };
  const secret = settings.map(splitSetting).find((setting) => setting.value === undefined);
  return secret === undefined ? NO_INPUT : { kind: 'needed', what: `the value of ${printable(secret.name)}` };
}

async function set(call: Call, name: string, settings: string[], options: SetOptions): Promise<void> {
  const app = findApp(call, name);
  const pairs = settings.map(splitSetting);
  for (const pair of pairs) checkName(call, app, pair.name);
  const open = pairs.filter((pair) => pair.value === undefined);
  if (open.length > 1 || (open.length === 1 && options.file !== undefined)) {
    throw new DinpError('usage', 'standard input holds one value, and more than one is asked of it.', {
      hint: `Several at once:  ${call.program} config set ${app.name} --file - < file`,
    });
  }
  const values = new Map<string, string>();
  const all = [...(await fromFile(call, options)), ...(await withInput(call, pairs))];
  if (all.length === 0) throw nothingToSet(call, app);
  for (const [each, value] of all) {
    checkName(call, app, each);
    checkValue(each, value);
    if (values.has(each)) throw new DinpError('usage', `${each} is given twice.`);
    values.set(each, value);
  }
  await change(call, app, Object.fromEntries(values));
}

async function fromFile(call: Call, options: SetOptions): Promise<[string, string][]> {
  return options.file === undefined ? [] : parseEnvFile(await readInput(call, 'the file', MAX_INPUT));
}

async function withInput(
  call: Call,
  pairs: { name: string; value: string | undefined }[],
): Promise<[string, string][]> {
  const result: [string, string][] = [];
  for (const { name, value } of pairs) {
    const read = async () => (await readInput(call, `the value of ${name}`, MAX_VALUE + 1)).replace(/\r?\n$/, '');
    result.push([name, value ?? (await read())]);
  }
  return result;
}

function nothingToSet(call: Call, app: App): DinpError {
  return new DinpError('usage', 'nothing to set.', {
    hint: `${call.program} config set ${app.name} NAME=VALUE`,
  });
}

function checkName(call: Call, app: App, name: string): void {
  if (!NAME.test(name) || name.length > MAX_NAME) {
    throw new DinpError('usage', `"${printable(name.slice(0, 64))}" cannot be the name of a setting.`, {
      hint: `Names have letters, digits and underscores, such as DATABASE_URL:  ${call.program} config set ${app.name} NAME=VALUE`,
    });
  }
  if (name === 'PORT') {
    throw new DinpError('usage', 'PORT is given to every process by the server: the port that it must listen on.', {
      hint: 'To choose it, set "port" of the process in dinp.yml.',
    });
  }
}

function checkValue(name: string, value: string): void {
  const bytes = Buffer.byteLength(value);
  if (bytes > MAX_VALUE) {
    throw new DinpError('usage', `the value of ${name} has ${bytes} bytes; at most ${MAX_VALUE} are allowed.`, {
      hint: 'Put large data into a file of the repository or into a volume.',
    });
  }
  if (value.includes('\0')) {
    throw new DinpError('usage', `the value of ${name} holds a NUL byte, which no environment can.`);
  }
}

async function unset(call: Call, name: string, names: string[]): Promise<void> {
  const app = findApp(call, name);
  const known = Object.keys(call.store.config.get(app.id));
  for (const each of names) {
    if (known.includes(each)) continue;
    const near = nearest(each, known);
    throw new DinpError('not-found', `${printable(each)} is not set in ${app.name}.`, {
      hint: near === undefined ? `${call.program} config list ${app.name} shows what is.` : `Did you mean ${near}?`,
    });
  }
  await change(call, app, Object.fromEntries(names.map((each) => [each, undefined])));
}

async function change(call: Call, app: App, values: Record<string, string | undefined>): Promise<void> {
  const before = call.store.config.get(app.id);
  const changed = Object.keys(values).filter((name) => before[name] !== values[name]);
  // Asked for in any case: values that are stored may not have been released, where that failed.
  const release = await withProgress(call, (progress) =>
    call.operations.changeConfig(app, values, call.identity, progress, call.out.signal),
  );
  if (changed.length === 0) {
    const names = listed(Object.keys(values));
    const text =
      release === undefined
        ? `Nothing changed: ${names} had that value already.`
        : `${names} had that value already, which was not released yet; released as v${release.number}.`;
    await call.out.stdout(`${text}\n`);
    return;
  }
  const what = changed.length > 5 ? counted(changed.length, 'setting') : listed(changed);
  const when = release === undefined ? 'the next release has it' : `released as v${release.number}`;
  await call.out.stdout(`Changed ${what}; ${when}.\n`);
}
