import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { text } from 'node:stream/consumers';
import Docker from 'dockerode';
import { type Pack, pack } from 'tar-stream';
import type { ImageRef } from '../../../src/domain/image-ref.ts';
import { type InstanceSpec, instanceName } from '../../../src/domain/instance.ts';
import { DEFAULT_HEALTH } from '../../../src/domain/process.ts';
import type { FindLogin } from '../../../src/run/docker/docker-image.ts';
import { DockerTarget } from '../../../src/run/docker/docker-target.ts';
import type { ExecStreams } from '../../../src/run/target.ts';
import { startRegistry } from '../../support/registry.ts';

/** A registry of our own with a busybox image in it, and a target with a server id of its own. */
export interface Engine extends AsyncDisposable {
  docker: Docker;
  target: DockerTarget;
  serverId: string;
  image: ImageRef;
  /** An image made of the busybox one with other settings, `HEALTHCHECK …`. */
  derive(changes: string[]): Promise<ImageRef>;
  /** An instance that runs a shell script; app names are its own, so tests may run side by side. */
  spec(script: string, changes?: Partial<InstanceSpec>): Promise<InstanceSpec>;
}

/**
 * Starts what the tests need; disposing removes all containers, volumes and images of it.
 * @param options.login how the target finds its login to the registry, which then asks for one (pusher, secret)
 */
export async function startEngine(options: { login?: FindLogin } = {}): Promise<Engine> {
  const docker = new Docker();
  const serverId = `t-${randomBytes(6).toString('hex')}`;
  const registry = await startRegistry({ password: options.login !== undefined });
  const tags: string[] = [];
  const images: ImageRef[] = [];

  const publish = async (changes: string[]): Promise<ImageRef> => {
    const tag = `t${tags.length}`;
    const repository = `${registry.address}/${serverId}`;
    await drain(
      await docker.importImage((await busyboxTar()) as unknown as NodeJS.ReadableStream, {
        repo: repository,
        tag,
        changes,
      }),
    );
    tags.push(`${repository}:${tag}`);
    const answer = await drain(
      await docker
        .getImage(`${repository}:${tag}`)
        .push({ tag, authconfig: { username: 'pusher', password: 'secret' } }),
    );
    const digest = /"Digest":"(sha256:[0-9a-f]{64})"/.exec(answer)?.[1];
    if (digest === undefined) throw new Error(`push failed: ${answer}`);
    const image = { repository, digest };
    images.push(image);
    return image;
  };
  const target = new DockerTarget(docker, { serverId, findLogin: options.login ?? (() => undefined) });
  const image = await publish(['CMD ["sleep", "1000"]']);
  return {
    docker,
    target,
    serverId,
    image,
    derive: publish,
    spec: (script, changes = {}) => shellSpec(image, script, changes),
    async [Symbol.asyncDispose]() {
      const left = await docker.listContainers({ all: true, filters: { label: [`dinp.server=${serverId}`] } });
      await Promise.all(
        left.map(({ Id }) =>
          docker
            .getContainer(Id)
            .remove({ force: true, v: true })
            .catch(() => {}),
        ),
      );
      const volumes = await docker.listVolumes({ filters: { label: [`dinp.server=${serverId}`] } });
      await Promise.all(
        (volumes.Volumes ?? []).map(({ Name }) =>
          docker
            .getVolume(Name)
            .remove()
            .catch(() => {}),
        ),
      );
      for (const { repository, digest } of images) {
        await docker
          .getImage(`${repository}@${digest}`)
          .remove({ force: true })
          .catch(() => {});
      }
      for (const tag of tags)
        await docker
          .getImage(tag)
          .remove({ force: true })
          .catch(() => {});
      await registry[Symbol.asyncDispose]();
    },
  };
}

async function shellSpec(image: ImageRef, script: string, changes: Partial<InstanceSpec>): Promise<InstanceSpec> {
  const app = changes.app ?? `t-${randomBytes(4).toString('hex')}`;
  const index = changes.index ?? 1;
  return {
    name: instanceName(app, app, 'web', 1, index),
    app,
    release: 1,
    service: app,
    process: 'web',
    index,
    image,
    command: ['sh', '-c', script],
    env: {},
    secrets: {},
    memoryBytes: 64 * 1024 * 1024,
    port: undefined,
    volumes: {},
    health: DEFAULT_HEALTH,
    stopMs: 2_000,
    ...changes,
  };
}

/** A port of the loopback address that is free now. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** Streams that collect what a command writes. */
export function collect(options: { stdin?: AsyncIterable<Uint8Array>; signal?: AbortSignal } = {}) {
  const stdout: Uint8Array[] = [];
  const stderr: Uint8Array[] = [];
  const streams: ExecStreams = {
    stdin: options.stdin,
    onStdout: (chunk) => void stdout.push(Buffer.from(chunk)),
    onStderr: (chunk) => void stderr.push(Buffer.from(chunk)),
    signal: options.signal ?? new AbortController().signal,
  };
  return { streams, stdout: () => Buffer.concat(stdout).toString(), stderr: () => Buffer.concat(stderr).toString() };
}

export const quiet = { onProgress: () => undefined, signal: new AbortController().signal };

async function busyboxTar(): Promise<Pack> {
  const tar = pack();
  for (const name of ['bin', 'etc', 'tmp', 'www'])
    tar.entry({ name, type: 'directory', mode: name === 'tmp' ? 0o1777 : 0o755 });
  tar.entry({ name: 'bin/busybox', mode: 0o755 }, await readFile('/bin/busybox'));
  for (const applet of [
    'sh',
    'cat',
    'sleep',
    'httpd',
    'mkdir',
    'chmod',
    'printf',
    'echo',
    'id',
    'seq',
    'yes',
    'head',
    'test',
    'touch',
    'awk',
    'wc',
  ]) {
    tar.entry({ name: `bin/${applet}`, type: 'symlink', linkname: 'busybox' });
  }
  tar.entry({ name: 'etc/passwd' }, 'root:x:0:0:root:/:/bin/sh\n');
  tar.entry({ name: 'www/index.html' }, 'hello from the test\n');
  tar.finalize();
  return tar;
}

async function drain(stream: NodeJS.ReadableStream): Promise<string> {
  return await text(stream);
}
