import { execFile, execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';

/** What a client of a machine without settings of its own has. */
function clientEnvironment(home: string, sshCommand: string): Record<string, string> {
  return {
    PATH: process.env.PATH ?? '',
    HOME: home,
    LC_ALL: 'C',
    GIT_CONFIG_NOSYSTEM: '1',
    GIT_TERMINAL_PROMPT: '0',
    GIT_SSH_COMMAND: sshCommand,
  };
}

/** Runs git where no client is needed. @returns its output, trimmed */
export async function runGit(args: string[], cwd = '/'): Promise<string> {
  const env = { PATH: process.env.PATH ?? '', HOME: '/nonexistent', GIT_CONFIG_NOSYSTEM: '1' };
  const { stdout } = await promisify(execFile)('git', args, { cwd, env, maxBuffer: 64 * 1024 * 1024 });
  return stdout.trim();
}

export interface PushResult {
  ms: number;
  /** Milliseconds until the awaited text was read. */
  seenMs: number | undefined;
  stderr: string;
}

export interface PushOptions {
  /** Extra `-o` settings of ssh. */
  ssh?: string[];
  /** Text whose arrival on stderr is timed. */
  awaited?: string;
}

/** The one OpenSSH and git client of the run, with a key and nothing of the user's settings. */
export class Client {
  readonly publicKeyFile: string;
  readonly #folder: string;
  readonly #source: string;

  /** @param source repository that is pushed from */
  constructor(folder: string, source: string) {
    this.#folder = folder;
    this.#source = source;
    const key = join(folder, 'key');
    if (!existsSync(key)) execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', 'bench', '-f', key]);
    this.publicKeyFile = `${key}.pub`;
  }

  sshArguments(extra: string[] = []): string[] {
    const options = [
      'StrictHostKeyChecking=accept-new',
      `UserKnownHostsFile=${join(this.#folder, 'known_hosts')}`,
      ...['IdentitiesOnly=yes', 'IdentityAgent=none', 'BatchMode=yes', 'LogLevel=ERROR'],
      ...extra,
    ];
    return ['-F', 'none', '-i', join(this.#folder, 'key'), ...options.flatMap((option) => ['-o', option])];
  }

  /** Pushes a commit to main of a repository. @throws Error when it fails */
  async push(url: string, sha: string, options: PushOptions = {}): Promise<PushResult> {
    const begin = performance.now();
    const git = spawn('git', ['push', url, `${sha}:refs/heads/main`], {
      cwd: this.#source,
      env: this.#environment(options.ssh),
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    let stderr = '';
    let seenMs: number | undefined;
    git.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
      if (seenMs === undefined && options.awaited !== undefined && stderr.includes(options.awaited)) {
        seenMs = performance.now() - begin;
      }
    });
    const status = await new Promise((resolve, reject) => git.once('error', reject).once('close', resolve));
    if (status !== 0) throw new Error(`a push to ${url} ended ${status}:\n${stderr}`);
    return { ms: performance.now() - begin, seenMs, stderr };
  }

  /**
   * Pushes a commit to many repositories at once, started by a shell: this process would take longer to start them.
   * @returns milliseconds until all have ended, and what those that failed said
   */
  async pushAll(urls: string[], sha: string): Promise<{ ms: number; failures: string[] }> {
    const folder = join(this.#folder, 'together');
    mkdirSync(folder, { recursive: true });
    const lines = urls.map(
      (url, i) => `{ git push '${url}' ${sha}:refs/heads/main >${i}.log 2>&1; echo $? >${i}.status; } &`,
    );
    writeFileSync(join(folder, 'run'), `${lines.join('\n')}\nwait\n`);
    const env = { ...this.#environment(), GIT_DIR: this.#source };
    const begin = performance.now();
    await promisify(execFile)('sh', ['run'], { cwd: folder, env });
    const ms = performance.now() - begin;
    const failures = urls.flatMap((_url, i) => {
      const status = readFileSync(join(folder, `${i}.status`), 'utf8').trim();
      return status === '0' ? [] : [readFileSync(join(folder, `${i}.log`), 'utf8')];
    });
    return { ms, failures };
  }

  /** Connects, logs in, starts git, and hangs up. @returns its milliseconds */
  async connect(user: string, port: number, repository: string, ssh: string[]): Promise<number> {
    const command = `git-upload-pack '${repository}'`;
    const begin = performance.now();
    const child = spawn('ssh', [...this.sshArguments(ssh), '-p', String(port), `${user}@127.0.0.1`, command], {
      stdio: ['pipe', 'ignore', 'ignore'],
    });
    // A flush: nothing is wanted.
    child.stdin.end('0000');
    const status = await new Promise((resolve, reject) => child.once('error', reject).once('close', resolve));
    if (status !== 0) throw new Error(`ssh to port ${port} ended ${status}`);
    return performance.now() - begin;
  }

  #environment(extra: string[] = []): Record<string, string> {
    return clientEnvironment(this.#folder, ['ssh', ...this.sshArguments(extra)].join(' '));
  }
}
