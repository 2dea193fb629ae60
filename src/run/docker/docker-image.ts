import type Docker from 'dockerode';
import { DinpError } from '../../domain/errors.ts';
import { formatImageRef, type ImageRef } from '../../domain/image-ref.ts';
import { canceled } from '../canceled.ts';
import { engineError, statusOf } from './docker-errors.ts';

/** Credentials for a registry. */
export interface RegistryLogin {
  username: string;
  password: string;
}

/** The login for a repository (`registry.example.com/blog`), undefined where it needs none. */
export type FindLogin = (repository: string) => RegistryLogin | undefined | Promise<RegistryLogin | undefined>;

export interface PullOptions {
  onProgress(line: string): void;
  signal: AbortSignal;
}

/** One line of the engine's answer to a pull. */
interface PullEvent {
  id?: string;
  status?: string;
  progressDetail?: { current?: number; total?: number };
  error?: string;
  errorDetail?: { message?: string };
}

const PROGRESS_EVERY_MS = 2_000;

/** Makes an image present by its digest; one that is there already is not asked for again. */
export class ImagePuller {
  readonly #docker: Docker;
  readonly #findLogin: FindLogin;
  /** The last pull of each image: instances that start together share one. */
  readonly #queues = new Map<string, Promise<void>>();

  constructor(docker: Docker, findLogin: FindLogin) {
    this.#docker = docker;
    this.#findLogin = findLogin;
  }

  /** @throws DinpError start-failed (not in the registry, login refused), unavailable (no engine), canceled */
  async ensure(image: ImageRef, options: PullOptions): Promise<void> {
    const reference = formatImageRef(image);
    const before = this.#queues.get(reference);
    const run = (async () => {
      await before?.catch(() => undefined);
      if (!(await this.#isPresent(reference))) await this.#pull(image, options);
    })();
    this.#queues.set(reference, run);
    try {
      await run;
    } finally {
      if (this.#queues.get(reference) === run) this.#queues.delete(reference);
    }
  }

  async #isPresent(reference: string): Promise<boolean> {
    try {
      await this.#docker.getImage(reference).inspect();
      return true;
    } catch (error) {
      if (statusOf(error) === 404) return false;
      throw engineError(error, 'start-failed', `look for image ${reference}`);
    }
  }

  async #pull(image: ImageRef, { onProgress, signal }: PullOptions): Promise<void> {
    const reference = formatImageRef(image);
    const login = await this.#findLogin(image.repository);
    const progress = new PullProgress(onProgress);
    try {
      signal.throwIfAborted();
      const serveraddress = image.repository.split('/')[0];
      const stream = await this.#docker.createImage({
        fromImage: image.repository,
        tag: image.digest,
        abortSignal: signal,
        ...(login === undefined ? {} : { authconfig: { ...login, serveraddress } }),
      });
      for await (const event of jsonLines(stream as AsyncIterable<Buffer>)) {
        const problem = event.errorDetail?.message ?? event.error;
        if (problem !== undefined) throw new Error(problem);
        progress.add(event);
      }
    } catch (error) {
      if (signal.aborted) throw canceled(signal, error);
      throw pullError(error, reference);
    }
    progress.end();
  }
}

function pullError(error: unknown, reference: string): DinpError {
  const wrapped = engineError(error, 'start-failed', `pull ${reference}`);
  if (wrapped.code === 'unavailable') return wrapped;
  const text = wrapped.message;
  const hint = pullHint(text);
  return new DinpError('start-failed', text, { ...(hint === undefined ? {} : { hint }), cause: error });
}

/** What to do about an image that an engine could not pull, by what it said; undefined where that tells nothing. */
export function pullHint(text: string): string | undefined {
  if (/unauthorized|denied|authentication|no basic auth/i.test(text))
    return 'The registry refused the login: check the credentials of this registry in the configuration.';
  if (/manifest unknown|not found/i.test(text))
    return 'The image is no longer in the registry: deploy the commit again.';
  // All that a swarm says of an image that its node could not pull.
  if (/No such image/.test(text))
    return 'The node could not pull it; on it journalctl -u docker says why. Nodes that are hosts of dinp: dinp hosts check';
  if (/connection refused|no such host|i\/o timeout|dial tcp/i.test(text))
    return 'The engine cannot reach the registry: is it running, and is its address right as seen from there?';
  return undefined;
}

/** Parses one JSON value a line; a line that a chunk's border cuts is put together. */
async function* jsonLines(stream: AsyncIterable<Buffer>): AsyncGenerator<PullEvent> {
  const decoder = new TextDecoder();
  let rest = '';
  for await (const chunk of stream) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split('\n');
    rest = lines.pop()!;
    for (const line of lines) if (line.trim() !== '') yield JSON.parse(line) as PullEvent;
  }
  if (rest.trim() !== '') yield JSON.parse(rest) as PullEvent;
}

/** Adds up what the layers report, and says it now and then. */
class PullProgress {
  readonly #say: (line: string) => void;
  readonly #layers = new Map<string, { current: number; total: number }>();
  readonly #startedAt = performance.now();
  #saidAt = performance.now();

  constructor(say: (line: string) => void) {
    this.#say = say;
    say('pulling the image');
  }

  add(event: PullEvent): void {
    const { current, total } = event.progressDetail ?? {};
    if (event.id === undefined || event.status !== 'Downloading' || current === undefined || total === undefined)
      return;
    this.#layers.set(event.id, { current, total });
    if (performance.now() - this.#saidAt < PROGRESS_EVERY_MS) return;
    this.#saidAt = performance.now();
    const layers = [...this.#layers.values()];
    const sum = (key: 'current' | 'total') => layers.reduce((bytes, layer) => bytes + layer[key], 0);
    this.#say(`pulled ${megabytes(sum('current'))} of ${megabytes(sum('total'))} MB so far`);
  }

  end(): void {
    this.#say(`pulled the image (${((performance.now() - this.#startedAt) / 1000).toFixed(1)} s)`);
  }
}

function megabytes(bytes: number): string {
  return (bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0);
}
