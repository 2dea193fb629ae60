import type { Command } from 'commander';
import { DinpError } from '../domain/errors.ts';
import { nearest, printable } from '../domain/names.ts';
import type { Token } from '../store/tokens.ts';
import type { Bind } from './bind.ts';
import type { Call } from './context.ts';
import { findApp } from './lookup.ts';
import { printRows } from './print.ts';
import { ago, iso, listed } from './text.ts';

const NAME = /^[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}$/;
const MILLISECONDS: Record<string, number> = { h: 3_600_000, d: 86_400_000, w: 7 * 86_400_000 };

export function defineTokens(program: Command, bind: Bind): void {
  const tokens = program.command('tokens').description('secrets that deploy one app over HTTP (admins)');
  tokens
    .command('list')
    .argument('[app]', 'all apps where none is given')
    .description('what tokens there are, without their secrets')
    .option('--json', 'print JSON: app, name, by, createdAt, expiresAt, usedAt')
    .action(bind(list, { admin: true }));
  tokens
    .command('create')
    .argument('<app>')
    .description('make a token and print it, once')
    .option('--name <name>', 'what it is for, such as ci', 'deploy')
    .option('--expires <time>', 'how long it is good for, such as 12h, 90d or 4w; for ever where none is given')
    .action(bind(create, { admin: true }));
  tokens
    .command('revoke')
    .argument('<app>')
    .argument('<name>')
    .description('make a token useless, at once')
    .action(bind(revoke, { admin: true }));
}

async function list(call: Call, name: string | undefined, options: { json?: boolean }): Promise<void> {
  const app = name === undefined ? undefined : findApp(call, name);
  await printRows(call, call.store.tokens.list(app?.id), {
    json: options.json,
    view: (token) => ({
      app: token.app,
      name: token.name,
      by: token.by,
      createdAt: iso(token.createdAt),
      expiresAt: iso(token.expiresAt),
      usedAt: iso(token.usedAt),
    }),
    columns: [
      { title: 'APP', value: (token) => token.app },
      { title: 'NAME', value: (token) => token.name, shrink: true },
      { title: 'BY', value: (token) => token.by, shrink: true },
      { title: 'MADE', value: (token) => ago(token.createdAt) },
      { title: 'EXPIRES', value: expiry },
      { title: 'USED', value: (token) => (token.usedAt === undefined ? 'never' : ago(token.usedAt)) },
    ],
    empty: `There are no tokens${app ? ` of ${app.name}` : ''}. To make one:\n  ${call.program} tokens create ${app?.name ?? 'APP'}`,
  });
}

function expiry({ expiresAt }: Token): string {
  if (expiresAt === undefined) return 'never';
  return expiresAt <= Date.now() ? 'is over' : (iso(expiresAt)?.slice(0, 10) ?? '');
}

async function create(call: Call, appName: string, options: { name: string; expires?: string }): Promise<void> {
  const app = findApp(call, appName);
  const { name } = options;
  if (!NAME.test(name)) {
    throw new DinpError('usage', `"${printable(name)}" cannot be the name of a token.`, {
      hint: 'Use letters, digits and . _ @ + -, at most 64 of them.',
    });
  }
  const expiresAt = options.expires === undefined ? undefined : Date.now() + parseLifetime(options.expires);
  if (call.store.tokens.find(app.id, name)) {
    throw new DinpError('exists', `${app.name} has a token "${name}" already.`, {
      hint: `Name this one with --name, or revoke that:  ${call.program} tokens revoke ${app.name} ${name}`,
    });
  }
  const { secret } = call.store.tokens.create({ appId: app.id, name, by: call.identity.name, expiresAt });
  await call.out.stdout(`${secret}\n`);
  const until = expiresAt === undefined ? 'for ever' : `until ${iso(expiresAt)?.slice(0, 10)}`;
  await call.out.stderr(`It deploys ${app.name}, ${until}. It is shown this once: keep it like a password.\n`);
}

/** Milliseconds of a lifetime such as `90d`. @throws DinpError usage */
function parseLifetime(text: string): number {
  const [, count, unit] = /^([1-9]\d{0,3})([hdw])$/.exec(text) ?? [];
  if (count !== undefined) return Number(count) * MILLISECONDS[unit!]!;
  throw new DinpError('usage', `"${printable(text)}" is no time that a token can be good for.`, {
    hint: 'Type it like 12h, 90d or 4w.',
  });
}

async function revoke(call: Call, appName: string, name: string): Promise<void> {
  const app = findApp(call, appName);
  const token = call.store.tokens.find(app.id, name);
  if (!token) {
    const names = call.store.tokens.list(app.id).map((each) => each.name);
    const near = nearest(name, names);
    throw new DinpError('not-found', `${app.name} has no token "${printable(name)}".`, {
      hint:
        near !== undefined
          ? `Did you mean ${near}?`
          : names.length === 0
            ? 'It has none at all.'
            : `It has ${listed(names)}.`,
    });
  }
  call.store.tokens.remove(token.id);
  await call.out.stdout(`Revoked the token "${token.name}" of ${app.name}.\n`);
}
