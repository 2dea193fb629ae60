import type { App } from '../../domain/app.ts';
import type { Build } from '../../domain/build.ts';
import { DinpError } from '../../domain/errors.ts';
import { type Identity, mayUse } from '../../domain/identity.ts';
import { parseAppName } from '../../domain/names.ts';
import type { Release } from '../../domain/release.ts';
import type { Source } from '../../domain/source.ts';
import type { Store } from '../../store/store.ts';
import type { BuildQueue } from '../queue.ts';
import type { Received } from './received-file.ts';
import type { Uploads } from './uploads.ts';

export interface ArtifactParts {
  store: Store;
  queue: Pick<BuildQueue, 'submit'>;
  uploads: Pick<Uploads, 'keep'>;
  /** Names of the catalogue of bases. */
  bases(): string[];
  createApp(name: string): Promise<App>;
  /** Whether the first deploy of an unknown name may create the app. */
  createOnDeploy: boolean;
}

export interface DeployWish {
  /** What is new, in the words of whoever deploys it. */
  note?: string | undefined;
  /** Even where the same is live or on its way. */
  force?: boolean | undefined;
}

export interface UploadWish extends DeployWish {
  /** Its name where it came from. */
  filename: string;
  /** Base that it shall be laid over; undefined: the one that fits. */
  base?: string | undefined;
}

/** What became of a wish to deploy: a build of its own, one that was under way already, or none because it is live. */
export type Taken =
  | { kind: 'started' | 'joined'; app: App; build: Build }
  | { kind: 'live'; app: App; release: Release };

const MAX_NOTE = 2_000;
const MAX_FILENAME = 255;

/** Deploys what was uploaded, downloaded or named, as pushes deploy commits: the same queue, the same pipeline. */
export class ArtifactDeploys {
  readonly #parts: ArtifactParts;

  constructor(parts: ArtifactParts) {
    this.#parts = parts;
  }

  /** Whether a deploy under this name, which no app has, would create the app. */
  creates(identity: Identity): boolean {
    return identity.role === 'admin' && this.#parts.createOnDeploy;
  }

  /**
   * Says before anything is sent what it would be refused for in the end.
   * @throws DinpError usage, denied, not-found or refused
   */
  check(identity: Identity, name: string, wish: { note?: string | undefined; base?: string | undefined }): void {
    this.#findApp(identity, name);
    checkNote(wish.note);
    if (wish.base !== undefined) this.#checkBase(wish.base);
  }

  /** Deploys a received file, which is kept where that makes a build. @throws as check */
  async deployUpload(identity: Identity, name: string, received: Received, wish: UploadWish): Promise<Taken> {
    this.check(identity, name, wish);
    const app = await this.#openApp(identity, name);
    const { sha256 } = received;
    const base = wish.base === undefined ? {} : { base: wish.base };
    const source: Source = { kind: 'upload', sha256, filename: shortName(wish.filename), ...base };
    const taken = wish.force ? undefined : this.#findSame(app, source);
    if (taken) return taken;
    // The file and the build that needs it, in one go: no clean-up comes between.
    this.#parts.uploads.keep(app, received);
    return this.#submit(identity, app, source, wish);
  }

  /** Deploys an image by address. @throws as check */
  async deployImage(identity: Identity, name: string, reference: string, wish: DeployWish): Promise<Taken> {
    this.check(identity, name, wish);
    const app = await this.#openApp(identity, name);
    const source: Source = { kind: 'image', reference };
    // What a tag stands for may have changed; a digest stands for one image.
    const taken = wish.force || !reference.includes('@') ? undefined : this.#findSame(app, source);
    return taken ?? this.#submit(identity, app, source, wish);
  }

  #submit(identity: Identity, app: App, source: Source, wish: DeployWish): Taken {
    const note = wish.note?.trim() || undefined;
    const build = this.#parts.queue.submit({ appId: app.id, source, note, noCache: false, by: identity.name });
    return { kind: 'started', app, build };
  }

  /** The unfinished build, else the live release, that was made from the same. */
  #findSame(app: App, source: Source): Taken | undefined {
    const { store } = this.#parts;
    const newest = store.builds.listUnfinished().findLast((build) => build.appId === app.id);
    if (newest) return isSame(newest.source, source) ? { kind: 'joined', app, build: newest } : undefined;
    const release = store.releases.findLive(app);
    return release && isSame(release.source, source) ? { kind: 'live', app, release } : undefined;
  }

  async #openApp(identity: Identity, name: string): Promise<App> {
    const known = this.#findApp(identity, name);
    if (known) return known;
    // Two first deploys at once: the later finds the app of the earlier.
    return await this.#parts.createApp(name).catch((error: unknown) => {
      const app = this.#parts.store.apps.find(name);
      if (app && error instanceof DinpError && error.code === 'exists') return app;
      throw error;
    });
  }

  #findApp(identity: Identity, name: string): App | undefined {
    const app = this.#parts.store.apps.find(name);
    if (!mayUse(identity, name)) throw new DinpError('denied', `${identity.name} may not use an app named ${name}.`);
    if (!app && !this.creates(identity)) {
      throw new DinpError('not-found', `there is no app ${name}.`, { hint: `To create it: dinp apps create ${name}` });
    }
    if (!app) parseAppName(name);
    if (app?.deploys === false) {
      throw new DinpError('refused', `deploys of ${name} are off.`, {
        hint: `To turn them on: dinp apps set ${name} --deploys on`,
      });
    }
    return app;
  }

  #checkBase(base: string): void {
    const names = this.#parts.bases();
    if (names.includes(base)) return;
    throw new DinpError('not-found', `this server has no base "${base}".`, { hint: `It has ${names.join(', ')}.` });
  }
}

function checkNote(note: string | undefined): void {
  if ((note?.length ?? 0) <= MAX_NOTE) return;
  throw new DinpError('usage', `the note is longer than ${MAX_NOTE} characters.`);
}

function isSame(one: Source, other: Source): boolean {
  if (one.kind === 'upload' && other.kind === 'upload') return one.sha256 === other.sha256 && one.base === other.base;
  return one.kind === 'image' && other.kind === 'image' && one.reference === other.reference;
}

/** The last part of a path, as it is kept. */
function shortName(filename: string): string {
  return filename.replace(/^.*[\\/]/s, '').slice(-MAX_FILENAME) || 'upload';
}
