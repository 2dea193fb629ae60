import type { App } from '../domain/app.ts';
import { type Build, isFinished } from '../domain/build.ts';
import { DinpError } from '../domain/errors.ts';
import { type Identity, mayUse } from '../domain/identity.ts';
import { nearest, printable } from '../domain/names.ts';
import type { Release } from '../domain/release.ts';
import type { Call } from './context.ts';
import { counted, gitRemote, listed, retypedLine, shellLine } from './text.ts';

/** `alice, an admin`, `bob, a deployer of blog and shop`. */
export function describeIdentity(identity: Identity): string {
  if (identity.role === 'admin') return `${identity.name}, an admin`;
  return `${identity.name}, a deployer of ${identity.apps.length === 0 ? 'no app yet' : listed(identity.apps)}`;
}

/** @throws DinpError denied, naming who may */
export function requireAdmin(call: Call): void {
  if (call.identity.role === 'admin') return;
  throw new DinpError('denied', `only admins may do that; you are ${describeIdentity(call.identity)}.`, {
    hint: askAdmin(call),
  });
}

function askAdmin(call: Call, command?: string): string {
  const admins = call.store.keys.list().filter((key) => key.role === 'admin');
  const names = admins.slice(0, 5).map((key) => key.name);
  const who =
    names.length === 0
      ? 'the operator of the server'
      : `an admin (${names.join(', ')}${admins.length > 5 ? ', …' : ''})`;
  return `Ask ${who}${command === undefined ? '.' : ` to type:  ${command}`}`;
}

/** The command that was typed, with one word of it put right. */
export function retyped(call: Call, word: string, better: string): string {
  const at = call.argv.indexOf(word);
  return `${call.program} ${retypedLine(call.argv.map((each, i) => (i === at ? better : each)))}`;
}

/** Apps that the caller may use, by name. */
export function usableApps(call: Call): App[] {
  return call.store.apps.list().filter((app) => mayUse(call.identity, app.name));
}

/**
 * The app of that name, which the caller may use.
 * @throws DinpError not-found; denied for deployers, who do not learn whether an app of others exists
 */
export function findApp(call: Call, name: string): App {
  if (!mayUse(call.identity, name)) throw notYours(call, name);
  const app = call.store.apps.find(name);
  if (app) return app;
  const names = usableApps(call).map((each) => each.name);
  const near = nearest(name, names);
  const hint =
    near !== undefined
      ? `Did you mean:  ${retyped(call, name, near)}`
      : names.length === 0
        ? `There are no apps yet. The first push makes one:  git push ${gitRemote(call.server, 'APP')} HEAD:main`
        : `${call.program} apps list shows the ${counted(names.length, 'app')} there ${names.length === 1 ? 'is' : 'are'}.`;
  throw new DinpError('not-found', `no app is called "${printable(name)}".`, { hint });
}

function notYours(call: Call, name: string): DinpError {
  const near = nearest(name, call.identity.apps);
  return new DinpError(
    'denied',
    `"${printable(name)}" is no app of yours; you are ${describeIdentity(call.identity)}.`,
    {
      hint:
        near !== undefined
          ? `Did you mean:  ${retyped(call, name, near)}`
          : askAdmin(call, `dinp keys grant ${shellLine([call.identity.name, name])}`),
    },
  );
}

/** A number of a build or release as people type it: `3`, `v3`, `#3`. @throws DinpError usage */
export function parseNumber(text: string, what: 'build' | 'release'): number {
  const digits = /^[v#]?(\d{1,9})$/.exec(text)?.[1];
  if (digits !== undefined && Number(digits) > 0) return Number(digits);
  throw new DinpError('usage', `"${printable(text)}" is no number of a ${what}.`, {
    hint: what === 'release' ? 'Type it like 3 or v3.' : 'Type it like 3.',
  });
}

/** The build of that number, or the newest. @throws DinpError not-found */
export function findBuild(call: Call, app: App, number: string | undefined): Build {
  const build =
    number === undefined
      ? call.store.builds.findLatest(app.id)
      : call.store.builds.find(app.id, parseNumber(number, 'build'));
  if (build) return build;
  if (number === undefined)
    throw new DinpError('not-found', `${app.name} has no builds yet.`, { hint: howToPush(call, app) });
  throw new DinpError('not-found', `${app.name} has no build ${parseNumber(number, 'build')}.`, {
    hint: `${call.program} builds list ${app.name} shows those there are.`,
  });
}

/** Waiting and running builds of the app, oldest first. */
export function unfinishedBuilds(call: Call, app: App): Build[] {
  return call.store.builds.listUnfinished().filter((build) => build.appId === app.id && !isFinished(build.state));
}

/** The release of that number, or the live one. @throws DinpError not-found */
export function findRelease(call: Call, app: App, number: string | undefined): Release {
  const wanted = number === undefined ? app.liveRelease : parseNumber(number, 'release');
  const release = wanted === undefined ? undefined : call.store.releases.find(app.id, wanted);
  if (release) return release;
  if (wanted === undefined) throw noRelease(call, app);
  throw new DinpError('not-found', `${app.name} has no release v${wanted}.`, {
    hint: `${call.program} releases list ${app.name} shows those there are.`,
  });
}

/** Nothing was ever live. */
export function noRelease(call: Call, app: App): DinpError {
  return new DinpError('not-found', `${app.name} has no live release yet.`, { hint: howToPush(call, app) });
}

/** The lines that deploy an app for the first time. */
export function howToPush(call: Call, app: App): string {
  return `Push to it:\n  git remote add dinp ${gitRemote(call.server, app.name)}\n  git push dinp ${app.deployBranch ?? 'HEAD:main'}`;
}

/** A process of the live release by name. @throws DinpError not-found with the nearest name */
export function findProcess(call: Call, app: App, name: string): string {
  const names = app.liveRelease === undefined ? [] : Object.keys(call.operations.formation(app));
  if (names.includes(name)) return name;
  if (app.liveRelease === undefined) throw noRelease(call, app);
  const near = nearest(name, names);
  throw new DinpError('not-found', `${app.name} has no process "${printable(name)}".`, {
    hint: near === undefined ? `It has ${listed(names)}.` : `Did you mean ${near}?`,
  });
}
