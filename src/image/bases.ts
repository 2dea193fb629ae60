import { DinpError } from '../domain/errors.ts';
import { nearest } from '../domain/names.ts';
import type { BaseFacts } from '../domain/plan.ts';
import { writeBaseImage } from './base-image.ts';
import type { BaseEntry, BaseRecipe } from './base-recipe.ts';
import { readCatalogue } from './base-recipe.ts';
import { copyImage } from './copy-image.ts';
import { readImageConfig } from './image-config.ts';
import type { ImageName } from './image-name.ts';
import { formatImageName, parseImageName } from './image-name.ts';
import { loadImage } from './load-image.ts';
import type { Registries } from './registries.ts';
import type { RegistryClient } from './registry.ts';
import { missingTool, rootfs } from './rootfs.ts';
import { knownPackages } from './rootfs-packages.ts';

export interface BaseCatalogueOptions {
  registries: Registries;
  /** The operator's own catalogue, read over the built-in one. */
  file?: string | undefined;
  /** Docker's name of the hosts' architecture; default: this machine's. */
  architecture?: string | undefined;
  /** Where `from` is fetched instead of a public hub: `docker.io` → `mirror.example.com/hub`. */
  mirrors?: Readonly<Record<string, string>> | undefined;
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
  /** `javax` or `jakarta`. */
  when: string | undefined;
  /** Major number of the runtime inside. */
  version: number | undefined;
  /** What `sync` copies. */
  from: string | undefined;
  /** Whether it can be built from Debian packages; in a BaseState: by this machine, with the packages that its apt has. */
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
  /** The digest that dinp last put there, where the registry now has another under that tag. */
  pinned: string | undefined;
  /** What brings the base where it is missing, unfit or changed: `bases build jre17`; the best first. */
  remedies: string[];
}

export interface SyncOptions {
  /** The images of all platforms, not only the one for the hosts. */
  allPlatforms?: boolean;
  /** How many bytes have been sent so far, of how many known by then. */
  onProgress?(sent: number, total: number): void;
  signal: AbortSignal;
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

/** How long a base that the registry was seen to hold is taken to be there, milliseconds. */
const SEEN_MS = 60_000;
/** How long what this machine's apt has is believed, milliseconds: its lists change once a day at most. */
const APT_MS = 600_000;
/** A package that every Debian has: an apt that does not know it has no package lists. */
const ALWAYS = 'libc6';

/** The tag that notes which image dinp itself put under another tag. */
function pinTag(tag: string): string {
  return `${tag}-pinned`;
}

function tagsOf(image: ImageName): string[] {
  return image.tag === undefined ? [] : [image.tag];
}

/** The commands that bring a base, the best first: packages need no hub, a hub no hands. */
function remedies({ name, buildable, from }: BaseInfo): string[] {
  const build = buildable ? [`bases build ${name}`] : [];
  const sync = from === undefined ? [] : [`bases sync ${name}`];
  return [...build, ...sync, `bases load ${name} FILE`];
}

function listed(commands: readonly string[]): string {
  return commands.map((command) => `dinp ${command}`).join(', or ');
}

/** The operator's catalogue of bases, and what the registry has of it. */
export class BaseCatalogue {
  readonly #registries: Registries;
  readonly #entries: Map<string, BaseEntry>;
  readonly #architecture: string;
  /** Builds of one base follow each other. */
  readonly #busy = new Map<string, Promise<unknown>>();
  readonly #mirrors: Readonly<Record<string, string>>;
  /** When the registry was last seen to hold a base. */
  readonly #seen = new Map<string, number>();
  #known = new Set<string>();
  #knownAt = 0;

  /** @throws DinpError config where the operator's file is wrong */
  constructor(options: BaseCatalogueOptions) {
    this.#registries = options.registries;
    this.#entries = readCatalogue(options.file);
    this.#mirrors = options.mirrors ?? {};
    this.#architecture = options.architecture ?? ARCHITECTURES[process.arch] ?? process.arch;
  }

  /** All bases, by name. */
  list(): BaseInfo[] {
    return [...this.#entries.keys()].sort().map((name) => this.#info(name));
  }

  /** What planning needs to know of a base; `usable` as far as it is known without asking. undefined for one that is not catalogued. */
  facts(name: string): BaseFacts | undefined {
    const entry = this.#entries.get(name);
    return entry && this.#facts(entry, entry.build !== undefined || this.#isSeen(name));
  }

  /**
   * What planning needs to know of every base. A registry that does not answer makes none unusable that can be built here: the
   * build tells then.
   * @throws DinpError canceled
   */
  async usableBases(signal?: AbortSignal): Promise<Map<string, BaseFacts>> {
    const names = [...this.#entries.keys()];
    const there = await Promise.all(names.map(async (name) => this.#isSeen(name) || this.#look(name, signal)));
    const buildable = there.includes(false) ? await this.#buildable(signal) : new Set<string>();
    return new Map(
      [...this.#entries].map(([name, entry], at) => [name, this.#facts(entry, there[at]! || buildable.has(name))]),
    );
  }

  /** The base whose image that is, if one is. @param image full reference */
  nameOf(image: string): string | undefined {
    return [...this.#entries.keys()].find((name) => formatImageName(this.#imageName(name)) === image);
  }

  /** Looks whether the registry has a base, for the right architecture. @throws DinpError not-found, unavailable, denied */
  async check(name: string, signal?: AbortSignal): Promise<BaseState> {
    const image = this.#imageName(name);
    const registry = this.#registry(image);
    const [head, pin] = await Promise.all([
      registry.findManifest(image.repository, image.digest ?? image.tag ?? 'latest', signal),
      image.tag === undefined ? undefined : registry.findManifest(image.repository, pinTag(image.tag), signal),
    ]);
    const problem = await this.#problem(image, head?.digest, signal);
    const pinned = pin !== undefined && head !== undefined && pin.digest !== head.digest ? pin.digest : undefined;
    const info = this.#info(name);
    const fine = problem === undefined && pinned === undefined;
    // apt takes a while to be asked: only where the answer is needed.
    if (!fine) info.buildable = (await this.#buildable(signal)).has(name);
    return {
      ...info,
      repository: `${image.host}/${image.repository}`,
      digest: head?.digest,
      problem,
      pinned,
      remedies: fine ? [] : remedies(info),
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
      throw new DinpError('refused', `The base ${name} has no recipe; it comes from ${entry.from ?? entry.image}.`, {
        hint: listed(remedies({ ...this.#info(name), buildable: false })),
      });
    }
    const missing = await missingTool(recipe);
    if (missing !== undefined)
      throw new DinpError(
        'unavailable',
        `Building the base ${name} needs ${missing.tool}, which this machine does not have.`,
        { hint: missing.hint },
      );
    const image = this.#imageName(name);
    const architecture = this.#architecture;
    return this.#inTurn(name, image, signal, () => {
      const files = rootfs({ recipe, architecture: DEBIAN[architecture] ?? architecture, onOutput, signal });
      const made = { name, entry, architecture, files };
      return writeBaseImage(this.#registry(image), image.repository, image.tag ?? 'latest', made, signal);
    });
  }

  /**
   * Copies the image that a base comes `from` into the registry, byte for byte.
   * @returns its digest, and what was copied
   * @throws DinpError not-found, refused where it comes from nowhere or is for other machines, unavailable, denied, canceled
   */
  async sync(name: string, options: SyncOptions): Promise<{ digest: string; from: string }> {
    const { from } = this.#entry(name);
    const image = this.#imageName(name);
    if (from === undefined) {
      throw new DinpError('refused', `The catalogue does not say where the base ${name} is to be copied from.`, {
        hint: listed(remedies(this.#info(name))),
      });
    }
    const source = this.#source(from);
    const platform = options.allPlatforms ? undefined : `linux/${this.#architecture}`;
    const { onProgress, signal } = options;
    try {
      const place = { registry: this.#registries.reach(source.host), repository: source.repository };
      const reference = source.digest ?? source.tag ?? 'latest';
      const to = { registry: this.#registry(image), repository: image.repository, tags: tagsOf(image) };
      const { digest } = await this.#inTurn(name, image, signal, () =>
        copyImage({ ...place, reference }, to, { platform, signal, ...(onProgress && { onProgress }) }),
      );
      return { digest, from: formatImageName(source) };
    } catch (error) {
      if (!(error instanceof DinpError) || error.code !== 'unavailable') throw error;
      const others = remedies({ ...this.#info(name), from: undefined });
      throw new DinpError('unavailable', `${formatImageName(source)} cannot be copied: ${error.message}`, {
        hint: `Where this machine reaches no hub: ${listed(others)}`,
        cause: error,
      });
    }
  }

  /**
   * Puts an image of an archive (docker save, OCI layout) into the registry as a base.
   * @param bytes the archive
   * @param options.image which of its images, where it holds several
   * @throws DinpError not-found, refused where the archive does not fit, unavailable, canceled
   */
  async load(
    name: string,
    bytes: AsyncIterable<Uint8Array>,
    options: { image?: string | undefined; signal: AbortSignal },
  ): Promise<{ digest: string }> {
    const image = this.#imageName(name);
    const to = { registry: this.#registry(image), repository: image.repository, tags: tagsOf(image) };
    return this.#inTurn(name, image, options.signal, () =>
      loadImage(bytes, to, { ...options, platform: `linux/${this.#architecture}` }),
    );
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
    const { into, port, when, version, from, build } = entry;
    return { name, image, for: entry.for, into, port, when, version, from, buildable: build !== undefined };
  }

  #facts({ into, shell, for: kinds, when, version }: BaseEntry, usable: boolean): BaseFacts {
    return { into, shell, for: kinds, when, version, usable };
  }

  /** One change of a base after the other; the digest that it ends with is noted in the registry, beside the tag. */
  async #inTurn(
    name: string,
    image: ImageName,
    signal: AbortSignal,
    work: () => Promise<string>,
  ): Promise<{ digest: string }> {
    const task = (this.#busy.get(name) ?? Promise.resolve()).then(async () => {
      const digest = await work();
      const registry = this.#registry(image);
      const manifest = await registry.getManifest(image.repository, digest, signal);
      if (image.tag !== undefined && manifest !== undefined)
        await registry.putManifest(image.repository, pinTag(image.tag), manifest, signal);
      this.#seen.set(name, Date.now());
      return { digest };
    });
    this.#busy.set(
      name,
      task.catch(() => {}),
    );
    return task;
  }

  /** Why the image cannot be used; undefined where it can. */
  async #problem(
    image: ImageName,
    digest: string | undefined,
    signal: AbortSignal | undefined,
  ): Promise<string | undefined> {
    const full = formatImageName(image);
    if (digest === undefined) return `${full} is not in the registry`;
    const platform = `linux/${this.#architecture}`;
    const config = await readImageConfig(this.#registry(image), image.repository, digest, platform, signal);
    return config?.architecture === this.#architecture ? undefined : `${full} is not for ${this.#architecture}`;
  }

  /** Whether the registry has been seen to hold a base lately. */
  #isSeen(name: string): boolean {
    return Date.now() - (this.#seen.get(name) ?? 0) < SEEN_MS;
  }

  async #look(name: string, signal: AbortSignal | undefined): Promise<boolean> {
    try {
      const image = this.#imageName(name);
      const reference = image.digest ?? image.tag ?? 'latest';
      if ((await this.#registry(image).findManifest(image.repository, reference, signal)) === undefined) return false;
      this.#seen.set(name, Date.now());
      return true;
    } catch (error) {
      if (error instanceof DinpError && error.code !== 'canceled') return false;
      throw error;
    }
  }

  /** The bases that this machine can build: it has the tools, and its apt has the packages (or no lists yet, which a build fetches). */
  async #buildable(signal: AbortSignal = new AbortController().signal): Promise<Set<string>> {
    if (Date.now() - this.#knownAt < APT_MS) return this.#known;
    const able: [string, BaseRecipe][] = [];
    for (const [name, { build }] of this.#entries) {
      if (build !== undefined && (await missingTool(build)) === undefined) able.push([name, build]);
    }
    if (able.length === 0) return new Set();
    const wanted = able.flatMap(([, recipe]) => recipe.packages);
    const packages = await knownPackages([...wanted, ALWAYS], signal);
    const here = able.filter(([, recipe]) =>
      recipe.packages.every((choice) => choice.split('|').some((each) => packages.has(each))),
    );
    this.#known = new Set((packages.has(ALWAYS) ? here : able).map(([name]) => name));
    this.#knownAt = Date.now();
    return this.#known;
  }

  /** Where `from` is really fetched. */
  #source(from: string): ImageName {
    const name = parseImageName(from);
    const mirror = this.#mirrors[name.host];
    if (mirror === undefined) return name;
    const [host = '', ...path] = mirror.split('/');
    return { ...name, host, repository: [...path, name.repository].filter((part) => part !== '').join('/') };
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
