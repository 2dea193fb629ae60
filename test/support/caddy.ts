import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** A Caddy of our own on the loopback address. */
export interface Caddy extends AsyncDisposable {
  /** URL of its admin API. */
  admin: string;
  /** The same as a unix socket, where options ask for it. */
  socketPath: string;
  /** Where it keeps certificates and authorities. */
  data: string;
  /** Process id. */
  pid(): number;
  /** Ends it and starts it again the way a service manager would, with `--resume`. */
  restart(): Promise<void>;
  /** The same, with a folder that was lost: it knows no app any more. */
  restartAnew(): Promise<void>;
  stop(): Promise<void>;
  log(): Promise<string>;
}

/**
 * Starts Caddy with its data in a folder of its own.
 * @param options.config what it starts with beside the admin address; without it Caddy knows no app at all
 * @param options.program another release of Caddy than the one on PATH
 * @param options.port where its admin API listens; any free port if not given
 * @param options.socket its admin API listens on a unix socket instead
 */
export async function startCaddy(
  options: { config?: object; program?: string; port?: number; socket?: boolean } = {},
): Promise<Caddy> {
  const folder = await mkdtemp(join(tmpdir(), 'dinp-caddy-'));
  const port = options.port ?? (await freePorts(1))[0]!;
  const admin = `http://127.0.0.1:${port}`;
  const config = join(folder, 'caddy.json');
  const log = join(folder, 'log');
  const socketPath = join(folder, 'admin.sock');
  const listen = options.socket ? `unix/${socketPath}` : `127.0.0.1:${port}`;
  await writeFile(config, JSON.stringify({ admin: { listen }, ...options.config }));
  const answers = options.socket ? async () => existsSync(socketPath) : () => answersAt(admin);

  let pid = 0;
  async function run(): Promise<() => Promise<void>> {
    const script = 'exec "$0" run --resume --config "$1" 2>> "$2"';
    const env = { ...process.env, XDG_CONFIG_HOME: folder, XDG_DATA_HOME: folder, HOME: folder };
    const server = spawn('sh', ['-c', script, options.program ?? 'caddy', config, log], { stdio: 'ignore', env });
    const exited = new Promise<void>((resolve) => server.once('exit', () => resolve()));
    pid = server.pid!;
    for (let waited = 0; !(await answers()); waited += 25) {
      if (server.exitCode !== null || waited > 20_000) throw new Error(`caddy: ${await readFile(log, 'utf8')}`);
      await sleep(25);
    }
    return async () => {
      server.kill('SIGTERM');
      await exited;
    };
  }

  let end = await run();
  return {
    admin,
    socketPath,
    data: join(folder, 'caddy'),
    pid: () => pid,
    log: () => readFile(log, 'utf8'),
    async restart() {
      await end();
      end = await run();
    },
    async restartAnew() {
      await end();
      await rm(join(folder, 'caddy'), { recursive: true, force: true });
      end = await run();
    },
    stop: () => end(),
    async [Symbol.asyncDispose]() {
      await end();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** Different ports of the loopback address that are free now. */
export async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer().listen(0, '127.0.0.1'));
  await Promise.all(servers.map((server) => new Promise((resolve) => server.once('listening', resolve))));
  const ports = servers.map((server) => (server.address() as { port: number }).port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}

async function answersAt(admin: string): Promise<boolean> {
  try {
    return (await fetch(`${admin}/config/`)).ok;
  } catch {
    return false;
  }
}
