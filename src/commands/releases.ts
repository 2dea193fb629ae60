import type { Command } from 'commander';
import { formatImageRef } from '../domain/image-ref.ts';
import type { Release } from '../domain/release.ts';
import { describeSource, shortSource } from '../domain/source.ts';
import type { Bind } from './bind.ts';
import type { Call } from './context.ts';
import { findApp, findRelease, howToPush, parseNumber } from './lookup.ts';
import { parseCount } from './options.ts';
import { printJson, printRows } from './print.ts';
import { withProgress } from './progress.ts';
import { renderFields } from './table.ts';
import { ago, iso, shellLine } from './text.ts';

export function defineReleases(program: Command, bind: Bind): void {
  const releases = program.command('releases').description('what ran and what runs');
  releases
    .command('list')
    .argument('<app>')
    .description('the newest releases')
    .option('-n <count>', 'how many', parseCount, 20)
    .option('--json', 'print JSON: number, state, cause, from, source, target, by, createdAt')
    .action(bind(list));
  releases
    .command('show')
    .argument('<app>')
    .argument('[number]', 'the live one where none is given')
    .description('one release: images, processes, names of its config')
    .option('--json', 'print JSON: the fields of list, and services, configNames')
    .action(bind(show));
  releases
    .command('rollback')
    .argument('<app>')
    .argument('[number]', 'the one before the live one where none is given')
    .description('run an older release again, under a new number')
    .action(bind(rollback));
  program
    .command('rollback')
    .argument('<app>')
    .argument('[number]')
    .description('the same as releases rollback')
    .action(bind(rollback));
}

function view(release: Release): object {
  return {
    number: release.number,
    state: release.state,
    cause: release.cause,
    from: release.fromNumber ?? null,
    source: release.source,
    note: release.note ?? null,
    target: release.target,
    by: release.by,
    createdAt: iso(release.createdAt),
  };
}

function sourceOf(release: Release): string {
  const { source } = release;
  return source.kind === 'commit'
    ? `${shortSource(source)} ${source.ref.replace(/^refs\/heads\//, '')}`
    : describeSource(source);
}

/** `push`, `rollback to v3`, `config of v3`. */
function causeOf(release: Release): string {
  if (release.cause === 'deploy') return { commit: 'push', upload: 'upload', image: 'image' }[release.source.kind];
  const from =
    release.fromNumber === undefined ? '' : ` ${release.cause === 'rollback' ? 'to' : 'of'} v${release.fromNumber}`;
  return `${release.cause}${from}`;
}

async function list(call: Call, name: string, options: { n: number; json?: boolean }): Promise<void> {
  const app = findApp(call, name);
  const releases = call.store.releases.list(app.id, options.n);
  const hasNotes = releases.some(({ note }) => note !== undefined);
  await printRows(call, releases, {
    json: options.json,
    view,
    columns: [
      { title: 'RELEASE', value: (release) => `v${release.number}`, right: true },
      { title: 'STATE', value: (release) => release.state },
      { title: 'SOURCE', value: sourceOf, shrink: true },
      { title: 'CAUSE', value: causeOf },
      { title: 'BY', value: (release) => release.by, shrink: true },
      { title: 'WHEN', value: (release) => ago(release.createdAt) },
      ...(hasNotes ? [{ title: 'NOTE', value: (release: Release) => release.note ?? '', shrink: true }] : []),
    ],
    empty: `${app.name} has no releases yet. ${howToPush(call, app)}`,
  });
}

async function show(call: Call, name: string, number: string | undefined, options: { json?: boolean }): Promise<void> {
  const app = findApp(call, name);
  const release = findRelease(call, app, number);
  const configNames = Object.keys(release.config);
  if (options.json) {
    const services = release.services.map(({ service, commit, image, contentKey, processes, releaseCommand }) => ({
      service,
      commit: commit ?? null,
      image: formatImageRef(image),
      contentKey,
      processes,
      releaseCommand: releaseCommand ?? null,
    }));
    return printJson(call, { ...view(release), services, configNames });
  }
  await call.out.stdout(
    renderFields({
      Release: `v${release.number} of ${app.name}`,
      State: release.state,
      Source: sourceOf(release),
      Cause: causeOf(release),
      Note: release.note,
      Target: release.target,
      By: release.by,
      When: ago(release.createdAt),
      Image: release.services.map((service) => formatImageRef(service.image)),
      Processes: release.services.flatMap((service) =>
        service.processes.map(
          (process) =>
            `${service.service === app.name ? '' : `${service.service}/`}${process.name}: ${process.command === undefined ? "the image's own command" : shellLine(process.command)}`,
        ),
      ),
      Config: configNames.length === 0 ? undefined : configNames.join(', '),
    }),
  );
}

async function rollback(call: Call, name: string, number: string | undefined): Promise<void> {
  const app = findApp(call, name);
  const wanted = number === undefined ? undefined : parseNumber(number, 'release');
  if (wanted !== undefined) findRelease(call, app, number);
  const release = await withProgress(call, (progress) =>
    call.operations.rollback(app, wanted, call.identity, progress, call.out.signal),
  );
  const [address] = call.operations.addresses(app);
  const to = release.fromNumber === undefined ? '' : `, which is v${release.fromNumber} again`;
  await call.out.stdout(`Released v${release.number}${to}${address === undefined ? '' : `  ${address}`}\n`);
}
