import type { Command } from 'commander';
import type { KeptLog } from '../deploy/build-records.ts';
import { type Build, isFinished } from '../domain/build.ts';
import { DinpError } from '../domain/errors.ts';
import { mayUse } from '../domain/identity.ts';
import { printable } from '../domain/names.ts';
import { describeSource, shortSource } from '../domain/source.ts';
import type { Bind } from './bind.ts';
import type { Call } from './context.ts';
import { findApp, findBuild, howToPush, unfinishedBuilds } from './lookup.ts';
import { parseCount } from './options.ts';
import { printJson, printRows } from './print.ts';
import { renderFields } from './table.ts';
import { ago, cleanLines, iso, shellLine, span } from './text.ts';

export function defineBuilds(program: Command, bind: Bind): void {
  const builds = program.command('builds').description('attempts to turn commits into releases');
  builds
    .command('list')
    .argument('<app>')
    .description('the newest builds')
    .option('-n <count>', 'how many', parseCount, 20)
    .option(
      '--json',
      'print JSON: number, sha, branch, source, note, state, stage, reason, release, supersededBy, by, createdAt, startedAt, finishedAt',
    )
    .action(bind(list));
  builds
    .command('show')
    .argument('<app>')
    .argument('[number]', 'the newest where none is given')
    .description('one build')
    .option('--json', 'print JSON: the fields of list')
    .action(bind(show));
  builds
    .command('log')
    .argument('[app]', 'may be left out with --image')
    .argument('[number]', 'the newest where none is given')
    .description('the output of a build, from the registry where this server has it no more')
    .option('--image <reference>', 'of the newest build of an image of our registry, such as blog:main')
    .option('-f, --follow', 'go on until the build ends; the exit status is its result')
    .action(bind(log));
  builds
    .command('cancel')
    .argument('<app>')
    .argument('[number]', 'may be left out where only one build waits or runs')
    .description('end a waiting or running build; what serves now goes on')
    .action(bind(cancel));
}

/** A build as programs read it. */
export function buildView(build: Build): object {
  return {
    number: build.number,
    sha: build.source.kind === 'commit' ? build.source.sha : null,
    branch: branchOf(build) ?? null,
    source: build.source,
    note: build.note ?? null,
    state: build.state,
    stage: build.stage ?? null,
    reason: build.reason ?? null,
    release: build.release ?? null,
    supersededBy: build.supersededBy ?? null,
    by: build.by,
    createdAt: iso(build.createdAt),
    startedAt: iso(build.startedAt),
    finishedAt: iso(build.finishedAt),
  };
}

function branchOf({ source }: Build): string | undefined {
  return source.kind === 'commit' ? source.ref.replace(/^refs\/heads\//, '') : undefined;
}

/** `running: build`, `waiting, number 2 in the queue`, `failed`. */
function stateOf(call: Call, build: Build): string {
  if (build.state === 'running' && build.stage !== undefined) return `running: ${build.stage}`;
  const position = build.state === 'waiting' ? call.queue.position(build.id) : undefined;
  return position === undefined ? build.state : `waiting, number ${position} in the queue`;
}

function resultOf(build: Build): string {
  if (build.release !== undefined && build.state === 'succeeded') return `v${build.release}`;
  if (build.supersededBy !== undefined) return `build ${build.supersededBy} took its place`;
  return build.reason ?? '-';
}

function took(build: Build): string {
  return build.startedAt === undefined ? '-' : span((build.finishedAt ?? Date.now()) - build.startedAt);
}

async function list(call: Call, name: string, options: { n: number; json?: boolean }): Promise<void> {
  const app = findApp(call, name);
  await printRows(call, call.store.builds.list(app.id, options.n), {
    json: options.json,
    view: buildView,
    columns: [
      { title: 'BUILD', value: (build) => String(build.number), right: true },
      { title: 'SOURCE', value: (build) => shortSource(build.source), shrink: true },
      { title: 'STATE', value: (build) => stateOf(call, build) },
      { title: 'TOOK', value: took, right: true },
      { title: 'BY', value: (build) => build.by, shrink: true },
      { title: 'WHEN', value: (build) => ago(build.createdAt) },
      { title: 'RESULT', value: resultOf, shrink: true },
    ],
    empty: `${app.name} has no builds yet. ${howToPush(call, app)}`,
  });
}

async function show(call: Call, name: string, number: string | undefined, options: { json?: boolean }): Promise<void> {
  const app = findApp(call, name);
  const build = findBuild(call, app, number);
  if (options.json) return printJson(call, buildView(build));
  await call.out.stdout(
    renderFields({
      Build: `${build.number} of ${app.name}`,
      Source: build.source.kind === 'commit' ? `commit ${build.source.sha}` : describeSource(build.source),
      Branch: branchOf(build),
      Note: build.note,
      State: stateOf(call, build),
      'Failed in': build.state === 'failed' ? build.stage : undefined,
      Reason: build.reason,
      Superseded: build.supersededBy === undefined ? undefined : `by build ${build.supersededBy}`,
      Release: build.release === undefined ? undefined : `v${build.release}`,
      'Pushed by': build.by,
      When: ago(build.createdAt),
      Took: build.startedAt === undefined ? undefined : took(build),
      Output: `${call.program} builds log ${app.name} ${build.number}`,
    }),
  );
}

async function log(
  call: Call,
  name: string | undefined,
  number: string | undefined,
  options: { follow?: boolean; image?: string },
): Promise<number | undefined> {
  if (options.image !== undefined) return await imageLog(call, options.image, name);
  if (name === undefined)
    throw new DinpError('usage', '<app> is missing.', { hint: `Usage:  ${call.program} builds log <app> [number]` });
  const build = findBuild(call, findApp(call, name), number);
  if (!call.buildLogs.has(build.id)) {
    await printKept(call, await call.buildRecords.read(build, call.out.signal));
  } else {
    await call.out.stderr(`Log of build ${build.number} of ${build.app}, from this server:\n`);
    const chunks = options.follow ? call.buildLogs.follow(build.id, call.out.signal) : call.buildLogs.read(build.id);
    for await (const lines of cleanLines(chunks)) await call.out.stdout(lines);
  }
  if (!options.follow) return undefined;
  const end = call.store.builds.get(build.id).state;
  return end === 'succeeded' ? 0 : 1;
}

/** The log beside an image: also of a build that this server knows nothing of. */
async function imageLog(call: Call, reference: string, name: string | undefined): Promise<undefined> {
  if (name !== undefined)
    throw new DinpError('usage', 'an app and --image cannot be together.', {
      hint: `Type only:  ${call.program} builds log --image ${shellLine([reference])}`,
    });
  const { repository } = call.buildRecords.takeApart(reference);
  // Images of an app are named after it, or lie below its name.
  if (!mayUse(call.identity, repository.split('/')[0]!)) findApp(call, repository.split('/')[0]!);
  await printKept(call, await call.buildRecords.readImage(reference, call.out.signal));
}

async function printKept(call: Call, { log: bytes, image, app, build }: KeptLog): Promise<void> {
  await call.out.stderr(`Log of build ${printable(build)} of ${printable(app)}, from the registry: ${image}\n`);
  for await (const lines of cleanLines(oneChunk(bytes))) await call.out.stdout(lines);
}

async function* oneChunk(bytes: Buffer): AsyncGenerator<Buffer> {
  yield bytes;
}

async function cancel(call: Call, name: string, number: string | undefined): Promise<void> {
  const app = findApp(call, name);
  const build = number === undefined ? onlyUnfinished(call, app.name) : findBuild(call, app, number);
  if (isFinished(build.state)) {
    throw new DinpError('refused', `build ${build.number} of ${app.name} is over: ${build.state}.`);
  }
  await call.queue.cancel(build.id, call.identity.name);
  await call.out.stdout(`Canceled build ${build.number} of ${app.name}.\n`);
}

function onlyUnfinished(call: Call, name: string): Build {
  const builds = unfinishedBuilds(call, findApp(call, name));
  const [build, ...more] = builds;
  if (build === undefined) throw new DinpError('not-found', `no build of ${name} waits or runs.`);
  if (more.length === 0) return build;
  throw new DinpError('usage', `${builds.length} builds of ${name} wait or run.`, {
    hint: `Say which:\n${builds.map((each) => `  ${call.program} builds cancel ${name} ${each.number}   (${stateOf(call, each)})`).join('\n')}`,
  });
}
