import { DinpError } from '../../domain/errors.ts';
import type { BaseEngine } from '../bases/base-images.ts';
import { type EngineFacts, type EngineVersion, factsOf } from '../engine/engine.ts';
import { EngineStreamError } from '../engine/engine-stream.ts';
import { parseImageName } from '../image-name.ts';
import type { BuildPlace } from './build-place.ts';

/** From this version of its CLI on, docker needs the plugin buildx to build with BuildKit. */
const BUILDX_SINCE = 23;

/** The engine of a build's machine, asked by the docker CLI there. Our registry may have another address on that machine. */
export class CliEngine implements BaseEngine {
  readonly #place: BuildPlace;
  readonly #registry: string;
  readonly #signal: AbortSignal;

  /** @param registry the address by which commits name our registry */
  constructor(place: BuildPlace, registry: string, signal: AbortSignal) {
    this.#place = place;
    this.#registry = registry;
    this.#signal = signal;
  }

  async facts(): Promise<EngineFacts> {
    const said = await this.#place.docker(['version', '--format', '{{json .}}'], this.#signal);
    const { Client: client, Server: server } = parse(said.stdout) as {
      Client?: { Version?: string };
      Server?: EngineVersion;
    };
    if (said.code !== 0 || server == null) {
      throw new DinpError('unavailable', `The Docker Engine of ${this.#place.name} does not answer.`, {
        detail: said.stderr.trim(),
        hint: 'There: systemctl status docker',
      });
    }
    const facts = factsOf(server);
    if (facts.builder === 'classic' || Number.parseInt(client?.Version ?? '0', 10) < BUILDX_SINCE) return facts;
    const { code } = await this.#place.docker(['buildx', 'version'], this.#signal);
    return code === 0 ? facts : { ...facts, builder: 'classic' };
  }

  async findImage(reference: string): Promise<{ id: string; digests: string[] } | undefined> {
    const { code, stdout } = await this.#place.docker(
      ['image', 'inspect', '--format', '{{json .}}', '--', reference],
      this.#signal,
    );
    if (code !== 0) return undefined;
    const { Id, RepoDigests } = parse(stdout) as { Id: string; RepoDigests?: string[] | null };
    return { id: Id, digests: RepoDigests ?? [] };
  }

  /** What is in our registry is pulled by the address that it has there, and gets the name that the commit uses. */
  async pull(reference: string, options: { platform?: string | undefined; signal: AbortSignal }): Promise<void> {
    const { host } = parseImageName(reference);
    const isOurs = host === this.#registry && host !== this.#place.registry;
    const there = isOurs ? `${this.#place.registry}${reference.slice(host.length)}` : reference;
    const platform = options.platform ? [`--platform=${options.platform}`] : [];
    await this.#run(['pull', '--quiet', ...platform, '--', there], options.signal);
    if (isOurs && !reference.includes('@')) await this.#run(['tag', there, reference], options.signal);
  }

  async #run(args: string[], signal: AbortSignal): Promise<void> {
    const { code, stderr } = await this.#place.docker(args, signal);
    if (code !== 0) throw new EngineStreamError(stderr.trim().replace(/^Error response from daemon: /, ''));
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return {};
  }
}
