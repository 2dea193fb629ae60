import type { Command } from 'commander';
import type { Taken } from '../deploy/uploads/artifact-deploys.ts';
import { type ArtifactName, readArtifactName } from '../deploy/uploads/artifact-name.ts';
import { formatSize, type Received } from '../deploy/uploads/received-file.ts';
import { DinpError } from '../domain/errors.ts';
import { printable } from '../domain/names.ts';
import { shortSource } from '../domain/source.ts';
import type { Bind, Input } from './bind.ts';
import { NO_INPUT } from './bind.ts';
import type { Call } from './context.ts';
import { findApp } from './lookup.ts';
import { withProgress } from './progress.ts';
import { LineCleaner, span } from './text.ts';

interface DeployOptions {
  base?: string;
  note?: string;
  name?: string;
  sha256?: string;
  image?: boolean;
  force?: boolean;
  detach?: boolean;
}

export function defineDeploy(program: Command, bind: Bind): void {
  program
    .command('deploy')
    .argument('<app>')
    .argument('[artifact]', 'a file, an address (http, https) or an image; standard input where none is given')
    .description('deploy a file, a download or an image, without git')
    .option('-m, --note <text>', 'what is new, for builds and releases')
    .option('--base <base>', 'base image that it is laid over')
    .option('--name <file>', 'what the file is called, where it comes on standard input')
    .option('--sha256 <hex>', 'checksum that it must have')
    .option('--image', 'the artifact is the name of an image')
    .option('--force', 'deploy it again, though it is live already')
    .option('--detach', 'do not wait for the end')
    .addHelpText(
      'after',
      '\nFiles: a war, a runnable jar, a Linux program, or a tar.gz or zip of what would be pushed.' +
        `\n\n  ${program.name()} deploy shop shop.war -m "with a search"` +
        `\n  ${program.name()} deploy shop https://artifacts.example.com/shop-7.war --sha256 HEX` +
        `\n  ${program.name()} deploy shop registry.example.com/shop:7` +
        `\n  ssh dinp@host deploy shop < shop.war`,
    )
    .action(bind(deploy, { input: inputOf }));
}

function inputOf(app: string, text: string | undefined, options: DeployOptions): Input {
  const named = readArtifactName(text, options.image ?? false);
  if (named.kind === 'file') return { kind: 'file', path: named.path };
  if (named.kind !== 'input') return NO_INPUT;
  return { kind: 'piped', what: 'the artifact', hint: `Name its file:  dinp deploy ${printable(app)} FILE` };
}

async function deploy(
  call: Call,
  name: string,
  text: string | undefined,
  options: DeployOptions,
): Promise<number | undefined> {
  const artifact = readArtifactName(text, options.image ?? false);
  checkOptions(artifact, options);
  if (call.store.apps.find(name) || !call.artifacts.creates(call.identity)) findApp(call, name);
  call.artifacts.check(call.identity, name, options);
  const taken = await take(call, name, artifact, options);
  if (taken.kind === 'live') return await tellLive(call, taken);
  const { app, build } = taken;
  if (taken.kind === 'joined') {
    await call.out.stdout(
      `Joining build #${build.number} of ${shortSource(build.source)}, which is under way already.\n`,
    );
  }
  if (options.detach) {
    await call.out.stdout(
      `Build #${build.number} goes on by itself. To read it: ${call.program} builds log ${app.name} ${build.number} -f\n`,
    );
    return undefined;
  }
  const cleaner = new LineCleaner();
  const status = await call.watchBuild(build, {
    write: (chunk) => call.out.stdout(cleaner.add(chunk)),
    signal: call.out.signal,
  });
  await call.out.stdout(cleaner.end());
  return status;
}

function checkOptions(artifact: ArtifactName, { base, sha256, name }: DeployOptions): void {
  if (sha256 !== undefined && !/^[0-9a-f]{64}$/i.test(sha256)) {
    throw new DinpError('usage', '--sha256 takes 64 hexadecimal digits.', { hint: 'sha256sum FILE prints them.' });
  }
  if (artifact.kind !== 'image') return;
  const [option] = Object.entries({ base, sha256, name }).find(([, value]) => value !== undefined) ?? [];
  if (option === undefined) return;
  const what = `${printable(artifact.reference)} is the name of an image`;
  throw new DinpError('usage', `--${option} is for files, and ${what}.`, {
    hint: option === 'sha256' ? 'An image is pinned by its digest:  NAME@sha256:HEX' : `Leave out --${option}.`,
  });
}

async function take(call: Call, name: string, artifact: ArtifactName, options: DeployOptions): Promise<Taken> {
  const { artifacts, identity } = call;
  const wish = { note: options.note, force: options.force };
  if (artifact.kind === 'image') return await artifacts.deployImage(identity, name, artifact.reference, wish);
  await using received =
    artifact.kind === 'url' ? await download(call, artifact.url, options) : await receive(call, artifact, options);
  const filename = options.name ?? received.filename;
  return await artifacts.deployUpload(identity, name, received, { ...wish, filename, base: options.base });
}

/** What comes on standard input: a file's content is sent there by the program that was told its name. */
async function receive(
  call: Call,
  artifact: ArtifactName & { kind: 'input' | 'file' },
  options: DeployOptions,
): Promise<Received & { filename: string }> {
  const { stdin, signal } = call.out;
  if (stdin === undefined) {
    throw new DinpError('usage', 'the artifact is read from standard input, and there is none.', {
      hint: `${call.program} deploy APP < FILE   (without a terminal: ssh -T)`,
    });
  }
  const filename = artifact.kind === 'file' ? artifact.path.replace(/^.*[\\/]/s, '') : 'upload';
  const received = await timed(call, `Receiving ${printable(options.name ?? filename)}`, () =>
    call.uploads.receive(stdin, { signal, sha256: options.sha256 }),
  );
  return { ...received, filename };
}

async function download(call: Call, url: string, options: DeployOptions): Promise<Received & { filename: string }> {
  const host = URL.canParse(url) ? new URL(url).host : 'the address';
  return await timed(call, `Downloading from ${printable(host)}`, () =>
    call.downloads.fetch(url, { signal: call.out.signal, sha256: options.sha256 }),
  );
}

async function timed<T extends Received>(call: Call, heading: string, work: () => Promise<T>): Promise<T> {
  return await withProgress(call, async (progress) => {
    progress.heading(heading);
    const start = performance.now();
    const received = await work();
    progress.line(
      `${formatSize(received.size)} in ${span(performance.now() - start)}, SHA-256 ${received.sha256.slice(0, 12)}…`,
    );
    return received;
  });
}

async function tellLive(call: Call, { app, release }: Taken & { kind: 'live' }): Promise<undefined> {
  const live = `${shortSource(release.source)} is live as v${release.number}${app.stopped ? ' (stopped)' : ''}`;
  await call.out.stdout(`${[live, ...call.operations.addresses(app)].join('  ')}\n`);
}
