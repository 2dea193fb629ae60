import { execFileSync, spawn } from 'node:child_process';
import { chmodSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { runGit } from './client.ts';
import { findProgram } from './machine.ts';

/** What a bare repository is told beside what `git init` tells it: the settings that dinp receives with. */
const OUR_SETTINGS = [
  ['receive.unpackLimit', '1'],
  ['core.bigFileThreshold', '16m'],
  ['receive.autogc', 'false'],
  ['gc.auto', '0'],
  ['transfer.fsckObjects', 'true'],
  ['core.fsync', 'all'],
] as const;

/** OpenSSH's sshd with git-shell, on a loopback port, with keys and a configuration of its own. */
export class Sshd implements AsyncDisposable {
  readonly port: number;
  readonly user = userInfo().username;
  readonly #repositories: string;
  readonly #end: () => Promise<void>;

  private constructor(port: number, repositories: string, end: () => Promise<void>) {
    this.port = port;
    this.#repositories = repositories;
    this.#end = end;
  }

  /** @param maxStartups connections that have not logged in yet; OpenSSH's default of 10:30:100 where it is not given */
  static async start(parent: string, publicKeyFile: string, maxStartups?: string): Promise<Sshd> {
    const folder = join(parent, `sshd-${maxStartups === undefined ? 'default' : 'raised'}`);
    const repositories = join(folder, 'repositories');
    mkdirSync(repositories, { recursive: true });
    const hostKey = join(folder, 'host_key');
    execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', hostKey]);
    const port = await freePort();
    const shell = findProgram('git-shell', 'git');
    const lines = [
      `Port ${port}`,
      'ListenAddress 127.0.0.1',
      `HostKey ${hostKey}`,
      'PidFile none',
      `AuthorizedKeysFile ${publicKeyFile}`,
      'StrictModes no',
      'UsePAM no',
      'UseDNS no',
      'PasswordAuthentication no',
      // The account's shell starts git-shell, as in an authorized_keys line. At this level bash reads no .bashrc.
      `ForceCommand exec ${shell} -c "$SSH_ORIGINAL_COMMAND"`,
      'SetEnv SHLVL=2',
      ...(maxStartups === undefined ? [] : [`MaxStartups ${maxStartups}`]),
    ];
    const config = join(folder, 'sshd_config');
    writeFileSync(config, `${lines.join('\n')}\n`);
    // Debian's sshd wants it as root; its service makes it otherwise.
    if (process.getuid?.() === 0) mkdirSync('/run/sshd', { recursive: true, mode: 0o755 });
    const child = spawn(findProgram('sshd', 'openssh-server'), ['-D', '-e', '-f', config], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    let said = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      said = (said + text).slice(-2000);
    });
    const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
    await answers(port, () => child.exitCode !== null && said);
    return new Sshd(port, repositories, async () => {
      child.kill('SIGTERM');
      await ended;
    });
  }

  /** Makes a bare repository as `git init` makes it, or one with the settings that dinp receives with. */
  async create(name: string, settings: 'stock' | 'ours' = 'stock', preReceive?: string): Promise<void> {
    const path = this.path(name);
    await runGit(['init', '-q', '--bare', path]);
    for (const [key, value] of settings === 'ours' ? OUR_SETTINGS : []) await runGit(['config', key, value], path);
    if (preReceive === undefined) return;
    const hook = join(path, 'hooks', 'pre-receive');
    writeFileSync(hook, preReceive);
    chmodSync(hook, 0o755);
  }

  path(name: string): string {
    return join(this.#repositories, `${name}.git`);
  }

  url(name: string, port = this.port): string {
    return `ssh://${this.user}@127.0.0.1:${port}${this.path(name)}`;
  }

  remove(name: string): void {
    rmSync(this.path(name), { recursive: true, force: true });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#end();
  }
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** Waits until a port takes connections. @param ended what a server that ended said, or false */
async function answers(port: number, ended: () => string | false): Promise<void> {
  for (let tries = 0; tries < 200; tries++) {
    const said = ended();
    if (said !== false) throw new Error(`sshd ended at its start:\n${said}`);
    const ok = await new Promise((resolve) => {
      const socket = connect(port, '127.0.0.1', () => resolve(true));
      socket.once('error', () => resolve(false)).once('connect', () => socket.destroy());
    });
    if (ok) return;
    await sleep(50);
  }
  throw new Error(`sshd does not answer on port ${port}`);
}
