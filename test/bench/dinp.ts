import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import Database from 'better-sqlite3';
import { stringify } from 'yaml';
import { socketLink } from '../../src/ssh/link.ts';
import type { ToClient, ToControl } from '../../src/ssh/protocol.ts';
import { Requests } from '../../src/ssh/requests.ts';
import { commandLine, parentOf } from './machine.ts';

const START_MS = 30_000;

/** `dinp serve` as it is installed, with a data folder of its own and a free port. */
export class Dinp implements AsyncDisposable {
  readonly user = 'dinp';
  readonly port: number;
  readonly #data: string;
  readonly #process: ChildProcess;
  readonly #requests: Requests;
  readonly #hangUp: () => void;

  private constructor(data: string, process: ChildProcess, port: number) {
    this.#data = data;
    this.#process = process;
    this.port = port;
    const link = socketLink<ToControl, ToClient>(connect(join(data, 'dinp.sock')));
    this.#requests = new Requests(link);
    this.#hangUp = () => link.close();
  }

  /**
   * @param main program of the package
   * @param registry its address, for a server that builds images
   */
  static async start(parent: string, main: string, publicKeyFile: string, registry?: string): Promise<Dinp> {
    const folder = join(parent, registry === undefined ? 'dinp' : 'dinp-building');
    const data = join(folder, 'data');
    mkdirSync(folder, { recursive: true });
    const config = join(folder, 'dinp.yml');
    const settings = {
      data,
      target: 'emit',
      ssh: { host: '127.0.0.1', port: 0 },
      router: { caddy: 'none' },
      bases: { auto: false },
      ...(registry === undefined ? {} : { registry: { push: registry } }),
    };
    writeFileSync(config, stringify(settings));
    // The first start compiles what the next ones read: a server is started seldom and pushed to often.
    const first = await serve(main, config, join(folder, 'first.log'));
    await end(first.child);
    const { child, port } = await serve(main, config, join(folder, 'log'));
    const dinp = new Dinp(data, child, port);
    await dinp.run('keys', 'add', 'bench', readFileSync(publicKeyFile, 'utf8').trim(), '--role', 'admin');
    return dinp;
  }

  /** Runs a command as the operator. @returns what it printed @throws Error when it fails */
  async run(...argv: string[]): Promise<string> {
    const pieces: Uint8Array[] = [];
    const sink = { write: (_fd: 1 | 2, data: Uint8Array) => void pieces.push(data) };
    const status = await this.#requests.stream(
      { kind: 'command', identity: undefined, argv, columns: undefined, program: 'dinp', stdin: false },
      sink,
    );
    const output = Buffer.concat(pieces).toString();
    if (status !== 0) throw new Error(`dinp ${argv.join(' ')} ended ${status}:\n${output}`);
    return output;
  }

  /** Makes an app; one with deploys off stores its pushes and their build rows, and builds nothing. */
  async create(name: string, deploys: 'on' | 'off' = 'off'): Promise<void> {
    await this.run('apps', 'create', name);
    if (deploys === 'off') await this.run('apps', 'set', name, '--deploys', 'off');
  }

  path(name: string): string {
    return join(this.#data, 'repositories', `${name}.git`);
  }

  url(name: string, port = this.port): string {
    return `ssh://dinp@127.0.0.1:${port}/${name}`;
  }

  /** Frees the disk of a large push. */
  remove(name: string): void {
    rmSync(join(this.path(name), 'objects'), { recursive: true, force: true });
  }

  /** How many builds an app has in the database. */
  countBuilds(name: string): number {
    const db = new Database(join(this.#data, 'dinp.db'), { readonly: true });
    try {
      const sql = 'SELECT count(*) AS count FROM builds b JOIN apps a ON a.id = b.app_id WHERE a.name = ?';
      return db.prepare<[string], { count: number }>(sql).get(name)!.count;
    } finally {
      db.close();
    }
  }

  get controlPid(): number {
    return this.#process.pid!;
  }

  /** Process ids of the SSH workers. */
  workers(): number[] {
    return readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name) && parentOf(Number(name)) === this.controlPid)
      .map(Number)
      .filter((pid) => /ssh\/worker\.[jt]s/.test(commandLine(pid)));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#hangUp();
    await end(this.#process);
  }
}

/** Starts a server. @returns it and its SSH port, once it serves */
async function serve(main: string, config: string, logFile: string): Promise<{ child: ChildProcess; port: number }> {
  const log = openSync(logFile, 'a');
  const child = spawn(process.execPath, [main, 'serve', '--config', config], { stdio: ['ignore', log, log] });
  closeSync(log);
  return { child, port: await listening(child, logFile) };
}

async function end(child: ChildProcess): Promise<void> {
  const ended = new Promise((done) => child.once('exit', done));
  if (child.exitCode === null && child.kill('SIGTERM')) await ended;
}

/** Waits until a server says that it serves. @returns its SSH port */
async function listening(child: ChildProcess, logFile: string): Promise<number> {
  for (const end = Date.now() + START_MS; Date.now() < end; await sleep(20)) {
    const log = readFileSync(logFile, 'utf8');
    const line = log.split('\n').find((text) => text.includes('"msg":"server started"'));
    if (line !== undefined) return (JSON.parse(line) as { ssh: number }).ssh;
    if (child.exitCode !== null) throw new Error(`dinp serve ended at its start:\n${log}`);
  }
  throw new Error('dinp serve does not start');
}
