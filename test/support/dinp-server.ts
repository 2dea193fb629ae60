import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import Database from 'better-sqlite3';
import { stringify } from 'yaml';
import type { BuildState, Stage } from '../../src/domain/build.ts';
import { fillWithBases, SMALL_BASES } from './base-cache.ts';
import { type Caddy, startCaddy } from './caddy.ts';
import { GitClient } from './git-client.ts';
import { type PortBlock, takePortBlock } from './port-block.ts';
import { type Ended, type Program, type Stdin, start } from './program.ts';
import { startRegistry, type TestRegistry } from './registry.ts';
import { mountSmallDisk, type SmallDisk } from './small-disk.ts';
import { until } from './until.ts';

const MAIN = resolve(import.meta.dirname, '../../src/cli/main.ts');
const SOCKET = '/var/run/docker.sock';
/** Points where a git that serves a push can be held: see TestServer.hold. */
export type HoldPoint = 'before-receive' | 'after-receive' | 'ls-tree' | 'cat-file';

export interface ServerOptions {
  /** Merged into the server's config, one level deep. */
  config?: Record<string, unknown>;
  /** Bases in the registry besides the small ones. */
  bases?: string[];
  /** Gives the data folder a file system of its own, of so many megabytes: `server.disk`. */
  diskMegabytes?: number;
  /** The same for the registry's data: `server.registryDisk`. */
  registryMegabytes?: number;
  /** The registry lets nothing be deleted. */
  keepsAll?: boolean;
}

/** A row of the server's builds, as the database has it. */
export interface BuildRow {
  number: number;
  sha: string;
  state: BuildState;
  stage: Stage | null;
  reason: string | null;
  release: number | null;
}

/** An answer of an app; status 0 with curl's words where none came, or not all of it. */
export interface Page {
  status: number;
  body: string;
}

/**
 * Starts everything that `dinp serve` needs and the server itself, as a process of its own: data folder, registry with
 * the bases in it, Caddy, and ports that no other test has. The engine is the machine's.
 */
export async function startServer(options: ServerOptions = {}): Promise<TestServer> {
  const ports = await takePortBlock();
  let registryDisk: SmallDisk | undefined;
  const registry = await startRegistry({
    port: ports.first,
    keepsAll: options.keepsAll === true,
    fill: async (root) => {
      if (options.registryMegabytes !== undefined) registryDisk = mountSmallDisk(root, options.registryMegabytes);
      try {
        await fillWithBases(root, [...SMALL_BASES, ...(options.bases ?? [])]);
      } catch (error) {
        registryDisk?.[Symbol.dispose]();
        throw error;
      }
    },
  });
  const caddy = await startCaddy({ port: ports.first + 1 });
  const server = new TestServer(ports, registry, caddy, { ...options, registryDisk });
  try {
    await server.start();
    return server;
  } catch (error) {
    await server[Symbol.asyncDispose]();
    throw error;
  }
}

export class TestServer implements AsyncDisposable {
  readonly folder = mkdtempSync(join(tmpdir(), 'dinp-e2e-'));
  readonly data = join(this.folder, 'data');
  readonly config = join(this.folder, 'dinp.yml');
  /** Begins the names of this server's apps: the engine is shared, and containers are named after apps. */
  readonly prefix = `t${randomBytes(4).toString('hex')}`;
  readonly registry: TestRegistry;
  readonly caddy: Caddy;
  /** Of the data folder, where options ask for it. */
  readonly disk: SmallDisk | undefined;
  /** Of the registry's data, where options ask for it. */
  readonly registryDisk: SmallDisk | undefined;
  readonly sshPort: number;
  /** Where Caddy serves host names. */
  readonly namesPort: number;
  readonly #ports: PortBlock;
  readonly #key = join(this.folder, 'key');
  #process: ChildProcess | undefined;
  #exited: Promise<void> = Promise.resolve();
  #apps = 0;

  constructor(
    ports: PortBlock,
    registry: TestRegistry,
    caddy: Caddy,
    options: ServerOptions & { registryDisk: SmallDisk | undefined },
  ) {
    this.#ports = ports;
    this.disk = options.diskMegabytes === undefined ? undefined : mountSmallDisk(this.data, options.diskMegabytes);
    this.registryDisk = options.registryDisk;
    this.registry = registry;
    this.caddy = caddy;
    this.sshPort = ports.first + 2;
    this.namesPort = ports.first + 3;
    const base: Record<string, unknown> = {
      data: this.data,
      domain: 'localhost',
      ssh: { host: '127.0.0.1', port: this.sshPort, workers: 2 },
      registry: { push: registry.address },
      router: { caddy: caddy.admin, listen: `:${this.namesPort}`, bind: '127.0.0.1' },
      ports: {
        apps: `${ports.first + 10}-${ports.first + 59}`,
        instances: `${this.instancePorts.first}-${ports.last}`,
      },
      bases: { auto: false },
    };
    for (const [key, value] of Object.entries(options.config ?? {})) {
      const before = base[key];
      base[key] = typeof before === 'object' && typeof value === 'object' ? { ...before, ...value } : value;
    }
    writeFileSync(this.config, stringify(base));
    execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', 'me', '-f', this.#key]);
    this.#wrapGit();
  }

  /** Ports of the host that instances of its apps may get. */
  get instancePorts(): { first: number; last: number } {
    return { first: this.#ports.first + 60, last: this.#ports.last };
  }

  /** Process id of the control process. */
  get pid(): number {
    return this.#process!.pid!;
  }

  /** Starts the server process and waits until it serves; at the first time enrols the key "me" as admin. */
  async start(): Promise<void> {
    const isFirst = !existsSync(join(this.data, 'dinp.db'));
    const log = openSync(this.#logFile, 'a');
    const before = this.log().length;
    const env = { ...process.env, PATH: `${join(this.folder, 'bin')}:${process.env.PATH}` };
    this.#process = spawn(process.execPath, [MAIN, 'serve', '--config', this.config], {
      stdio: ['ignore', log, log],
      env,
      detached: true,
    });
    closeSync(log);
    const server = this.#process;
    this.#exited = new Promise((done) => server.once('exit', () => done()));
    await until('the server serves', () => {
      if (server.exitCode !== null) throw new Error(`the server ended:\n${this.log().slice(before)}`);
      return this.log().includes('"msg":"server started"', before);
    });
    if (isFirst) await this.dinpOk('keys', 'add', 'me', '--file', `${this.#key}.pub`, '--role', 'admin');
  }

  /** Ends the server with SIGTERM, as a service manager does. */
  async stop(): Promise<void> {
    this.#process?.kill('SIGTERM');
    await this.#exited;
  }

  /** kill -9 of the control process; its workers notice by themselves. */
  async kill(): Promise<void> {
    this.#process!.kill('SIGKILL');
    await this.#exited;
  }

  /** The operator's log so far. */
  log(): string {
    return existsSync(this.#logFile) ? readFileSync(this.#logFile, 'utf8') : '';
  }

  get #logFile(): string {
    return join(this.folder, 'server.log');
  }

  /** Runs the `dinp` program on this server's machine. */
  async dinp(...args: string[]): Promise<Ended> {
    return await this.startDinp(args).ended;
  }

  /** The same, for commands that must do well. @returns what it printed */
  async dinpOk(...args: string[]): Promise<string> {
    const ended = await this.dinp(...args);
    if (ended.status !== 0) throw new Error(`dinp ${args.join(' ')} ended ${ended.status}:\n${ended.output}`);
    return ended.output;
  }

  startDinp(args: string[], stdin: Stdin = ''): Program {
    return start(process.execPath, [MAIN, '--config', this.config, ...args], { stdin, env: this.#env() });
  }

  /** `ssh dinp@host …` with the key of "me", or of another person. */
  async ssh(args: string[], options: { stdin?: Stdin; person?: string } = {}): Promise<Ended> {
    return await this.startSsh(args, options).ended;
  }

  startSsh(args: string[], options: { stdin?: Stdin; person?: string } = {}): Program {
    const { stdin = '', person } = options;
    const [, ...words] = this.#sshCommand(person);
    const line = [...words, '-p', String(this.sshPort), 'dinp@127.0.0.1', ...args];
    return start('ssh', line, { stdin, env: this.#env() });
  }

  /** Makes a key for a person and adds it as a deployer of some apps. */
  async addDeployer(person: string, ...apps: string[]): Promise<void> {
    const key = join(this.folder, person);
    execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', person, '-f', key]);
    await this.dinpOk(
      'keys',
      'add',
      person,
      '--file',
      `${key}.pub`,
      '--role',
      'deployer',
      ...apps.flatMap((app) => ['--app', app]),
    );
  }

  /** A name for a new app that no other test uses. */
  appName(): string {
    return `${this.prefix}-${++this.#apps}`;
  }

  url(app: string): string {
    return `ssh://dinp@127.0.0.1:${this.sshPort}/${app}`;
  }

  /** A new clone whose remote is an app of this server. */
  async client(options: { app?: string; person?: string } = {}): Promise<GitClient> {
    const { app = this.appName(), person } = options;
    const folder = mkdtempSync(join(this.folder, 'clone-'));
    const client = new GitClient(app, folder, this.#env(person));
    await client.git('init', '-q', '-b', 'master');
    await client.git('remote', 'add', 'dinp', this.url(app));
    return client;
  }

  /** Asks an app by its name. */
  async curl(app: string, path = '/'): Promise<Page> {
    return await this.curlUrl(`http://${app}.localhost:${this.namesPort}${path}`);
  }

  /** @param headers `Name: value` */
  async curlUrl(url: string, ...headers: string[]): Promise<Page> {
    const more = headers.flatMap((header) => ['-H', header]);
    const flags = ['-q', '-sS', '--noproxy', '*', '-m', '20', '-w', '\n%{http_code}', ...more, url];
    const { status, stdout, stderr } = await start('curl', flags, { env: this.#env() }).ended;
    if (status !== 0) return { status: 0, body: stderr };
    const at = stdout.lastIndexOf('\n');
    return { status: Number(stdout.slice(at + 1)), body: stdout.slice(0, at) };
  }

  /** The host:port of an app that never changes. */
  stableUrl(app: string): string {
    const row = this.#query<{ port: number }>('SELECT port FROM apps WHERE name = ?', app)[0];
    return `http://127.0.0.1:${row?.port}/`;
  }

  /** The builds of an app, oldest first. */
  builds(app: string): BuildRow[] {
    return this.#query(
      `SELECT b.number, b.source ->> '$.sha' AS sha, b.state, b.stage, b.reason, b.release
       FROM builds b JOIN apps a ON a.id = b.app_id WHERE a.name = ? ORDER BY b.id`,
      app,
    );
  }

  /** The releases of an app, oldest first. */
  releases(app: string): { number: number; state: string; cause: string; source: string }[] {
    return this.#query(
      `SELECT r.number, r.state, r.cause, r.source FROM releases r JOIN apps a ON a.id = r.app_id
       WHERE a.name = ? ORDER BY r.id`,
      app,
    );
  }

  /** The image of each release of an app, oldest first. */
  releaseImages(app: string): { number: number; state: string; digest: string }[] {
    return this.#query(
      `SELECT r.number, r.state, s.digest FROM releases r JOIN apps a ON a.id = r.app_id
       JOIN release_services s ON s.release_id = r.id WHERE a.name = ? ORDER BY r.id`,
      app,
    );
  }

  /** What a ref of an app's repository points to. */
  ref(app: string, name: string): string | undefined {
    const args = ['--git-dir', join(this.data, 'repositories', `${app}.git`), 'rev-parse', '-q', '--verify', name];
    try {
      return execFileSync('git', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
    } catch {
      return undefined;
    }
  }

  /** Tags of an app's image in the registry. */
  async tags(app: string): Promise<string[]> {
    const answer = await fetch(`http://${this.registry.address}/v2/${app}/tags/list`);
    return answer.ok ? (((await answer.json()) as { tags: string[] | null }).tags ?? []).sort() : [];
  }

  /** Names of the containers of this server's apps (of one app), also of those that do not run. */
  containers(app?: string): string[] {
    const filters = ['--filter', `label=dinp.server=${this.#id()}`];
    if (app !== undefined) filters.push('--filter', `label=dinp.app=${app}`);
    return lines(docker('ps', '-a', '--format', '{{.Names}}', ...filters)).sort();
  }

  volumes(): string[] {
    return lines(docker('volume', 'ls', '-q', '--filter', `label=dinp.server=${this.#id()}`)).sort();
  }

  /** Lines of a Dockerfile that serves one page quickly; `more` stands before the last. */
  dockerfile(...more: string[]): string {
    return [
      `FROM ${this.registry.address}/base/busybox:1`,
      'COPY index.html /www/index.html',
      ...more,
      'CMD ["busybox", "httpd", "-f", "-p", "8080", "-h", "/www"]\n',
    ].join('\n');
  }

  /** The files of such an app. */
  quickApp(page: string, ...more: string[]): { Dockerfile: string; 'index.html': string } {
    return { Dockerfile: this.dockerfile(...more), 'index.html': `${page}\n` };
  }

  /**
   * Holds the gits that the server starts from now on at a point: before receive-pack runs, after it has moved the
   * refs, or when it lists or reads the files of a commit.
   */
  hold(point: HoldPoint): Hold {
    const file = join(this.folder, 'hold', point);
    const reached = `${file}.reached`;
    rmSync(reached, { force: true });
    writeFileSync(file, '');
    return {
      reached: async () => {
        await until(`git is held ${point}`, () => existsSync(reached));
        return Number(readFileSync(reached, 'utf8'));
      },
      release: () => rmSync(file, { force: true }),
    };
  }

  /** Process ids of the SSH workers. */
  workers(): number[] {
    return readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name) && parentOf(Number(name)) === this.pid)
      .map(Number)
      .filter((pid) => commandLine(pid).includes('ssh/worker.ts'));
  }

  /**
   * Checks that nothing but what should run is there: as many containers as the live releases want, and no build
   * without an end.
   */
  async problems(): Promise<string[]> {
    const found: string[] = [];
    const apps = this.#query<{ name: string }>('SELECT name FROM apps');
    const wanted: string[] = [];
    for (const { name } of apps) {
      const { status, stdout } = await this.ssh(['ps', name, '--json']);
      if (status !== 0) continue;
      for (const row of JSON.parse(stdout) as { name: string; state: string; desired: boolean }[]) {
        if (row.desired) wanted.push(row.name);
        if (!row.desired || row.state !== 'running') found.push(`${row.name} is ${row.state}, desired: ${row.desired}`);
      }
    }
    for (const name of this.containers()) if (!wanted.includes(name)) found.push(`stray container ${name}`);
    for (const { id, state } of this.#query<{ id: number; state: string }>('SELECT id, state FROM builds')) {
      if (state === 'waiting' || state === 'running') found.push(`build ${id} is ${state}`);
    }
    for (const { id } of this.#query<{ id: number }>("SELECT id FROM releases WHERE state = 'pending'")) {
      found.push(`release ${id} is pending`);
    }
    return found;
  }

  /** Ends it as dispose does, and throws where something ran or was left that should not. */
  async endTidily(): Promise<void> {
    const problems = await this.problems().catch((error: unknown) => [String(error)]);
    await this[Symbol.asyncDispose]();
    if (problems.length > 0) throw new Error(`not as it should be:\n${problems.join('\n')}`);
  }

  /** Ends the server, removes all of its containers, volumes and images, and proves that no process of it is left. */
  async [Symbol.asyncDispose](): Promise<void> {
    // Whatever fails: a program that stays would keep the test's process from its end.
    await using _ports = this.#ports;
    await using _registry = this.registry;
    using _registryDisk = this.registryDisk;
    await using _caddy = this.caddy;
    rmSync(join(this.folder, 'hold'), { recursive: true, force: true });
    if (this.#process?.exitCode === null && this.#process.signalCode === null) await this.stop();
    const left = await this.#processesLeft();
    try {
      this.#removeFromEngine();
    } finally {
      this.disk?.[Symbol.dispose]();
      rmSync(this.folder, { recursive: true, force: true });
    }
    if (left.length > 0) throw new Error(`processes of the server outlived it:\n${left.join('\n')}`);
  }

  #removeFromEngine(): void {
    if (existsSync(join(this.data, 'dinp.db'))) {
      for (const name of this.containers()) docker('rm', '-f', '-v', name);
      for (const volume of this.volumes()) docker('volume', 'rm', volume);
    }
    const format = '{{.Repository}}:{{.Tag}}\n{{.Repository}}@{{.Digest}}';
    const images = lines(docker('images', '--digests', '--format', format)).filter(
      (image) => image.startsWith(`${this.registry.address}/`) && !image.includes('<none>'),
    );
    // A digest's name goes with the last tag of its image.
    if (images.length > 0) spawnSync('docker', ['-H', `unix://${SOCKET}`, 'rmi', '-f', ...images]);
  }

  /** Processes that still work in our folder; those of a server that was killed get a moment to notice. */
  async #processesLeft(): Promise<string[]> {
    const find = () =>
      readdirSync('/proc')
        .filter((name) => /^\d+$/.test(name))
        .filter((name) => Number(name) !== process.pid && this.#isOurs(Number(name)))
        .map((name) => `${name} ${commandLine(Number(name))}`);
    return await until('its processes end', () => (find().length === 0 ? [] : undefined), 15_000).catch(find);
  }

  #isOurs(pid: number): boolean {
    return (
      commandLine(pid).includes(this.data) ||
      environment(pid).includes(join(this.folder, 'bin')) ||
      cwd(pid).startsWith(this.data)
    );
  }

  #id(): string {
    return this.#query<{ value: string }>("SELECT value FROM meta WHERE name = 'server-id'")[0]!.value;
  }

  #query<Row>(sql: string, ...values: string[]): Row[] {
    const db = new Database(join(this.data, 'dinp.db'), { readonly: true });
    try {
      return db.prepare<string[], Row>(sql).all(...values);
    } finally {
      db.close();
    }
  }

  #env(person?: string): NodeJS.ProcessEnv {
    return {
      PATH: process.env.PATH ?? '',
      HOME: this.folder,
      LC_ALL: 'C.UTF-8',
      GIT_CONFIG_NOSYSTEM: '1',
      ...Object.fromEntries(
        ['AUTHOR', 'COMMITTER'].flatMap((who) => [
          [`GIT_${who}_NAME`, 'Me'],
          [`GIT_${who}_EMAIL`, 'me@example.org'],
        ]),
      ),
      GIT_SSH_COMMAND: this.#sshCommand(person).join(' '),
    };
  }

  #sshCommand(person?: string): string[] {
    const options = [
      'StrictHostKeyChecking=accept-new',
      `UserKnownHostsFile=${join(this.folder, 'known_hosts')}`,
      ...['IdentitiesOnly=yes', 'BatchMode=yes', 'IdentityAgent=none', 'LogLevel=ERROR'],
    ];
    const key = person === undefined ? this.#key : join(this.folder, person);
    return ['ssh', '-F', 'none', '-i', key, ...options.flatMap((option) => ['-o', option])];
  }

  /** The server finds this git first; it can be told to wait, and else is git itself. */
  #wrapGit(): void {
    const bin = join(this.folder, 'bin');
    const hold = join(this.folder, 'hold');
    const git = execFileSync('/bin/sh', ['-c', 'command -v git'], { encoding: 'utf8' }).trim();
    mkdirSync(bin);
    mkdirSync(hold);
    const script = `#!/bin/sh
hold() {
  [ -e '${hold}'/"$1" ] || return 0
  echo $$ > '${hold}'/"$1.new" && mv '${hold}'/"$1.new" '${hold}'/"$1.reached"
  while [ -e '${hold}'/"$1" ]; do sleep 0.02; done
}
case " $* " in
  *' receive-pack '*)
    hold before-receive
    [ -e '${hold}/after-receive' ] || exec ${git} "$@"
    ${git} "$@"
    status=$?
    hold after-receive
    exit $status ;;
  *' ls-tree '*) hold ls-tree ;;
  *' cat-file '*) hold cat-file ;;
esac
exec ${git} "$@"
`;
    writeFileSync(join(bin, 'git'), script, { mode: 0o755 });
  }
}

/** Where gits are held. */
export interface Hold {
  /** Resolves when one has arrived, to its process id. */
  reached(): Promise<number>;
  /** Lets them go on. */
  release(): void;
}

/** The parent of a process; undefined where it is gone. */
export function parentOf(pid: number): number | undefined {
  try {
    // The name in brackets may hold anything.
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
  } catch {
    return undefined;
  }
}

function commandLine(pid: number): string {
  return readProc(pid, 'cmdline').replaceAll('\0', ' ');
}

function environment(pid: number): string {
  return readProc(pid, 'environ');
}

function readProc(pid: number, file: string): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8');
  } catch {
    return '';
  }
}

function cwd(pid: number): string {
  try {
    return readlinkSync(`/proc/${pid}/cwd`);
  } catch {
    return '';
  }
}

function docker(...args: string[]): string {
  return execFileSync('docker', ['-H', `unix://${SOCKET}`, ...args], { encoding: 'utf8' });
}

function lines(text: string): string[] {
  return text.split('\n').filter((line) => line !== '');
}
