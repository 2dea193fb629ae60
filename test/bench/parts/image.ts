import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { closeSync, mkdirSync, openSync, readSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { fillWithBases } from '../../support/base-cache.ts';
import { startRegistry } from '../../support/registry.ts';
import { makeElf } from '../../unit/artifact/make-elf.ts';
import type { Bench, Part } from '../bench.ts';
import { Dinp } from '../dinp.ts';
import { removeImages } from '../engine-images.ts';
import { interleave, median, pairedRatio } from '../pairs.ts';
import { compared, milliseconds } from '../report.ts';
import { addProgramCommit } from '../source.ts';

const BYTES = 20e6;
const BASE = 'base/static:1';
const LOOK_EVERY_MS = 5;

/** A static program of 20 MB from `git push` to its tag in the registry. Nothing is run: the target only emits units. */
export const image: Part = {
  name: 'image',
  async run(bench) {
    await using registry = await startRegistry({ fill: fillWithBases });
    await using dinp = await Dinp.start(bench.folder, bench.main, bench.client.publicKeyFile, registry.address);
    await dinp.create('program', 'on');
    await bench.sshd.create('program', 'ours');
    try {
      return await measure(bench, dinp, registry.address);
    } finally {
      removeImages(registry.address);
    }
  },
};

async function measure(bench: Bench, dinp: Dinp, registry: string) {
  const headings: number[] = [];
  const pushes: number[] = [];
  const ours = async () => {
    const sha = await addProgramCommit(bench.source, 'program', program());
    const abort = new AbortController();
    const tagged = waitForTag(registry, 'program', sha, abort.signal);
    const begin = performance.now();
    try {
      const [{ seenMs }, at] = await Promise.all([
        bench.client.push(dinp.url('program'), `+${sha}`, { awaited: '----->' }),
        tagged,
      ]);
      headings.push(seenMs ?? Number.NaN);
      pushes.push(performance.now() - begin);
      return at - begin;
    } finally {
      abort.abort();
    }
  };
  const docker = () => dockerBuildAndPush(bench, registry, program());
  const pushThenDocker = async () => {
    const bytes = program();
    const sha = await addProgramCommit(bench.source, 'program', bytes);
    const { ms } = await bench.client.push(bench.sshd.url('program'), `+${sha}`);
    return ms + (await dockerBuildAndPush(bench, registry, bytes));
  };
  const timings = await interleave(bench.quick ? 2 : 5, { docker, ours, pushThenDocker });
  const mine = median(timings.ours);
  return [
    compared('20 MB program: push to tag in the registry', 'docker build + push, in its folder', {
      theirs: median(timings.docker),
      ours: mine,
      ratio: pairedRatio(timings.ours, timings.docker),
    }),
    compared('20 MB program: push to tag in the registry', 'git push to sshd, then docker build + push', {
      theirs: median(timings.pushThenDocker),
      ours: mine,
      ratio: pairedRatio(timings.ours, timings.pushThenDocker),
    }),
    told('20 MB program: push to first heading of the build', median(headings)),
    told('20 MB program: the whole push, units emitted', median(pushes)),
  ];
}

function told(what: string, value: number) {
  return { what, against: '', theirs: '', ours: milliseconds(value), ratio: '', target: '', met: undefined };
}

/** A program that no build has seen: machine code compresses as machine code does, so it is taken from Node's own. */
function program(): Buffer {
  const code = Buffer.alloc(BYTES);
  const file = openSync(process.execPath, 'r');
  readSync(file, code, 0, BYTES, 20_000_000);
  closeSync(file);
  return Buffer.concat([makeElf(), randomBytes(32), code]);
}

/** @returns when the tag was there, by performance.now() */
async function waitForTag(registry: string, app: string, tag: string, signal: AbortSignal): Promise<number> {
  const headers = {
    accept: 'application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.manifest.v1+json',
  };
  for (;;) {
    const answer = await fetch(`http://${registry}/v2/${app}/manifests/${tag}`, { method: 'HEAD', headers, signal });
    if (answer.ok) return performance.now();
    await sleep(LOOK_EVERY_MS, undefined, { signal });
  }
}

/** What somebody without dinp types in the folder of the program. */
async function dockerBuildAndPush(bench: Bench, registry: string, bytes: Buffer): Promise<number> {
  const folder = join(bench.folder, 'docker');
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'program'), bytes, { mode: 0o755 });
  const dockerfile = `FROM ${registry}/${BASE}\nCOPY program /app/program\nCMD ["/app/program"]\n`;
  writeFileSync(join(folder, 'Dockerfile'), dockerfile);
  const name = `${registry}/by-docker:${randomBytes(6).toString('hex')}`;
  const run = (...args: string[]) => promisify(execFile)('docker', args, { cwd: folder });
  const begin = performance.now();
  await run('build', '-q', '-t', name, '.');
  await run('push', '-q', name);
  return performance.now() - begin;
}
