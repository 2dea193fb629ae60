import { type Command, Option } from 'commander';
import type { App } from '../domain/app.ts';
import { DinpError } from '../domain/errors.ts';
import { nearest, parseAppName, printable } from '../domain/names.ts';
import { shortSource } from '../domain/source.ts';
import type { Bind } from './bind.ts';
import type { Call } from './context.ts';
import { findApp, findRelease, howToPush, unfinishedBuilds, usableApps } from './lookup.ts';
import { printJson, printRows } from './print.ts';
import { withProgress } from './progress.ts';
import { renderFields } from './table.ts';
import { ago, counted, gitRemote, iso, listed } from './text.ts';

interface Json {
  json?: boolean;
}

export function defineApps(program: Command, bind: Bind): void {
  const apps = program.command('apps').description('the apps of this server');
  apps
    .command('list')
    .description('your apps; all of them for admins')
    .option('--json', 'print JSON: name, state, release, deployBranch, deploys, target, addresses, createdAt')
    .action(bind(list));
  apps
    .command('info')
    .argument('<app>')
    .description('one app: addresses, git remote, branches, live release, processes')
    .option('--json', 'print JSON: the fields of list, and remote, branches, formation')
    .action(bind(info));
  apps
    .command('create')
    .argument('<app>')
    .description('make an app, ready for its first push (admins)')
    .action(bind(create, { admin: true }));
  apps
    .command('rename')
    .argument('<app>')
    .argument('<name>')
    .description('give an app another name; its address and git remote change with it (admins)')
    .action(bind(rename, { admin: true }));
  apps
    .command('set')
    .argument('<app>')
    .description('change how an app deploys (admins)')
    .option('--branch <branch>', 'pushes to this branch deploy')
    .addOption(new Option('--deploys <on|off>', 'off: pushes are stored, nothing is built').choices(['on', 'off']))
    .option('--target <target>', 'what runs the next releases; "default" for the server\'s own choice')
    .action(bind(set, { admin: true }));
  apps
    .command('destroy')
    .argument('<app>')
    .description('stop an app and remove it with its repository, releases and config (admins)')
    .option('--confirm <name>', 'the name of the app once more')
    .option('--volumes', 'remove the data in its volumes as well')
    .action(bind(destroy, { admin: true }));
}

function stateOf(app: App): string {
  if (app.liveRelease === undefined) return 'no release yet';
  return app.stopped ? 'stopped' : 'live';
}

function view(call: Call, app: App): object {
  return {
    name: app.name,
    state: stateOf(app),
    release: app.liveRelease ?? null,
    deployBranch: app.deployBranch ?? null,
    deploys: app.deploys,
    target: app.target ?? call.server.target,
    addresses: call.operations.addresses(app),
    createdAt: iso(app.createdAt),
  };
}

async function list(call: Call, options: Json): Promise<void> {
  const remote = gitRemote(call.server, 'APP');
  await printRows(call, usableApps(call), {
    json: options.json,
    view: (app) => view(call, app),
    columns: [
      { title: 'APP', value: (app) => app.name },
      { title: 'RELEASE', value: (app) => (app.liveRelease === undefined ? '-' : `v${app.liveRelease}`) },
      { title: 'STATE', value: stateOf },
      { title: 'BRANCH', value: (app) => app.deployBranch ?? '-', shrink: true },
      { title: 'ADDRESS', value: (app) => call.operations.addresses(app)[0] ?? '-' },
    ],
    empty:
      call.identity.role === 'admin'
        ? `There are no apps yet. Push one:\n  git remote add dinp ${remote}\n  git push dinp HEAD:main`
        : 'You have no apps yet.',
  });
}

async function info(call: Call, name: string, options: Json): Promise<void> {
  const app = findApp(call, name);
  const remote = gitRemote(call.server, app.name);
  const branches = await call.repositories.branches(app);
  const formation = app.liveRelease === undefined ? {} : call.operations.formation(app);
  if (options.json) return printJson(call, { ...view(call, app), remote, branches, formation });
  await call.out.stdout(
    renderFields({
      App: app.name,
      Address: call.operations.addresses(app),
      Domains: app.liveRelease === undefined ? call.domains.list(app).map((domain) => domain.name) : undefined,
      'Git remote': remote,
      State: stateOf(app),
      'Live release': app.liveRelease === undefined ? undefined : describeLive(call, app),
      Building: unfinishedBuilds(call, app).map(
        (build) => `build ${build.number} of ${shortSource(build.source)}, ${build.state}`,
      ),
      Processes:
        Object.entries(formation)
          .map(([process, instances]) => `${process} ${instances}`)
          .join(', ') || undefined,
      'Deploy branch': app.deployBranch ?? 'the first one that is pushed',
      'Other branches': branches.filter((branch) => branch !== app.deployBranch),
      Deploys: app.deploys ? undefined : 'off: pushes are stored, nothing is built',
      Target: app.target ?? call.server.target,
      Created: ago(app.createdAt),
    }),
  );
}

function describeLive(call: Call, app: App): string {
  const release = findRelease(call, app, undefined);
  const { source } = release;
  return `v${release.number} of ${shortSource(source)}, ${ago(release.createdAt)} by ${release.by}`;
}

async function create(call: Call, name: string): Promise<void> {
  parseAppName(name);
  refuseTaken(call, name);
  const app = await call.operations.createApp(name);
  await call.out.stdout(`Created ${app.name}. ${howToPush(call, app)}\n`);
}

function refuseTaken(call: Call, name: string): void {
  if (call.store.apps.find(name) === undefined) return;
  throw new DinpError('exists', `there is an app "${name}" already.`, {
    hint: `${call.program} apps info ${name} tells about it.`,
  });
}

async function rename(call: Call, name: string, newName: string): Promise<void> {
  const app = findApp(call, name);
  parseAppName(newName);
  refuseTaken(call, newName);
  await withProgress(call, (progress) => call.operations.renameApp(app, newName, progress));
  await call.out.stdout(
    `Renamed ${name} to ${newName}. In clones of it:\n  git remote set-url dinp ${gitRemote(call.server, newName)}\n`,
  );
}

interface Settings {
  branch?: string;
  deploys?: 'on' | 'off';
  target?: string;
}

async function set(call: Call, name: string, settings: Settings): Promise<void> {
  const app = findApp(call, name);
  const { branch, deploys, target } = settings;
  if (branch === undefined && deploys === undefined && target === undefined) {
    throw new DinpError('usage', 'nothing to set.', {
      hint: `${call.program} apps set ${name} --branch main, --deploys on|off, --target ${call.targets.join('|')}`,
    });
  }
  if (target !== undefined) checkTarget(call, target);
  const said: string[] = [];
  if (branch !== undefined) {
    const short = branch.replace(/^refs\/heads\//, '');
    await call.operations.setDeployBranch(app, short);
    said.push(await describeBranch(call, app, short));
  }
  if (deploys !== undefined) {
    call.store.apps.setDeploys(app.id, deploys === 'on');
    said.push(deploys === 'on' ? 'Pushes are built and deployed.' : 'Pushes are stored; nothing is built.');
  }
  if (target !== undefined) {
    call.store.apps.setTarget(app.id, target === 'default' ? undefined : target);
    said.push(`The next release runs on ${target === 'default' ? call.server.target : target}.`);
  }
  await call.out.stdout(`${said.join('\n')}\n`);
}

function checkTarget(call: Call, target: string): void {
  if (target === 'default' || call.targets.includes(target)) return;
  const near = nearest(target, call.targets);
  throw new DinpError('usage', `there is no target "${printable(target)}".`, {
    hint: near === undefined ? `There are ${listed([...call.targets, 'default'])}.` : `Did you mean ${near}?`,
  });
}

/** What to know of a branch that nobody pushed: it is no error, as only the deploy branch can be pushed. */
async function describeBranch(call: Call, app: App, branch: string): Promise<string> {
  if ((await call.repositories.branches(app)).includes(branch))
    return `Pushes to ${printable(branch)} deploy ${app.name}.`;
  return `Pushes to ${printable(branch)} deploy ${app.name}; nobody has pushed it yet.`;
}

async function destroy(call: Call, name: string, options: { confirm?: string; volumes?: boolean }): Promise<void> {
  const app = findApp(call, name);
  if (options.confirm !== name) throw unconfirmed(call, app, options);
  await withProgress(call, (progress) =>
    call.operations.destroyApp(app, { volumes: options.volumes === true }, progress),
  );
  await call.out.stdout(`Destroyed ${name}.\n`);
}

function unconfirmed(call: Call, app: App, options: { confirm?: string; volumes?: boolean }): DinpError {
  const volumes = app.liveRelease === undefined ? [] : call.operations.volumes(app).map((volume) => volume.name);
  const releases = call.store.releases.list(app.id, 1)[0]?.number ?? 0;
  const goes = ['its repository', counted(releases, 'release'), 'its config'];
  const data =
    volumes.length === 0
      ? ''
      : options.volumes
        ? ` The data in ${listed(volumes)} goes as well.`
        : ` The data in ${listed(volumes)} stays; --volumes removes it.`;
  const again = `${call.program} apps destroy ${app.name} --confirm ${app.name}${options.volumes ? ' --volumes' : ''}`;
  return new DinpError(
    'usage',
    options.confirm === undefined
      ? `destroying ${app.name} stops it and removes ${listed(goes)} for good.${data}`
      : `--confirm says "${printable(options.confirm)}", but the app is "${app.name}".`,
    { hint: `If you mean it:  ${again}` },
  );
}
