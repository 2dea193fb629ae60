import { DinpError } from '../../domain/errors.ts';
import { nearest } from '../../domain/names.ts';
import type { BaseFacts } from '../../domain/plan.ts';
import type { ImageConfig } from '../image-config.ts';
import { readImageConfig } from '../image-config.ts';
import type { ImageName } from '../image-name.ts';
import { formatImageName, parseImageName } from '../image-name.ts';
import { copyImage } from '../registry/copy-image.ts';
import type { Registries } from '../registry/registries.ts';
import type { RegistryClient } from '../registry/registry.ts';
import { writeBaseImage } from './base-image.ts';
import type { BaseEntry, BaseRecipe } from './base-recipe.ts';
import { readCatalogue } from './base-recipe.ts';
import { versionIn, versionVariables } from './base-version.ts';
import { loadImage } from './load-image.ts';
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
  /** Of the runtime inside: what the catalogue says; in a BaseState what the image says, or apt of the one to be built. */
  version: string | undefined;
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

/** An image of a base that was there. */
interface Sight {
  digest: string;
  /** Of the runtime inside; undefined where the image does not say it. */
  version: string | undefined;
  /** When it was there, milliseconds since the epoch. */
  at: number;
}

/** The bases that can be built here, with the version of the runtime that they would have as far as apt tells. */
type Buildable = ReadonlyMap<string, string | undefined>;

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
  /** What the registry was last seen to hold of a base. */
  readonly #seen = new Map<string, Sight>();
  #known: Buildable = new Map();
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
    const seen = this.#seenOf(name);
    return entry && this.#facts(entry, entry.build !== undefined || seen !== undefined, seen?.version);
  }

  /**
   * What planning needs to know of every base. A registry that does not answer makes none unusable that can be built here: the
   * build tells then.
   * @throws DinpError canceled
   */
  async usableBases(signal?: AbortSignal): Promise<Map<string, BaseFacts>> {
    const names = [...this.#entries.keys()];
    const there = await Promise.all(names.map((name) => this.#seenOf(name) ?? this.#look(name, signal)));
    const buildable: Buildable = there.includes(undefined) ? await this.#buildable(signal) : new Map();
    return new Map(
      [...this.#entries].map(([name, entry], at) => {
        const seen = there[at];
        const usable = seen !== undefined || buildable.has(name);
        return [name, this.#facts(entry, usable, seen === undefined ? buildable.get(name) : seen.version)];
      }),
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
    const config = head && (await this.#config(image, head.digest, signal));
    const problem = this.#problem(image, head?.digest, config);
    const pinned = pin !== undefined && head !== undefined && pin.digest !== head.digest ? pin.digest : undefined;
    const info = this.#info(name);
    const fine = problem === undefined && pinned === undefined;
    // apt takes a while to be asked: only where the answer is needed.
    const buildable: Buildable = fine ? new Map() : await this.#buildable(signal);
    const version = head === undefined ? buildable.get(name) : config && versionIn(info.for, config.env);
    return {
      ...info,
      version: version ?? info.version,
      buildable: fine ? info.buildable : buildable.has(name),
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
      const packages = new Map<string, string>();
      const onPackage = (each: string, version: string): void => void packages.set(each, version);
      const debian = DEBIAN[architecture] ?? architecture;
      const files = rootfs({ recipe, architecture: debian, onOutput, onPackage, signal });
      const made = { name, entry, architecture, files, packages };
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

  /** @param version what is known better than the catalogue does */
  #facts(entry: BaseEntry, usable: boolean, version: string | undefined): BaseFacts {
    const { into, shell, for: kinds, when } = entry;
    return { into, shell, for: kinds, when, version: version ?? entry.version, usable };
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
      await this.#look(name, signal);
      return { digest };
    });
    this.#busy.set(
      name,
      task.catch(() => {}),
    );
    return task;
  }

  /** Why the image cannot be used; undefined where it can. */
  #problem(image: ImageName, digest: string | undefined, config: ImageConfig | undefined): string | undefined {
    const full = formatImageName(image);
    if (digest === undefined) return `${full} is not in the registry`;
    return config?.architecture === this.#architecture ? undefined : `${full} is not for ${this.#architecture}`;
  }

  /** Its config for the hosts' architecture; undefined where it has none. */
  #config(image: ImageName, digest: string, signal: AbortSignal | undefined): Promise<ImageConfig | undefined> {
    const platform = `linux/${this.#architecture}`;
    return readImageConfig(this.#registry(image), image.repository, digest, platform, signal);
  }

  /** What the registry has been seen to hold of a base lately. */
  #seenOf(name: string): Sight | undefined {
    const seen = this.#seen.get(name);
    return seen !== undefined && Date.now() - seen.at < SEEN_MS ? seen : undefined;
  }

  async #look(name: string, signal: AbortSignal | undefined): Promise<Sight | undefined> {
    try {
      const image = this.#imageName(name);
      const reference = image.digest ?? image.tag ?? 'latest';
      const head = await this.#registry(image).findManifest(image.repository, reference, signal);
      if (head === undefined) return undefined;
      const { digest } = head;
      const last = this.#seen.get(name);
      const version = last?.digest === digest ? last.version : await this.#versionOf(name, image, digest, signal);
      const seen = { digest, version, at: Date.now() };
      this.#seen.set(name, seen);
      return seen;
    } catch (error) {
      if (error instanceof DinpError && error.code !== 'canceled') return undefined;
      throw error;
    }
  }

  async #versionOf(
    name: string,
    image: ImageName,
    digest: string,
    signal: AbortSignal | undefined,
  ): Promise<string | undefined> {
    const config = await this.#config(image, digest, signal);
    return config && versionIn(this.#entry(name).for, config.env);
  }

  /** The bases that this machine can build: it has the tools, and its apt has the packages (or no lists yet, which a build fetches). */
  async #buildable(signal: AbortSignal = new AbortController().signal): Promise<Buildable> {
    if (Date.now() - this.#knownAt < APT_MS) return this.#known;
    const able: [string, BaseRecipe][] = [];
    for (const [name, { build }] of this.#entries) {
      if (build !== undefined && (await missingTool(build)) === undefined) able.push([name, build]);
    }
    if (able.length === 0) return new Map();
    const wanted = able.flatMap(([, recipe]) => recipe.packages);
    const packages = await knownPackages([...wanted, ALWAYS], signal);
    const here = able.filter(([, recipe]) =>
      recipe.packages.every((choice) => choice.split('|').some((each) => packages.has(each))),
    );
    const chosen = ({ packages: choices }: BaseRecipe): Map<string, string> =>
      new Map(
        choices
          .flatMap((choice) => choice.split('|').find((each) => packages.has(each)) ?? [])
          .map((each) => [each, packages.get(each)!]),
      );
    this.#known = new Map(
      (packages.has(ALWAYS) ? here : able).map(([name, recipe]) => {
        const kinds = this.#entry(name).for;
        return [name, versionIn(kinds, versionVariables(kinds, chosen(recipe)))];
      }),
    );
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
