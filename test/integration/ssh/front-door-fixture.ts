import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import type { Identity } from '../../../src/domain/identity.ts';
import { REPOSITORY_CONFIG } from '../../../src/git/repository-config.ts';
import { type FrontDoor, type FrontDoorOptions, openFrontDoor } from '../../../src/ssh/front-door.ts';
import type {
  CommandRequest,
  JudgeReply,
  JudgeRequest,
  OpenRequest,
  SettleRequest,
} from '../../../src/ssh/protocol.ts';
import { type Answer, respond } from '../../../src/ssh/responder.ts';
import { fingerprintOf } from '../../../src/ssh/signature.ts';

/** What the tests let the control process do; everything has a default that says yes. */
export interface Behaviour {
  judge(request: JudgeRequest): Promise<JudgeReply>;
  settle(request: SettleRequest, answer: Answer): Promise<void>;
  command(request: CommandRequest, answer: Answer): Promise<void>;
}

export interface Result {
  code: number | null;
  stdout: string;
  stderr: string;
}

/** A front door with a stand-in for the control process behind it, a key, and a folder that goes with it. */
export class Fixture implements AsyncDisposable {
  readonly dir = mkdtempSync(join(tmpdir(), 'dinp-ssh-'));
  readonly key = join(this.dir, 'id_ed25519');
  readonly behaviour: Behaviour;
  readonly opened: OpenRequest[] = [];
  readonly judged: JudgeRequest[] = [];
  readonly settled: SettleRequest[] = [];
  readonly commands: CommandRequest[] = [];
  readonly lost: string[][] = [];
  readonly log: string[] = [];
  door!: FrontDoor;
  /** Fingerprints that are let in. */
  readonly keys = new Map<string, Identity>();

  constructor(behaviour: Partial<Behaviour> = {}) {
    this.behaviour = {
      judge: async () => ({ ok: true, text: '', reason: '' }),
      settle: async (_request, answer) => answer.exit(0),
      command: async (_request, answer) => answer.exit(0),
      ...behaviour,
    };
    makeKey(this.key);
    this.letIn(this.key, 'ada');
  }

  static async open(behaviour: Partial<Behaviour> = {}, options: Partial<FrontDoorOptions> = {}): Promise<Fixture> {
    const fixture = new Fixture(behaviour);
    try {
      fixture.door = await openFrontDoor({
        host: '127.0.0.1',
        port: 0,
        user: 'dinp',
        program: 'ssh dinp@host',
        hostKeyPath: join(fixture.dir, 'keys', 'host_key'),
        git: { git: gitPath(), hooks: resolve(import.meta.dirname, '../../../hooks'), maxPackBytes: 1 << 30 },
        workers: 2,
        onWorker: (link) => respond(link, fixture.#handler(), (error) => fixture.log.push(String(error))),
        onWorkerLost: (apps) => fixture.lost.push(apps),
        log: (level, message, fields) => fixture.log.push(`${level} ${message} ${JSON.stringify(fields ?? {})}`),
        ...options,
      });
    } catch (error) {
      await fixture[Symbol.asyncDispose]();
      throw error;
    }
    return fixture;
  }

  #handler() {
    return {
      key: async ({ fingerprint }: { fingerprint: string }) => ({ identity: this.keys.get(fingerprint) }),
      open: async (request: OpenRequest) => {
        this.opened.push(request);
        if (request.name === 'forbidden') return { ok: false as const, text: 'You may not use forbidden.' };
        return { ok: true as const, app: request.name, repository: this.repository(request.name) };
      },
      judge: (request: JudgeRequest) => {
        this.judged.push(request);
        return this.behaviour.judge(request);
      },
      settle: (request: SettleRequest, answer: Answer) => {
        this.settled.push(request);
        return this.behaviour.settle(request, answer);
      },
      command: (request: CommandRequest, answer: Answer) => {
        this.commands.push(request);
        return this.behaviour.command(request, answer);
      },
    };
  }

  letIn(key: string, name: string): void {
    const [, data = ''] = readFileSync(`${key}.pub`, 'utf8').split(' ');
    const fingerprint = fingerprintOf(Buffer.from(data, 'base64'));
    this.keys.set(fingerprint, { name, role: 'admin', fingerprint, apps: [] });
  }

  /** The bare repository of an app, made when it is first asked for. */
  repository(app: string): string {
    const path = join(this.dir, 'repositories', `${app}.git`);
    mkdirSync(path, { recursive: true });
    execFileSync('git', ['init', '-q', '--bare', '-b', 'master', path]);
    writeFileSync(join(path, 'config'), REPOSITORY_CONFIG);
    return path;
  }

  /** A clone with one commit on master and the remote `dinp`. */
  workTree(app: string, name = app): string {
    const path = join(this.dir, 'work', name);
    mkdirSync(path, { recursive: true });
    const git = (...args: string[]) => execFileSync('git', args, { cwd: path, env: this.env() });
    git('init', '-q', '-b', 'master');
    writeFileSync(join(path, 'file'), 'one\n');
    git('add', '.');
    git('commit', '-qm', 'first');
    git('remote', 'add', 'dinp', this.url(app));
    return path;
  }

  url(app: string): string {
    return `ssh://dinp@127.0.0.1:${this.door.port}/${app}.git`;
  }

  sshArguments(key = this.key): string[] {
    const options = ['StrictHostKeyChecking=no', `UserKnownHostsFile=${join(this.dir, 'known_hosts')}`];
    options.push('IdentitiesOnly=yes', 'BatchMode=yes', 'LogLevel=ERROR', 'IdentityAgent=none');
    return ['-F', 'none', '-i', key, ...options.flatMap((option) => ['-o', option])];
  }

  env(key = this.key): NodeJS.ProcessEnv {
    return {
      PATH: process.env.PATH ?? '',
      HOME: this.dir,
      LC_ALL: 'C',
      GIT_CONFIG_NOSYSTEM: '1',
      GIT_AUTHOR_NAME: 'a',
      GIT_AUTHOR_EMAIL: 'a@a',
      GIT_COMMITTER_NAME: 'a',
      GIT_COMMITTER_EMAIL: 'a@a',
      GIT_SSH_COMMAND: `ssh ${this.sshArguments(key).join(' ')}`,
    };
  }

  start(file: string, args: string[], options: { cwd?: string; env?: NodeJS.ProcessEnv } = {}): ChildProcess {
    return spawn(file, args, { env: this.env(), cwd: this.dir, detached: true, ...options });
  }

  git(cwd: string, ...args: string[]): Promise<Result> {
    return finished(this.start('git', args, { cwd }));
  }

  /** `ssh dinp@host …`; the words are quoted by nobody, as ssh joins them. */
  ssh(
    args: string[],
    options: { input?: string; user?: string; key?: string; flags?: string[] } = {},
  ): Promise<Result> {
    const { input = '', user = 'dinp', key = this.key, flags = [] } = options;
    const target = ['-p', String(this.door.port), ...flags, `${user}@127.0.0.1`, ...args];
    const child = this.start('ssh', [...this.sshArguments(key), ...target]);
    child.stdin?.on('error', () => {});
    child.stdin?.end(input);
    return finished(child);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.door?.close();
    rmSync(this.dir, { recursive: true, force: true });
  }
}

export function makeKey(path: string, type = 'ed25519', ...more: string[]): void {
  execFileSync('ssh-keygen', ['-q', '-t', type, ...more, '-N', '', '-f', path]);
}

export function gitPath(): string {
  return execFileSync('/bin/sh', ['-c', 'command -v git'], { encoding: 'utf8' }).trim();
}

/** Waits for a process to end; its output as text. */
export async function finished(child: ChildProcess): Promise<Result> {
  const result: Result = { code: null, stdout: '', stderr: '' };
  child.stdout?.setEncoding('utf8').on('data', (text) => (result.stdout += text));
  child.stderr?.setEncoding('utf8').on('data', (text) => (result.stderr += text));
  result.code = await new Promise((resolve) => child.once('close', resolve));
  return result;
}

/** Waits until a condition holds. @throws Error after the time is over */
export async function until(condition: () => boolean, what: string, milliseconds = 15_000): Promise<void> {
  const end = Date.now() + milliseconds;
  while (!condition()) {
    if (Date.now() > end) throw new Error(`waited too long until ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
