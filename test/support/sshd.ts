import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import type { PinnedKey, SshLogin } from '../../src/run/ssh/ssh-connection.ts';
import { freePorts } from './caddy.ts';
import { tempFolder } from './temp-folder.ts';
import { until } from './until.ts';

/** OpenSSH's sshd on a loopback port, with keys and a configuration of its own; it lets this user in. */
export class TestSshd implements AsyncDisposable {
  readonly folder = tempFolder();
  readonly port: number;
  readonly privateKey: string;
  #process: ChildProcess | undefined;

  private constructor(port: number) {
    this.port = port;
    this.newKey('client');
    this.newKey('host');
    this.privateKey = readFileSync(join(this.folder, 'client'), 'utf8');
  }

  static async start(): Promise<TestSshd> {
    const sshd = new TestSshd((await freePorts(1))[0]!);
    await sshd.start();
    return sshd;
  }

  /** How to log in: with the right key, and the right host key pinned. */
  login(): SshLogin {
    const address = { user: userInfo().username, host: '127.0.0.1', port: this.port };
    return { name: 'h1', address, privateKey: this.privateKey, hostKey: this.hostKey() };
  }

  hostKey(): PinnedKey {
    const said = execFileSync('ssh-keygen', ['-lf', join(this.folder, 'host.pub')], { encoding: 'utf8' });
    return { type: 'ssh-ed25519', fingerprint: said.split(' ')[1]! };
  }

  /** Makes an ed25519 key, in place of one of that name. */
  newKey(name: string): void {
    const file = join(this.folder, name);
    execFileSync('sh', ['-c', 'rm -f "$0" && ssh-keygen -q -t ed25519 -N "" -f "$0"', file]);
  }

  async start(): Promise<void> {
    const file = (name: string) => join(this.folder, name);
    const lines = [
      ...[`Port ${this.port}`, 'ListenAddress 127.0.0.1', `HostKey ${file('host')}`, 'PidFile none'],
      ...[`AuthorizedKeysFile ${file('client.pub')}`, 'StrictModes no', 'UsePAM no', 'UseDNS no'],
      ...['PasswordAuthentication no', 'PermitRootLogin yes', 'MaxStartups 100'],
    ];
    writeFileSync(file('config'), `${lines.join('\n')}\n`);
    // Debian's sshd wants it as root; its service makes it otherwise.
    if (process.getuid?.() === 0) mkdirSync('/run/sshd', { recursive: true, mode: 0o755 });
    this.#process = spawn('/usr/sbin/sshd', ['-D', '-f', file('config')], { stdio: 'ignore' });
    await until('sshd answers', () => answers(this.port));
  }

  /** Ends the listener and every connection that it has, as a machine that dies does. */
  async stop(): Promise<void> {
    const child = this.#process!;
    if (child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    this.cut();
    child.kill('SIGTERM');
    await ended;
  }

  /** Kills the processes of its connections; it goes on listening. */
  cut(): void {
    execFileSync('sh', ['-c', 'pkill -KILL -P "$0" || true', String(this.#process!.pid)]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('error', () => resolve(false));
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
  });
}
