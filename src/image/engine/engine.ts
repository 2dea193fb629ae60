import { randomBytes } from 'node:crypto';
import type { Readable } from 'node:stream';
import type Docker from 'dockerode';
import { DinpError } from '../../domain/errors.ts';
import { canceled } from '../abort.ts';
import type { Credentials } from '../registry/registry-auth.ts';
import type { BuildProgress, StepFailure } from './build-progress.ts';
import { BuildKitProgress, ClassicProgress } from './build-progress.ts';
import type { EngineRecord } from './engine-stream.ts';
import { brokenOff, EngineStreamError, engineRecords } from './engine-stream.ts';
import type { BuildOutput } from './output.ts';

/** How an image is built: BuildKit (parallel stages, cache mounts) or the classic builder (one step after the other). */
export type BuilderKind = 'buildkit' | 'classic';

export interface EngineFacts {
  /** What `auto` chooses. */
  builder: BuilderKind;
  /** `linux/amd64`. */
  platform: string;
}

export interface EngineBuild {
  context: Readable;
  /** Path within the context. */
  dockerfile: string;
  builder: BuilderKind;
  stage: string | undefined;
  args: Record<string, string>;
  labels: Record<string, string>;
  noCache: boolean;
  /** Of the containers of RUN; the classic builder keeps to them, BuildKit has no such limits per build. */
  memoryBytes: number;
  cpus: number;
  /** Credentials of private bases by registry. */
  credentials: Record<string, Credentials>;
  signal: AbortSignal;
}

/** A build that the engine itself called failed. */
export class EngineBuildError extends Error {
  override readonly name = 'EngineBuildError';
  readonly failure: StepFailure | undefined;

  constructor(message: string, failure: StepFailure | undefined) {
    super(message);
    this.failure = failure;
  }
}

/** What an engine says of itself at `/version`, as far as it is read. */
export interface EngineVersion {
  Os?: string;
  Arch?: string;
  ApiVersion?: string;
  Components?: { Name?: string }[];
}

/** Of the containers of a build, where nothing else is said. */
export const DEFAULT_BUILD_LIMITS = { memoryBytes: 4 * 1024 ** 3, cpus: 2 };

/** How long a small question may take, milliseconds. */
const ANSWER_TIMEOUT = 30_000;
const CPU_PERIOD = 100_000;

/** The image side of a Docker Engine. Every method may throw DinpError unavailable when the engine does not answer. */
export class ImageEngine {
  readonly #docker: Docker;

  constructor(docker: Docker) {
    this.#docker = docker;
  }

  /** What the engine is and can do. */
  async facts(): Promise<EngineFacts> {
    return factsOf((await this.#ask('GET', '/version', {})) as EngineVersion);
  }

  /** Id and repository digests of an image that the engine has; undefined where it has not. */
  async findImage(reference: string): Promise<{ id: string; digests: string[] } | undefined> {
    const found = (await this.#ask('GET', `/images/${reference}/json`, { 404: true })) as {
      Id?: string;
      RepoDigests?: string[] | null;
    };
    return found.Id === undefined ? undefined : { id: found.Id, digests: found.RepoDigests ?? [] };
  }

  /** Ids of the images that have all of these labels, newest first. */
  async findByLabels(labels: Record<string, string>): Promise<string[]> {
    const filters = JSON.stringify({ label: Object.entries(labels).map(([name, value]) => `${name}=${value}`) });
    const found = (await this.#ask('GET', `/images/json?filters=${encodeURIComponent(filters)}`, {})) as {
      Id: string;
      Created: number;
    }[];
    return found.sort((a, b) => b.Created - a.Created).map((image) => image.Id);
  }

  /** Gives an image a name. */
  async tag(id: string, repository: string, tag: string): Promise<void> {
    await this.#ask(
      'POST',
      `/images/${id}/tag?repo=${encodeURIComponent(repository)}&tag=${encodeURIComponent(tag)}`,
      {},
    );
  }

  /** Fetches an image. @throws EngineStreamError with the engine's words where it cannot */
  async pull(
    reference: string,
    options: { platform?: string | undefined; credentials?: Credentials | undefined; signal: AbortSignal },
  ): Promise<void> {
    const query = new URLSearchParams({
      fromImage: reference,
      ...(options.platform ? { platform: options.platform } : {}),
    });
    const stream = await this.#open(`/images/create?${query}`, options.signal, authHeaders(options.credentials));
    for await (const _record of this.#records(stream, options.signal)) {
      // What is fetched is not shown layer by layer; errors throw.
    }
    if ((await this.findImage(reference)) === undefined) throw brokenOff();
  }

  /**
   * Pushes a tagged image.
   * @param onRecord sees the progress
   * @returns the digest of its manifest
   * @throws EngineStreamError with the engine's words
   */
  async push(
    image: { repository: string; tag: string; credentials: Credentials | undefined },
    onRecord: (record: EngineRecord) => void,
    signal: AbortSignal,
  ): Promise<string> {
    const path = `/images/${image.repository}/push?tag=${encodeURIComponent(image.tag)}`;
    // The engine wants the header even where there is nothing to say.
    const headers = authHeaders(image.credentials ?? { username: '', password: '' });
    let digest: string | undefined;
    for await (const record of this.#records(await this.#open(path, signal, headers), signal)) {
      onRecord(record);
      const aux = record.aux as { Digest?: unknown } | undefined;
      if (typeof aux?.Digest === 'string') digest = aux.Digest;
      // An engine with containerd's image store says it in words.
      else digest ??= /digest: (sha256:[0-9a-f]{64})/.exec(record.status ?? '')?.[1];
    }
    if (digest === undefined) throw brokenOff();
    return digest;
  }

  /**
   * Builds an image; when the signal aborts, the engine is told to stop and it is waited for.
   * @returns its id
   * @throws EngineBuildError, DinpError unavailable or canceled
   */
  async build(build: EngineBuild, output: BuildOutput): Promise<string> {
    const id = `dinp-${randomBytes(12).toString('hex')}`;
    const progress: BuildProgress =
      build.builder === 'buildkit'
        ? new BuildKitProgress(output)
        : new ClassicProgress(output, Object.keys(build.labels).length);
    const stop = (): void => {
      this.#ask('POST', `/build/cancel?id=${id}`, { 404: true }).catch(() => {});
    };
    build.signal.addEventListener('abort', stop, { once: true });
    try {
      const stream = await this.#open(
        `/build?${buildQuery(build, id)}`,
        build.signal,
        {
          'X-Registry-Config': headerJson(build.credentials),
        },
        build.context,
      );
      for await (const record of this.#records(stream, build.signal)) progress.take(record);
      progress.finish();
    } catch (error) {
      progress.finish();
      if (!(error instanceof EngineStreamError)) throw error;
      throw new EngineBuildError(error.message, progress.failure);
    } finally {
      build.signal.removeEventListener('abort', stop);
      build.context.destroy();
    }
    if (progress.imageId === undefined) throw brokenOff();
    return progress.imageId;
  }

  /** The records of a stream; an abort ends the reading at once. */
  async *#records(stream: Readable, signal: AbortSignal): AsyncGenerator<EngineRecord> {
    const stop = (): void => {
      stream.destroy(canceled(signal));
    };
    if (signal.aborted) stop();
    signal.addEventListener('abort', stop, { once: true });
    try {
      yield* engineRecords(stream);
    } catch (error) {
      throw signal.aborted ? canceled(signal) : error;
    } finally {
      signal.removeEventListener('abort', stop);
      stream.destroy();
    }
    if (signal.aborted) throw canceled(signal);
  }

  /** POST with an answer that is a stream. */
  #open(path: string, signal: AbortSignal, headers: Record<string, string>, body?: Readable): Promise<Readable> {
    if (signal.aborted) return Promise.reject(canceled(signal));
    return new Promise((resolve, reject) => {
      let bodyError: Error | undefined;
      body?.once('error', (error) => {
        bodyError = error;
      });
      const options = {
        path: dialPath(path),
        method: 'POST',
        isStream: true,
        abortSignal: signal,
        headers: { ...headers, ...(body === undefined ? {} : { 'Content-Type': 'application/x-tar' }) },
        ...(body === undefined ? {} : { file: body }),
        statusCodes: { 200: true },
      };
      this.#docker.modem.dial(options as never, (error: unknown, stream: unknown) => {
        if (error === null || error === undefined) resolve(stream as Readable);
        else if (signal.aborted) reject(canceled(signal));
        else reject(bodyError ?? engineProblem(error));
      });
    });
  }

  /** A small question with a JSON answer; `allowed` statuses beyond success give what they hold. */
  #ask(method: 'GET' | 'POST', path: string, allowed: Record<number, true>): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const options = {
        path: dialPath(path),
        method,
        abortSignal: AbortSignal.timeout(ANSWER_TIMEOUT),
        statusCodes: { 200: true, 201: true, 204: true, ...allowed },
      };
      this.#docker.modem.dial(options as never, (error: unknown, answer: unknown) => {
        if (error === null || error === undefined) resolve(answer);
        else reject(engineProblem(error));
      });
    });
  }
}

/** What an engine can do, by its version. */
export function factsOf(version: EngineVersion): EngineFacts {
  const { Os = 'linux', Arch = 'amd64', ApiVersion = '1.0', Components = [] } = version;
  // Engines since 18.09 have BuildKit on Linux; Podman's imitation of the API has not.
  const minor = Number(ApiVersion.split('.')[1] ?? 0);
  const podman = Components.some((component) => /podman/i.test(component.Name ?? ''));
  return { builder: Os === 'linux' && minor >= 39 && !podman ? 'buildkit' : 'classic', platform: `${Os}/${Arch}` };
}

/** docker-modem takes the last character off a path with a query, where it expects to add one of its own. */
function dialPath(path: string): string {
  return path.includes('?') ? `${path}&` : path;
}

function buildQuery(build: EngineBuild, id: string): URLSearchParams {
  const query = new URLSearchParams({
    dockerfile: build.dockerfile,
    labels: JSON.stringify(build.labels),
    buildargs: JSON.stringify(build.args),
    rm: '1',
    forcerm: '1',
    memory: String(build.memoryBytes),
    memswap: String(build.memoryBytes),
    cpuperiod: String(CPU_PERIOD),
    cpuquota: String(Math.round(build.cpus * CPU_PERIOD)),
  });
  if (build.noCache) query.set('nocache', '1');
  if (build.stage !== undefined) query.set('target', build.stage);
  if (build.builder === 'buildkit') {
    query.set('version', '2');
    query.set('buildid', id);
  } else {
    query.set('version', '1');
  }
  return query;
}

/** The engine reads base64 of RFC 4648, section 5, with its padding; Node's base64url leaves that out. */
function headerJson(value: object): string {
  return Buffer.from(JSON.stringify(value)).toString('base64').replaceAll('+', '-').replaceAll('/', '_');
}

function authHeaders(credentials: Credentials | undefined): Record<string, string> {
  return credentials === undefined ? {} : { 'X-Registry-Auth': headerJson(credentials) };
}

/** What to throw for a failed request to the engine: its own words where it answered, else that it does not. */
function engineProblem(error: unknown): Error {
  const { statusCode, json, code, message } = error as {
    statusCode?: number;
    json?: { message?: string };
    code?: string;
    message?: string;
  };
  if (statusCode !== undefined) {
    const said = json?.message ?? (message ?? '').replace(/^\(HTTP code \d+\) [^-]* - /, '').trim();
    return new EngineStreamError(said);
  }
  const hint =
    code === 'EACCES'
      ? 'The user that runs dinp must be in the group docker.'
      : 'Check that it runs: docker version (start it with systemctl start docker)';
  const why = {
    ECONNREFUSED: 'nothing listens at its socket',
    ENOENT: 'its socket is not there',
    EACCES: 'its socket may not be opened',
  }[code ?? ''];
  if (why !== undefined)
    return new DinpError('unavailable', `The Docker Engine does not answer: ${why}.`, { hint, cause: error });
  return new DinpError('unavailable', 'The Docker Engine does not answer, or broke off in the middle.', {
    hint,
    cause: error,
  });
}
