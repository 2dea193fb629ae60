import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { connect, createServer } from 'node:net';
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

export interface TestRegistryOptions {
  /** Lets only `pusher` with the password `secret` in. */
  password?: boolean;
  /** Takes only tokens of a server: its address, and the certificate (PEM file) that signs them. */
  tokens?: { realm: string; service: string; issuer: string; certificate: string };
  /** Speaks TLS, with these PEM files. */
  tls?: { certificate: string; key: string };
  /** Does not let manifests be deleted, as registries come by default. */
  keepsAll?: boolean;
  /** Where it listens; any free port if not given. */
  port?: number;
  /** Fills the folder of its data before it starts. */
  fill?: (root: string) => Promise<void>;
}

/** Starts Debian's docker-registry. */
export async function startRegistry(options: TestRegistryOptions = {}): Promise<TestRegistry> {
  const folder = await mkdtemp(join(tmpdir(), 'dinp-registry-'));
  const address = `127.0.0.1:${options.port ?? (await freePort())}`;
  const config = join(folder, 'config.yml');
  const passwords = join(folder, 'htpasswd');
  const root = join(folder, 'data');
  const { tokens, tls } = options;
  const auth = options.password ? `auth: {htpasswd: {realm: test, path: ${passwords}}}\n` : '';
  const token = tokens
    ? `auth: {token: {realm: "${tokens.realm}", service: ${tokens.service}, issuer: ${tokens.issuer}, rootcertbundle: ${tokens.certificate}}}\n`
    : '';
  const secure = tls ? `, tls: {certificate: ${tls.certificate}, key: ${tls.key}}` : '';
  await writeFile(passwords, `${PUSHER}\n`);
  await writeFile(
    config,
    `version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: ${root}}, delete: {enabled: ${options.keepsAll !== true}}}\nhttp: {addr: ${address}${secure}}\n${auth}${token}`,
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
    if (await listens(address)) break;
    if (tries > 100 || child.exitCode !== null) throw new Error(`docker-registry does not answer at ${address}`);
    await delay(50);
  }
  return async () => {
    child.kill('SIGTERM');
    await ended;
  };
}

function listens(address: string): Promise<boolean> {
  const [host, port] = address.split(':');
  return new Promise((resolve) => {
    const socket = connect(Number(port), host)
      .once('connect', () => resolve(true))
      .once('error', () => resolve(false));
    socket.once('connect', () => socket.destroy());
  });
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
