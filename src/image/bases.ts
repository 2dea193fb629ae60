import { DinpError } from '../domain/errors.ts';
import { nearest } from '../domain/names.ts';
import type { BaseFacts } from '../domain/plan.ts';
import { writeBaseImage } from './base-image.ts';
import type { BaseEntry } from './base-recipe.ts';
import { readCatalogue } from './base-recipe.ts';
import { readImageConfig } from './image-config.ts';
import type { ImageName } from './image-name.ts';
import { formatImageName, parseImageName } from './image-name.ts';
import type { Registries } from './registries.ts';
import type { RegistryClient } from './registry.ts';
import { missingTool, rootfs } from './rootfs.ts';

export interface BaseCatalogueOptions {
  registries: Registries;
  /** The operator's own catalogue, read over the built-in one. */
  file?: string | undefined;
  /** Docker's name of the hosts' architecture; default: this machine's. */
  architecture?: string | undefined;
}

/** One base as it is catalogued. */
export interface BaseInfo {
  name: string;
  /** Full reference, `127.0.0.1:5000/base/static:1`. */
  image: string;
  for: string[];
  /** Folder that artifacts are laid into. */
  into: string | undefined;
  port: number | undefined;
  /** Whether it can be built from Debian packages. */
  buildable: boolean;
}

/** What the registry has of a base. */
export interface BaseState extends BaseInfo {
  /** With host, without tag. */
  repository: string;
  /** undefined where it is missing. */
  digest: string | undefined;
  /** Why it cannot be used; undefined where it can. */
  problem: string | undefined;
}

const ARCHITECTURES: Record<string, string> = {
  x64: 'amd64',
  arm64: 'arm64',
  arm: 'arm',
  ia32: '386',
  ppc64: 'ppc64le',
  s390x: 's390x',
  riscv64: 'riscv64',
};
/** Where Docker and Debian call an architecture differently. */
const DEBIAN: Record<string, string> = { '386': 'i386', arm: 'armhf', ppc64le: 'ppc64el' };

/** The operator's catalogue of bases, and what the registry has of it. */
export class BaseCatalogue {
  readonly #registries: Registries;
  readonly #entries: Map<string, BaseEntry>;
  readonly #architecture: string;
  /** Builds of one base follow each other. */
  readonly #busy = new Map<string, Promise<unknown>>();

  /** @throws DinpError config where the operator's file is wrong */
  constructor(options: BaseCatalogueOptions) {
    this.#registries = options.registries;
    this.#entries = readCatalogue(options.file);
    this.#architecture = options.architecture ?? ARCHITECTURES[process.arch] ?? process.arch;
  }

  /** All bases, by name. */
  list(): BaseInfo[] {
    return [...this.#entries.keys()].sort().map((name) => this.#info(name));
  }

  /** What planning needs to know of a base; undefined for one that is not catalogued. */
  facts(name: string): BaseFacts | undefined {
    const entry = this.#entries.get(name);
    return (
      entry && {
        into: entry.into,
        shell: entry.shell,
        for: entry.for,
        when: entry.when,
        usable: entry.build !== undefined,
      }
    );
  }

  /** The base whose image that is, if one is. @param image full reference */
  nameOf(image: string): string | undefined {
    return [...this.#entries.keys()].find((name) => formatImageName(this.#imageName(name)) === image);
  }

  /** Looks whether the registry has a base, for the right architecture. @throws DinpError not-found, unavailable, denied */
  async check(name: string, signal?: AbortSignal): Promise<BaseState> {
    const info = this.#info(name);
    const image = this.#imageName(name);
    const state = { ...info, repository: `${image.host}/${image.repository}` };
    const registry = this.#registry(image);
    const reference = image.digest ?? image.tag ?? 'latest';
    const head = await registry.findManifest(image.repository, reference, signal);
    if (head === undefined) return { ...state, digest: undefined, problem: `${info.image} is not in the registry` };
    const config = await readImageConfig(
      registry,
      image.repository,
      head.digest,
      `linux/${this.#architecture}`,
      signal,
    );
    const wrong = config === undefined || config.architecture !== this.#architecture;
    return {
      ...state,
      digest: head.digest,
      problem: wrong ? `${info.image} is not for ${this.#architecture}` : undefined,
    };
  }

  /**
   * Builds a base from Debian's packages and puts it into the registry. Someone else's build of it that is under way is waited for first;
   * the same packages give the same digest.
   * @param onOutput gets the tools' lines
   * @throws DinpError not-found, refused where it has no recipe, unavailable where a tool is missing, build-failed, canceled
   */
  async build(name: string, onOutput: (text: string) => void, signal: AbortSignal): Promise<{ digest: string }> {
    const entry = this.#entry(name);
    const recipe = entry.build;
    if (recipe === undefined) {
      throw new DinpError('refused', `The base ${name} has no recipe; it comes from ${entry.from ?? entry.image}.`);
    }
    const missing = await missingTool(recipe);
    if (missing !== undefined)
      throw new DinpError(
        'unavailable',
        `Building the base ${name} needs ${missing.tool}, which this machine does not have.`,
        { hint: missing.hint },
      );
    const before = this.#busy.get(name) ?? Promise.resolve();
    const image = this.#imageName(name);
    const task = before.then(async () => {
      const architecture = this.#architecture;
      const files = rootfs({ recipe, architecture: DEBIAN[architecture] ?? architecture, onOutput, signal });
      return writeBaseImage(
        this.#registry(image),
        image.repository,
        image.tag ?? 'latest',
        { name, entry, architecture, files },
        signal,
      );
    });
    this.#busy.set(
      name,
      task.catch(() => {}),
    );
    return { digest: await task };
  }

  /** Like build, but takes what the registry has by the time it is its turn: for pushes that all miss the same base. */
  async ensure(name: string, onOutput: (text: string) => void, signal: AbortSignal): Promise<{ digest: string }> {
    await this.#busy.get(name);
    const state = await this.check(name, signal);
    if (state.digest !== undefined && state.problem === undefined) return { digest: state.digest };
    return this.build(name, onOutput, signal);
  }

  #entry(name: string): BaseEntry {
    const entry = this.#entries.get(name);
    if (entry !== undefined) return entry;
    const near = nearest(name, this.#entries.keys());
    throw new DinpError('not-found', `The catalogue has no base "${name}".`, {
      hint: near === undefined ? `It has: ${[...this.#entries.keys()].sort().join(', ')}` : `Did you mean ${near}?`,
    });
  }

  #info(name: string): BaseInfo {
    const entry = this.#entry(name);
    const image = formatImageName(this.#imageName(name));
    return { name, image, for: entry.for, into: entry.into, port: entry.port, buildable: entry.build !== undefined };
  }

  #imageName(name: string): ImageName {
    return parseImageName(this.#entry(name).image, this.#registries.own.address);
  }

  #registry(image: ImageName): RegistryClient {
    const registry = this.#registries.find(image.host);
    if (registry !== undefined) return registry;
    throw new DinpError('config', `${formatImageName(image)} is in a registry that the server config does not name.`);
  }
}
