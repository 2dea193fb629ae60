import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { join } from 'node:path';
import { runGit } from './client.ts';

const PIECE = 1024 * 1024;

/** A repository to push from: commits on one line, each changes one small file. */
export interface Source {
  folder: string;
  /** The next commit of the line. @throws Error when all are used */
  next(): string;
}

/** Makes a repository with so many small commits. */
export async function makeSource(parent: string, commits: number): Promise<Source> {
  const folder = join(parent, 'source.git');
  await runGit(['init', '-q', '--bare', folder]);
  await fastImport(folder, function* () {
    for (let i = 0; i <= commits; i++) {
      const text = `${i} ${randomBytes(400).toString('hex')}\n`;
      yield commit('refs/heads/main', `change ${i}`);
      for (const name of i === 0 ? ['a.txt', 'b.txt', 'c.txt', 'index.html'] : [`index.html`]) {
        yield `M 100644 inline src/${name}\ndata ${text.length}\n${text}\n`;
      }
    }
  });
  const line = (await runGit(['rev-list', '--reverse', 'refs/heads/main'], folder)).split('\n');
  return {
    folder,
    next() {
      const sha = line.shift();
      if (sha === undefined) throw new Error(`the ${commits} commits of the bench are used up`);
      return sha;
    },
  };
}

/**
 * Adds a commit with one file of random bytes, stored in the source's pack as it is, so that the client has nothing to
 * compress: what is left is the way and the receiving side.
 * @returns its id
 */
export async function addLargeCommit(source: Source, bytes: number): Promise<string> {
  const ref = `refs/heads/large-${bytes}`;
  await fastImport(source.folder, function* () {
    yield `${commit(ref, 'large')}M 100644 inline large.bin\ndata ${bytes}\n`;
    for (let left = bytes; left > 0; left -= PIECE) yield randomBytes(Math.min(left, PIECE));
    yield '\n';
  });
  return await runGit(['rev-parse', ref], source.folder);
}

/** Adds a commit of these executable files. @returns its id */
export async function addProgramCommit(source: Source, name: string, program: Buffer): Promise<string> {
  const ref = `refs/heads/program-${randomBytes(4).toString('hex')}`;
  await fastImport(source.folder, function* () {
    yield `${commit(ref, 'program')}M 100755 inline ${name}\ndata ${program.length}\n`;
    yield program;
    yield '\n';
  });
  return await runGit(['rev-parse', ref], source.folder);
}

function commit(ref: string, message: string): string {
  return `commit ${ref}\ncommitter Bench <bench@example.org> ${Math.floor(Date.now() / 1000)} +0000\ndata ${message.length}\n${message}\n`;
}

async function fastImport(folder: string, stream: () => Generator<string | Buffer>): Promise<void> {
  const settings = ['-c', 'core.bigFileThreshold=1m', '-c', 'pack.compression=0', '-c', 'fastimport.unpackLimit=1'];
  const git = spawn('git', [...settings, 'fast-import', '--quiet'], {
    cwd: folder,
    stdio: ['pipe', 'ignore', 'inherit'],
  });
  const ended = once(git, 'close');
  for (const piece of stream()) {
    if (!git.stdin.write(piece)) await once(git.stdin, 'drain');
  }
  git.stdin.end();
  const [status] = await ended;
  if (status !== 0) throw new Error(`git fast-import ended with ${status}`);
}
