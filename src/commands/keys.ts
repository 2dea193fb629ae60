import { type Command, Option } from 'commander';
import { DinpError } from '../domain/errors.ts';
import type { Key, Role } from '../domain/identity.ts';
import { nearest, printable } from '../domain/names.ts';
import { GOOD_RSA_BITS, isKeyType, type PublicKey, parsePublicKeys } from '../domain/public-key.ts';
import type { Bind, Input } from './bind.ts';
import { NO_INPUT } from './bind.ts';
import type { Call } from './context.ts';
import { readInput } from './input.ts';
import { findApp } from './lookup.ts';
import { printJson, printRows } from './print.ts';
import { renderFields } from './table.ts';
import { ago, iso, listed } from './text.ts';

const MAX_INPUT = 256 * 1024;
const KEY_NAME = /^[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}$/;

interface AddOptions {
  role?: Role;
  app?: string[];
  file?: string;
}

export function defineKeys(program: Command, bind: Bind): void {
  const keys = program.command('keys').description('who may push and operate (admins)');
  keys
    .command('list')
    .description('all keys, their roles and fingerprints')
    .option('--json', 'print JSON: name, role, apps, fingerprint, type, createdAt')
    .action(bind(list, { admin: true }));
  keys
    .command('show')
    .argument('<key>', 'name or fingerprint')
    .description('one key with its public part')
    .option('--json', 'print JSON: the fields of list, and publicKey')
    .action(bind(show, { admin: true }));
  keys
    .command('add')
    .argument('[name-and-key...]', 'a name, a public key, both or none')
    .description('let a public key in; it is read from standard input unless it is given')
    .usage('[name] [options] < ~/.ssh/id_ed25519.pub')
    .option('--file <file>', 'read the key, or several, from this file')
    .addOption(
      new Option('--role <role>', 'admin: everything; deployer: the apps named').choices(['admin', 'deployer']),
    )
    .option('--app <app>', 'an app that the deployer may use; may be repeated', (app: string, all: string[] = []) => [
      ...all,
      app,
    ])
    .addHelpText(
      'after',
      '\nSeveral keys at once are one a line, as in authorized_keys; their comments become their names.' +
        '\nA deployer pushes to, reads and operates the apps named, but cannot create, rename or destroy them.',
    )
    .action(bind(add, { admin: true, input: addInput }));
  keys
    .command('grant')
    .argument('<key>', 'name or fingerprint of a deployer')
    .argument('<app...>')
    .description('let a deployer use more apps')
    .action(bind(grant, { admin: true }));
  keys
    .command('remove')
    .argument('<key>', 'name or fingerprint')
    .description('shut a key out')
    .option('--force', 'even the last key of an admin')
    .action(bind(remove, { admin: true }));
}

function view(key: Key): object {
  return {
    name: key.name,
    role: key.role,
    apps: key.apps,
    fingerprint: key.fingerprint,
    type: typeOf(key),
    createdAt: iso(key.createdAt),
  };
}

function typeOf(key: Key): string {
  return key.publicKey.split(' ')[0]!;
}

async function list(call: Call, options: { json?: boolean }): Promise<void> {
  await printRows(call, call.store.keys.list(), {
    json: options.json,
    view,
    columns: [
      { title: 'NAME', value: (key) => key.name, shrink: true },
      { title: 'ROLE', value: (key) => key.role },
      { title: 'APPS', value: (key) => (key.role === 'admin' ? 'all' : key.apps.join(',') || '-'), shrink: true },
      { title: 'FINGERPRINT', value: (key) => key.fingerprint },
      { title: 'ADDED', value: (key) => ago(key.createdAt) },
    ],
    empty: `There are no keys yet. Let the first one in:\n  ${call.program} keys add --role admin < ~/.ssh/id_ed25519.pub`,
  });
}

function findKey(call: Call, wanted: string): Key {
  const { keys } = call.store;
  const key = keys.find(wanted) ?? keys.findByFingerprint(wanted) ?? keys.findByFingerprint(`SHA256:${wanted}`);
  if (key) return key;
  const near = nearest(
    wanted,
    keys.list().map((each) => each.name),
  );
  throw new DinpError('not-found', `no key has the name or fingerprint "${printable(wanted)}".`, {
    hint: near === undefined ? `${call.program} keys list shows those there are.` : `Did you mean ${near}?`,
  });
}

async function show(call: Call, wanted: string, options: { json?: boolean }): Promise<void> {
  const key = findKey(call, wanted);
  if (options.json) return printJson(call, { ...view(key), publicKey: key.publicKey });
  await call.out.stdout(
    renderFields({
      Key: key.name,
      Role: key.role,
      Apps: key.role === 'admin' ? 'all' : key.apps.join(', ') || 'none',
      Fingerprint: key.fingerprint,
      'Public key': key.publicKey,
      Added: ago(key.createdAt),
    }),
  );
}

/** `[NAME] [TYPE BASE64 [COMMENT…]]`: a key on the command line may be one word or, without quotes, several. */
function splitWords(words: readonly string[]): { name: string | undefined; key: string | undefined } {
  const isKey = (text: string | undefined) => text !== undefined && isKeyType(text.trim().split(/\s+/)[0] ?? '');
  const rest = isKey(words[0]) ? words : words.slice(1);
  return { name: isKey(words[0]) ? undefined : words[0], key: rest.length === 0 ? undefined : rest.join(' ') };
}

function addInput(words: string[], options: AddOptions): Input {
  if (splitWords(words).key !== undefined) return NO_INPUT;
  if (options.file !== undefined && options.file !== '-') return { kind: 'file', path: options.file };
  return { kind: 'needed', what: 'the public key' };
}

async function add(call: Call, words: string[], options: AddOptions): Promise<void> {
  const { name, key } = splitWords(words);
  if (name !== undefined) checkName(call, name);
  const { role, apps } = readRole(call, options);
  const found = parsePublicKeys(key ?? (await readInput(call, 'the public key', MAX_INPUT)));
  const names = nameKeys(call, name, found);
  refuseKnown(call, found, names);
  call.store.transaction(() => {
    found.forEach((each, i) => {
      const { fingerprint, publicKey } = each;
      call.store.keys.add({ name: names[i]!, fingerprint, publicKey, role, apps });
    });
  });
  const as = role === 'admin' ? 'an admin' : `a deployer of ${listed(apps)}`;
  for (const [i, each] of found.entries()) {
    await call.out.stdout(`Added ${names[i]} as ${as}: ${each.fingerprint} (${each.type}, ${each.bits} bits).\n`);
    if (each.type === 'ssh-rsa' && each.bits < GOOD_RSA_BITS) {
      await call.out.stderr(
        `warning: ${names[i]} is an RSA key of ${each.bits} bits; an ed25519 key is safer and faster.\n`,
      );
    }
  }
}

function checkName(call: Call, name: string): void {
  if (KEY_NAME.test(name)) return;
  const file = /[/~\\]|\.pub$/.test(name);
  throw new DinpError('usage', `"${printable(name)}" cannot be the name of a key.`, {
    hint: file
      ? `To read the key from a file:  ${call.program} keys add < ${printable(name)}`
      : 'Use letters, digits and . _ @ + -, at most 64 of them.',
  });
}

function readRole(call: Call, options: AddOptions): { role: Role; apps: string[] } {
  const apps = [...new Set(options.app ?? [])].map((app) => findApp(call, app).name);
  if (options.role === 'admin' && apps.length > 0) {
    throw new DinpError('usage', 'an admin may use every app; --app is for deployers.', {
      hint: 'Leave out --app, or say --role deployer.',
    });
  }
  if (options.role === 'admin') return { role: 'admin', apps };
  if (apps.length > 0) return { role: 'deployer', apps };
  throw new DinpError(
    'usage',
    options.role === undefined ? 'say what the key may do.' : 'say which apps the deployer may use.',
    {
      hint:
        options.role === undefined
          ? '--role admin for everything, or --app APP for a deployer of that app.'
          : '--app APP, repeated for several apps.',
    },
  );
}

/** The name given, or one out of each comment. */
function nameKeys(call: Call, name: string | undefined, keys: PublicKey[]): string[] {
  if (name !== undefined && keys.length > 1) {
    throw new DinpError('usage', `${keys.length} keys came in, and one name for them.`, {
      hint: 'Leave the name out: the comments behind the keys become their names.',
    });
  }
  return keys.map((key, i) => {
    const fromComment = key.comment
      .replace(/[^A-Za-z0-9._@+-]+/g, '-')
      .replace(/^[^A-Za-z0-9]+/, '')
      .slice(0, 64)
      .replace(/-+$/, '');
    const chosen = name ?? fromComment;
    if (chosen !== '') return chosen;
    throw new DinpError(
      'usage',
      `${keys.length === 1 ? 'the key' : `key ${i + 1}`} has no comment to take a name from.`,
      {
        hint:
          keys.length === 1
            ? `Name it:  ${call.program} keys add NAME …`
            : 'Put a name behind each key, on the same line.',
      },
    );
  });
}

function refuseKnown(call: Call, keys: PublicKey[], names: string[]): void {
  const problems: string[] = [];
  keys.forEach((key, i) => {
    const stored = call.store.keys.findByFingerprint(key.fingerprint);
    const first = keys.findIndex((other) => other.fingerprint === key.fingerprint);
    if (stored) problems.push(`the key ${key.fingerprint} is there already, as ${stored.name} (${stored.role}).`);
    else if (first < i) problems.push(`the key ${key.fingerprint} came twice.`);
    else if (call.store.keys.find(names[i]!)) problems.push(`another key is called ${names[i]} already.`);
    else if (names.indexOf(names[i]!) < i) problems.push(`two keys would be called ${names[i]}.`);
  });
  if (problems.length === 0) return;
  throw new DinpError('exists', problems.join('\n'), {
    hint:
      keys.length > 1
        ? 'None of the keys was added. Take out or rename these, then try again.'
        : problems[0]!.startsWith('another')
          ? `Choose another name:  ${call.program} keys add NAME …`
          : `To change what it may do, remove it first, or:  ${call.program} keys grant KEY APP`,
  });
}

async function grant(call: Call, wanted: string, names: string[]): Promise<void> {
  const key = findKey(call, wanted);
  const apps = names.map((name) => findApp(call, name));
  if (key.role === 'admin') throw new DinpError('refused', `${key.name} is an admin and may use every app already.`);
  call.store.transaction(() => {
    for (const app of apps) call.store.keys.grant(key.id, app.id);
  });
  await call.out.stdout(`${key.name} is a deployer of ${listed(findKey(call, key.name).apps)}.\n`);
}

async function remove(call: Call, wanted: string, options: { force?: boolean }): Promise<void> {
  const key = findKey(call, wanted);
  const admins = call.store.keys.list().filter((each) => each.role === 'admin');
  if (key.role === 'admin' && admins.length === 1 && !options.force) {
    throw new DinpError(
      'refused',
      `${key.name} is the last key of an admin: nobody could operate the server over ssh any more.`,
      {
        hint: `If you mean it:  ${call.program} keys remove ${key.name} --force`,
      },
    );
  }
  call.store.keys.remove(key.id);
  await call.out.stdout(`Removed ${key.name} (${key.fingerprint}).\n`);
}
