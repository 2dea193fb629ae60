import { mkdir, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { type Ended, type Program, start } from './program.ts';

/** What a `git push` came to, as the pusher sees it. */
export interface Pushed {
  status: number;
  /** What the terminal shows, with what changes from run to run replaced: see GitClient.stable. */
  output: string;
  /** The same as it really was. */
  raw: string;
  ms: number;
}

/** Files of a commit: text, bytes, an executable, or undefined for one that is removed. */
export type Files = Record<string, string | Buffer | { executable: string | Buffer } | undefined>;

/** A person with a clone and a key: branch master, remote dinp. */
export class GitClient {
  readonly app: string;
  readonly folder: string;
  /** Full SHAs of what was committed here, in order. */
  readonly commits: string[] = [];
  readonly #env: NodeJS.ProcessEnv;

  constructor(app: string, folder: string, env: NodeJS.ProcessEnv) {
    this.app = app;
    this.folder = folder;
    this.#env = env;
  }

  /** Writes files and commits them. @returns the commit's full SHA */
  async commit(files: Files, message = 'change'): Promise<string> {
    for (const [path, file] of Object.entries(files)) {
      const full = join(this.folder, path);
      if (file === undefined) {
        await rm(full);
        continue;
      }
      const executable = typeof file === 'object' && 'executable' in file;
      await mkdir(dirname(full), { recursive: true });
      await writeFile(full, executable ? file.executable : file, { mode: executable ? 0o755 : 0o644 });
    }
    await this.git('add', '-A');
    await this.git('commit', '-q', '--allow-empty', '-m', message);
    const sha = await this.git('rev-parse', 'HEAD');
    this.commits.push(sha);
    return sha;
  }

  /** Runs git in the clone; throws where it fails. @returns its standard output, trimmed */
  async git(...args: string[]): Promise<string> {
    const { status, stdout, output } = await this.start(...args).ended;
    if (status !== 0) throw new Error(`git ${args.join(' ')} ended ${status}:\n${output}`);
    return stdout.trim();
  }

  /** `git push dinp master`, or with what is given in place of `master`. */
  async push(...args: string[]): Promise<Pushed> {
    return this.pushed(await this.startPush(...args).ended);
  }

  startPush(...args: string[]): Program {
    return this.start('push', 'dinp', ...(args.length === 0 ? ['master'] : args));
  }

  pushed({ status, output, ms }: Ended): Pushed {
    return { status, output: this.stable(output), raw: output, ms };
  }

  /** Text as a reader needs it: the app is called "shop", its commits COMMIT1, COMMIT2, …, and see `stable` below. */
  stable(text: string): string {
    const named = this.commits.reduce(
      (result, sha, i) => result.replaceAll(sha, `COMMIT${i + 1}`).replaceAll(sha.slice(0, 7), `COMMIT${i + 1}`),
      text.replaceAll(this.app, 'shop'),
    );
    return stable(named);
  }

  start(...args: string[]): Program {
    return start('git', args, { cwd: this.folder, env: this.#env });
  }
}

/** Text with what differs from run to run replaced: seconds, digests, ports, and what the engine's cache and load add. */
export function stable(text: string): string {
  return (
    text
      .replace(/^ *(?:\[[^\]]*\] )?\(cached\)\n/gm, '')
      .replace(/ \(cached\)$/gm, '')
      // What shows on a slow machine only.
      .replace(/^ *(?:\d+ of \d+ MB pushed|… still in stage .*)\n/gm, '')
      // git says that on another stream than ours, so it comes before or after our words.
      .replace(/^remote: error: hook declined to update .*\n/gm, '')
      .replace(/ssh -p \d+ /g, 'ssh -p PORT ')
      .replace(/\b\d+(?:\.\d+)? s\b/g, '0.0 s')
      // How far content shrinks is zlib's affair.
      .replace(/→ [\d.]+ (?:bytes|kB|MB)/g, '→ N bytes')
      .replace(/sha256:[0-9a-f]{12,64}/g, 'sha256:…')
      .replace(/(127\.0\.0\.1|localhost):\d+/g, '$1:PORT')
  );
}
