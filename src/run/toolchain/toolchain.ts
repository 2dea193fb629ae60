import type { IncomingMessage } from 'node:http';
import type { Duplex, Readable } from 'node:stream';
import type Docker from 'dockerode';
import type { Container } from 'dockerode';
import { pack } from 'tar-stream';
import { DinpError } from '../../domain/errors.ts';
import { canceled } from '../canceled.ts';
import { execStatus } from '../docker/docker-commands.ts';
import { OwnContainers, READ_TIMEOUT_MS, WRITE_TIMEOUT_MS } from '../docker/docker-engine.ts';
import { engineError, statusOf } from '../docker/docker-errors.ts';
import { pump } from '../docker/docker-streams.ts';
import { ToolchainCaches } from './toolchain-cache.ts';
import { CACHE, type ToolchainJob, type ToolchainLimits, toolchainOptions } from './toolchain-options.ts';

/** Whom files in the container belong to. */
export interface Owner {
  uid: number;
  gid: number;
}

/** How a command ended. */
export interface CommandEnd {
  status: number;
  /** Something in the container went over its limit of memory and was killed. */
  outOfMemory: boolean;
}

const DEFAULT_LIMITS: ToolchainLimits = { memoryBytes: 4 * 1024 ** 3, cpus: 2 };
const ROOT: Owner = { uid: 0, gid: 0 };
const MAX_LISTED = 20;
/** Shell's own words only: the image may have no program but sh. */
const LIST_NEAREST = `d=$1
until cd "$d" 2>/dev/null; do d=\${d%/*}; [ -n "$d" ] || d=/; done
echo "$d"
for f in * .[!.]*; do if [ -d "$f" ]; then echo "$f/"; elif [ -e "$f" ] || [ -h "$f" ]; then echo "$f"; fi; done`;

/** How often the kernel killed something for want of memory: cgroup v2, else v1. The engine only tells of the first process. */
const COUNT_KILLS = `for f in /sys/fs/cgroup/memory.events /sys/fs/cgroup/memory/memory.oom_control; do
  [ -e $f ] && while read -r name count; do [ $name = oom_kill ] && echo $count && exit; done < $f
done`;

/** Starts toolchain containers of one server on its Docker Engine. */
export class Toolchains {
  readonly #docker: Docker;
  readonly #serverId: string;
  readonly #limits: ToolchainLimits;
  readonly caches: ToolchainCaches;

  /** @param options.serverId tells what belongs to which of the servers that share an engine */
  constructor(docker: Docker, options: { serverId: string; limits?: ToolchainLimits }) {
    this.#docker = docker;
    this.#serverId = options.serverId;
    this.#limits = options.limits ?? DEFAULT_LIMITS;
    this.caches = new ToolchainCaches(docker, options.serverId);
  }

  /**
   * Starts a container that waits for commands, with the app's cache in it.
   * @returns what must be disposed of, which kills all that runs in it
   * @throws DinpError refused where the image has no /bin/sh; start-failed, unavailable, canceled
   */
  async start(job: ToolchainJob, signal: AbortSignal): Promise<Toolchain> {
    await this.caches.ensure(job.app, job.appId);
    const containers = new OwnContainers(this.#docker, this.#serverId);
    if (signal.aborted) throw canceled(signal);
    const options = toolchainOptions(job, this.#limits, this.#serverId);
    let container: Container;
    try {
      container = await this.#docker.createContainer({
        ...options,
        abortSignal: AbortSignal.timeout(WRITE_TIMEOUT_MS),
      });
    } catch (error) {
      throw engineError(error, 'start-failed', `make a container of ${job.image}`);
    }
    const toolchain = new Toolchain(container, containers, job, signal);
    try {
      await toolchain.begin();
      return toolchain;
    } catch (error) {
      await toolchain[Symbol.asyncDispose]();
      throw error;
    }
  }
}

/** A running container with a toolchain. Its commands and files are those of the user that the image names. */
export class Toolchain implements AsyncDisposable {
  readonly #container: Container;
  readonly #containers: OwnContainers;
  readonly #job: ToolchainJob;
  readonly #signal: AbortSignal;
  #owner = ROOT;
  #stdin: Duplex | undefined;
  #kills = 0;

  constructor(container: Container, containers: OwnContainers, job: ToolchainJob, signal: AbortSignal) {
    this.#container = container;
    this.#containers = containers;
    this.#job = job;
    this.#signal = signal;
  }

  /** Whom the sources are to belong to. */
  get owner(): Owner {
    return this.#owner;
  }

  /** Copies the files of a tar into the container. @param tar names without a slash in front begin at its root */
  async put(tar: Readable): Promise<void> {
    const failure = new AbortController();
    tar.once('error', (error) => failure.abort(error));
    try {
      // The client library does not look after errors of what it sends.
      const abortSignal = AbortSignal.any([this.#signal, failure.signal]);
      await this.#container.putArchive(tar, { path: '/', abortSignal });
    } catch (error) {
      if (failure.signal.aborted && !this.#signal.aborted) throw failure.signal.reason;
      throw this.#problem(error, 'take the sources');
    } finally {
      tar.destroy();
    }
  }

  /**
   * Runs one command with `/bin/sh -ec`.
   * @param folder absolute, where it starts
   * @param onOutput gets stdout and stderr as they come
   */
  async run(line: string, folder: string, onOutput: (chunk: Uint8Array) => void): Promise<CommandEnd> {
    const before = this.#kills;
    const status = await this.#exec(['/bin/sh', '-ec', line], folder, onOutput);
    if (status !== 0) this.#kills = await this.#killsForMemory();
    return { status, outOfMemory: this.#kills > before };
  }

  /**
   * What is at a path, as a tar whose names begin with the last part of the path. A link at its end is followed.
   * @throws DinpError unavailable
   * @returns undefined where there is nothing
   */
  async take(path: string): Promise<Readable | undefined> {
    try {
      const target = await this.#follow(path);
      if (target === undefined) return undefined;
      const stream = await this.#container.getArchive({ path: target, abortSignal: this.#signal });
      return stream as unknown as Readable;
    } catch (error) {
      throw this.#problem(error, `read ${path}`);
    }
  }

  /** The nearest folder above a path that is there, and some of the names in it. */
  async listNearest(path: string): Promise<{ folder: string; names: string[]; more: boolean }> {
    const lines = (await this.#ask(LIST_NEAREST, path)).split('\n').filter((line) => line !== '');
    const [folder = '/', ...names] = lines;
    return { folder, names: names.slice(0, MAX_LISTED), more: names.length > MAX_LISTED };
  }

  async begin(): Promise<void> {
    if ((await this.#find('/bin/sh')) === undefined) {
      throw new DinpError('refused', `The builder image ${this.#job.image} has no /bin/sh to run the scripts with.`, {
        hint: 'Name an image that has a shell and the toolchain, such as maven:3 or golang:1.',
      });
    }
    try {
      // Held open as long as this process lives: its end is the end of the container.
      const stdin = (await this.#container.attach({ hijack: true, stream: true, stdin: true })) as Duplex;
      stdin.on('error', () => {});
      this.#stdin = stdin;
      await this.#container.start({ abortSignal: AbortSignal.timeout(WRITE_TIMEOUT_MS) });
    } catch (error) {
      throw this.#problem(error, `start ${this.#job.image}`);
    }
    this.#owner = await this.#findOwner();
    if (this.#owner.uid !== 0) await this.#giveCache();
  }

  /**
   * Kills what runs in the container and removes it; the cache stays. Where the engine does not answer, the container ends
   * by itself, and what is left of it is swept at the next start.
   */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stdin?.destroy();
    await this.#containers.discard(this.#container.id).catch(() => undefined);
  }

  async #findOwner(): Promise<Owner> {
    const { Config: config } = await this.#container.inspect({ abortSignal: AbortSignal.timeout(READ_TIMEOUT_MS) });
    if (/^(?:|0|root)(?::.*)?$/.test(config.User ?? '')) return ROOT;
    const [uid, gid] = (await this.#ask('id -u; id -g')).trim().split('\n').map(Number);
    if (Number.isInteger(uid) && Number.isInteger(gid)) return { uid: uid!, gid: gid! };
    throw new DinpError(
      'refused',
      `The builder image ${this.#job.image} runs as ${config.User}, a user it does not know.`,
      {
        hint: 'Name an image that runs as root or as a user of its /etc/passwd, and has the program id.',
      },
    );
  }

  /** A new volume belongs to root. */
  async #giveCache(): Promise<void> {
    const tar = pack();
    tar.entry({ name: `${CACHE.slice(1)}/`, type: 'directory', mode: 0o755, ...this.#owner });
    tar.finalize();
    await this.put(tar as unknown as Readable);
  }

  /** Output of a small script of ours. */
  async #ask(script: string, ...args: string[]): Promise<string> {
    const chunks: Uint8Array[] = [];
    await this.#exec(['/bin/sh', '-c', script, 'sh', ...args], '/', (chunk) => chunks.push(chunk));
    return Buffer.concat(chunks).toString('utf8');
  }

  async #exec(command: string[], folder: string, onOutput: (chunk: Uint8Array) => void): Promise<number> {
    const signal = this.#signal;
    try {
      const exec = await this.#container.exec({
        Cmd: command,
        WorkingDir: folder,
        AttachStdout: true,
        AttachStderr: true,
        abortSignal: AbortSignal.any([signal, AbortSignal.timeout(WRITE_TIMEOUT_MS)]),
      });
      const socket = await exec.start({ hijack: true, stdin: false });
      await pump(socket, { stdin: undefined, onStdout: onOutput, onStderr: onOutput, signal });
      return await execStatus(exec, signal);
    } catch (error) {
      throw this.#problem(error, 'run a command in the builder');
    }
  }

  async #killsForMemory(): Promise<number> {
    return Number(await this.#ask(COUNT_KILLS));
  }

  /** Where a path leads, as an absolute path without a link at its end; undefined where there is nothing. */
  async #follow(path: string): Promise<string | undefined> {
    const found = await this.#find(path);
    const target = found?.linkTarget ?? '';
    return target === '' ? found && path : (await this.#find(target)) && target;
  }

  /** The engine resolves links from the container's root. */
  async #find(path: string): Promise<{ linkTarget: string } | undefined> {
    try {
      const abortSignal = AbortSignal.timeout(READ_TIMEOUT_MS);
      const answer = (await this.#container.infoArchive({ path, abortSignal })) as unknown as IncomingMessage;
      answer.resume();
      const header = String(answer.headers['x-docker-container-path-stat']);
      return JSON.parse(Buffer.from(header, 'base64').toString('utf8')) as { linkTarget: string };
    } catch (error) {
      if (statusOf(error) === 404) return undefined;
      throw this.#problem(error, `look for ${path}`);
    }
  }

  #problem(error: unknown, doing: string): DinpError {
    if (this.#signal.aborted) return canceled(this.#signal, error);
    return engineError(error, 'unavailable', doing);
  }
}
