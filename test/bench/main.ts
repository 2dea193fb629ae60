/**
 * `npm run bench`: dinp against OpenSSH's sshd with git-shell, and against docker, on this machine in one run.
 * `npm run bench -- [--quick] [PART …]` runs parts of it. A whole run is written to docs/benchmarks.md. It fails where
 * a run fails or ssh2 lacks its native ciphers; targets that are missed are marked in the table.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { nativeCrypto } from '../../src/ssh/ssh2-internals.ts';
import type { Bench, Part } from './bench.ts';
import { Client } from './client.ts';
import { Dinp } from './dinp.ts';
import { describeMachine, load } from './machine.ts';
import { makePackage } from './package.ts';
import { connects } from './parts/connects.ts';
import { direct } from './parts/direct.ts';
import { distance } from './parts/distance.ts';
import { hosts } from './parts/hosts.ts';
import { image } from './parts/image.ts';
import { large } from './parts/large.ts';
import { firstOutput, push } from './parts/push.ts';
import { together } from './parts/together.ts';
import { type Row, renderTable } from './report.ts';
import { makeSource } from './source.ts';
import { Sshd } from './sshd.ts';

const PARTS: Part[] = [push, firstOutput, connects, together, large, distance, image, direct, hosts];
const PAGE = resolve(import.meta.dirname, '../../docs/benchmarks.md');
const COMMITS = 400;
const NO_NATIVE_CRYPTO = `ssh2 runs without its native ciphers here, so that every figure would be wrong.
Install g++, make and python3, then: npm rebuild ssh2 (with npm_config_nodedir set to the folder of this Node)`;

/** Why nothing is measured; told without a stack. */
class Refusal extends Error {}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({ options: { quick: { type: 'boolean' } }, allowPositionals: true });
  const unknown = positionals.find((name) => !PARTS.some((part) => part.name === name));
  if (unknown !== undefined) {
    throw new Refusal(`there is no part ${unknown}; there are: ${PARTS.map(({ name }) => name).join(', ')}`);
  }
  if (!nativeCrypto) throw new Refusal(NO_NATIVE_CRYPTO);
  const parts = positionals.length === 0 ? PARTS : PARTS.filter(({ name }) => positionals.includes(name));
  const before = load();
  const begin = Date.now();
  const rows = await runParts(parts, values.quick ?? false);
  const seconds = Math.round((Date.now() - begin) / 1000);
  const machine = [
    ...describeMachine(),
    `load ${before} before the run and ${load()} after it, which makes some itself`,
  ];
  process.stdout.write(`\n${renderTable(rows)}\n\n${machine.join('\n')}\n`);
  if (parts.length === PARTS.length && !values.quick) {
    writeFileSync(PAGE, renderPage(rows, machine, seconds));
    process.stdout.write(`\nWritten to docs/benchmarks.md after ${seconds} s.\n`);
  }
}

async function runParts(parts: Part[], quick: boolean): Promise<Row[]> {
  const folder = mkdtempSync(join(tmpdir(), 'dinp-bench-'));
  try {
    const source = await makeSource(folder, COMMITS);
    const client = new Client(folder, source.folder);
    const main = makePackage(folder);
    await using dinp = await Dinp.start(folder, main, client.publicKeyFile);
    await using sshd = await Sshd.start(folder, client.publicKeyFile);
    await using openSshd = await Sshd.start(folder, client.publicKeyFile, '1000');
    const bench: Bench = { folder, quick, source, client, main, dinp, sshd, openSshd, progress };
    const rows: Row[] = [];
    for (const part of parts) {
      progress(part.name);
      rows.push(...(await part.run(bench)));
    }
    return rows;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function progress(text: string): void {
  process.stderr.write(`${new Date().toISOString().slice(11, 19)} ${text}\n`);
}

function renderPage(rows: Row[], machine: string[], seconds: number): string {
  return `# Benchmarks

Made by \`npm run bench\` on ${new Date().toISOString().slice(0, 10)} in ${seconds} s; running it writes this page anew.

${machine.map((line) => `- ${line}`).join('\n')}

${renderTable(rows)}

How to read it: both sides run on one machine in one run, turn by turn. Times are medians; a ratio is the median of
the rounds' own ratios, so it need not be the quotient of the two times. Smaller is better, except for rates.

- "sshd" is OpenSSH with git-shell, started by a forced command as from an authorized_keys file. Clients are the
  machine's git and OpenSSH without any settings of a user; "default client" means its first choice of key exchange,
  which costs more than curve25519.
- dinp's apps have deploys off, so that nothing is built, but every push leaves its build row in the database (synced to
  the disk) before it ends; the bench counts the rows. The last part has deploys on, with a target that runs nothing.
- "A repository as git makes it" unpacks small packs into loose objects; dinp's settings keep every pack as it came.
- The round trip is made by a proxy on the loopback interface that delays every byte by half of it.
- Memory is the peak of the largest process (VmHWM): programs and libraries that processes share count in each.
- A step is 35 ms or more in which neither side says anything, seen by a proxy that adds nothing. sshd's are delayed
  acknowledgements, in every connection; a busy machine makes a few of its own.
- Images are made from commits in a bare repository to their tags in a registry. dinp's are two layers over a base that the
  registry has; docker's are the same folders copied by a Dockerfile over that base, which its engine has, built through the
  engine's API with the files streamed from git, and pushed. "Compressible" files are machine code. Nothing is written to disk
  for either side before.
- Hosts are containers of this machine with systemd, sshd and a Docker Engine of their own. Each push changes one page: it is built
  by the machine's engine, pulled by each host through its SSH connection, started twice beside what runs, and checked.
- "First output" of dinp comes after everything: the hooks, the ref, the build row. sshd's comes from the first hook.
`;
}

main().catch((error: unknown) => {
  const text = error instanceof Refusal ? error.message : error instanceof Error ? error.stack : String(error);
  process.stderr.write(`bench: ${text}\n`);
  process.exitCode = 1;
});
