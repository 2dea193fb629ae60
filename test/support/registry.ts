import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

/** A real registry on a loopback port, with a folder of its own. */
export interface TestRegistry extends AsyncDisposable {
  /** `127.0.0.1:41234`. */
  address: string;
  /** Folder of its data. */
  root: string;
  /** Ends the process; the data stays until it is disposed. */
  stop(): Promise<void>;
  /** Starts it again at the same address. */
  start(): Promise<void>;
}

/** bcrypt of "secret", as `htpasswd -nbB pusher secret` makes it. */
const PUSHER = 'pusher:$2b$05$adcEaY1MQBnM.XyL8z7eduoghNgBBmSyHJ1N8atOzZyo4UEYGE2ZG';

/**
 * Starts Debian's docker-registry. With `password` it lets only `pusher` with the password `secret` in.
 * @param options.port where it listens; any free port if not given
 * @param options.fill fills the folder of its data before it starts
 */
export async function startRegistry(
  options: { password?: boolean; port?: number; fill?: (root: string) => Promise<void> } = {},
): Promise<TestRegistry> {
  const folder = await mkdtemp(join(tmpdir(), 'dinp-registry-'));
  const address = `127.0.0.1:${options.port ?? (await freePort())}`;
  const config = join(folder, 'config.yml');
  const passwords = join(folder, 'htpasswd');
  const root = join(folder, 'data');
  const auth = options.password ? `auth: {htpasswd: {realm: test, path: ${passwords}}}\n` : '';
  await writeFile(passwords, `${PUSHER}\n`);
  await writeFile(
    config,
    `version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: ${root}}, delete: {enabled: true}}\nhttp: {addr: ${address}}\n${auth}`,
  );
  await options.fill?.(root);
  let stop = await run(config, address);
  return {
    address,
    root,
    stop: () => stop(),
    async start() {
      stop = await run(config, address);
    },
    async [Symbol.asyncDispose]() {
      await stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

async function run(config: string, address: string): Promise<() => Promise<void>> {
  const child = spawn('/usr/bin/docker-registry', ['serve', config], { stdio: ['ignore', 'ignore', 'ignore'] });
  const ended = once(child, 'exit');
  for (let tries = 0; ; tries++) {
    const answer = await fetch(`http://${address}/v2/`).catch(() => undefined);
    if (answer !== undefined) break;
    if (tries > 100 || child.exitCode !== null) throw new Error(`docker-registry does not answer at ${address}`);
    await delay(50);
  }
  return async () => {
    child.kill('SIGTERM');
    await ended;
  };
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
