import { buffer } from 'node:stream/consumers';
import { gunzipSync } from 'node:zlib';
import { type Build, isFinished } from '../domain/build.ts';
import { DinpError } from '../domain/errors.ts';
import type { ImageRef } from '../domain/image-ref.ts';
import { readImageConfig } from '../image/image-config.ts';
import { formatImageName, parseImageName } from '../image/image-name.ts';
import { partsOf } from '../image/registry/manifest-parts.ts';
import { CREATED, RECORD_APP, RECORD_BUILD, RECORD_SERVER, RECORD_TYPE } from '../image/registry/record-annotations.ts';
import type { Referrers } from '../image/registry/referrers.ts';
import type { Registries } from '../image/registry/registries.ts';
import type { Descriptor } from '../image/registry/registry.ts';
import type { BuildLogs } from '../store/build-log.ts';
import type { MadeImage } from '../store/images.ts';
import type { Store } from '../store/store.ts';
import { LOG_GZIP_TYPE, LOG_TYPE, makeRecord } from './build-record.ts';

/** Most bytes of a log in the registry, also when it is unpacked. */
const MAX_LOG = 64 << 20;

export interface RecordParts {
  store: Store;
  logs: BuildLogs;
  registries: Registries;
  referrers: Referrers;
  /** Of the hosts, `linux/amd64`. */
  platform: string;
  server: { id: string; version: string };
  /** Told of records that could not be written; they are tried again. */
  onFailure(build: Build, error: unknown): void;
}

/** A build's log as the registry has it. */
export interface KeptLog {
  log: Buffer;
  /** Where it was: `127.0.0.1:5000/blog@sha256:…`. */
  image: string;
  /** Which build it is the log of. */
  app: string;
  build: string;
}

/** Logs and provenance of builds, kept beside their images in the registry: they outlive this server. */
export class BuildRecords {
  readonly #parts: RecordParts;

  constructor(parts: RecordParts) {
    this.#parts = parts;
  }

  /** Puts the records of a finished build beside its images; what fails is told and tried again by `attachMissing`. */
  async attach(build: Build): Promise<void> {
    for (const made of this.#parts.store.images.listOfBuild(build.id)) {
      if (!made.recorded) await this.#attachSafely(build, made);
    }
  }

  /** Does the same for all finished builds of an app (or of all) that have no record yet. */
  async attachMissing(appId?: number): Promise<void> {
    const { store } = this.#parts;
    for (const made of store.images.listUnrecorded()) {
      if (appId !== undefined && made.appId !== appId) continue;
      const build = store.builds.get(made.buildId);
      if (isFinished(build.state)) await this.#attachSafely(build, made);
    }
  }

  /** The log of a build from beside one of its images. @throws DinpError not-found, unavailable, denied */
  async read(build: Build, signal: AbortSignal): Promise<KeptLog> {
    const { store, server } = this.#parts;
    const release = build.release === undefined ? undefined : store.releases.find(build.appId, build.release);
    const images = [
      ...store.images.listOfBuild(build.id).map((made) => made.image),
      ...(release?.services.map((service) => service.image) ?? []),
    ];
    for (const image of images) {
      const repository = this.pathOf(image.repository);
      if (repository === undefined) continue;
      const records = await this.#list(repository, image.digest, signal);
      const own = records.find(
        ({ annotations = {} }) =>
          annotations[RECORD_SERVER] === server.id && annotations[RECORD_BUILD] === String(build.number),
      );
      if (own !== undefined) return await this.#open(repository, image.digest, own, signal);
    }
    throw new DinpError('not-found', `the log of build ${build.number} of ${build.app} is gone.`, {
      hint:
        images.length === 0
          ? 'The build made no image: its log was on this server only, until clean-up removed it.'
          : 'Its image, and the log with it, was removed from the registry.',
    });
  }

  /**
   * The newest log beside an image of our registry, whichever server built it.
   * @param reference `blog:main`, `127.0.0.1:5000/blog@sha256:…`
   * @throws DinpError usage, not-found, unavailable, denied
   */
  async readImage(reference: string, signal: AbortSignal): Promise<KeptLog> {
    const { own } = this.#parts.registries;
    const { repository, name } = this.takeApart(reference);
    const head = await own.findManifest(repository, name, signal);
    if (head === undefined) throw new DinpError('not-found', `the registry ${own.address} has no image ${reference}.`);
    const [newest] = (await this.#list(repository, head.digest, signal)).toSorted((a, b) => when(b) - when(a));
    if (newest !== undefined) return await this.#open(repository, head.digest, newest, signal);
    throw new DinpError('not-found', `there is no build's log beside the image ${reference}.`, {
      hint: 'Logs are kept beside images that dinp builds, once the build is over.',
    });
  }

  /** Repository of our registry, and tag or digest, that a reference means. @throws DinpError usage for other registries */
  takeApart(reference: string): { repository: string; name: string } {
    const { own } = this.#parts.registries;
    const name = parseImageName(reference, own.address);
    const repository = this.pathOf(`${name.host}/${name.repository}`);
    if (repository !== undefined) return { repository, name: name.digest ?? name.tag! };
    throw new DinpError('usage', `${formatImageName(name)} is in another registry than ours.`, {
      hint: `Logs of builds are in ${own.address}: name an image such as ${own.address}/APP:main, or only APP:main.`,
    });
  }

  /** A repository within our registry; undefined for one in another. */
  pathOf(repository: string): string | undefined {
    const { own, pullAddress } = this.#parts.registries;
    const host = [own.address, pullAddress].find((address) => repository.startsWith(`${address}/`));
    return host === undefined ? undefined : repository.slice(host.length + 1);
  }

  async #attachSafely(build: Build, made: MadeImage): Promise<void> {
    try {
      await this.#attach(build, made);
    } catch (error) {
      this.#parts.onFailure(build, error);
    }
  }

  async #attach(build: Build, made: MadeImage): Promise<void> {
    const { store, logs, registries, referrers, platform, server } = this.#parts;
    const repository = this.pathOf(made.image.repository);
    const subject = repository && (await registries.own.getManifest(repository, made.image.digest));
    // Where image or log are gone there is nothing left to be told, or nothing to tell it of.
    if (subject && logs.has(build.id)) {
      const base = await this.#baseOf(made.image, repository, platform);
      const log = await buffer(logs.read(build.id));
      const fingerprint = store.keys.find(build.by)?.fingerprint;
      await referrers.put(repository, makeRecord(subject, { build, made, repository, log, fingerprint, base, server }));
    }
    store.images.setRecorded(made);
  }

  async #baseOf(image: ImageRef, repository: string, platform: string) {
    const { own } = this.#parts.registries;
    const { labels = {} } = (await readImageConfig(own, repository, image.digest, platform)) ?? {};
    const name = labels['org.opencontainers.image.base.name'];
    const digest = labels['org.opencontainers.image.base.digest'];
    return name === undefined || digest === undefined ? undefined : { name, digest };
  }

  async #list(repository: string, digest: string, signal: AbortSignal): Promise<Descriptor[]> {
    return await this.#parts.referrers.list(repository, digest, RECORD_TYPE, signal);
  }

  async #open(repository: string, subject: string, record: Descriptor, signal: AbortSignal): Promise<KeptLog> {
    const { own } = this.#parts.registries;
    const image = `${own.address}/${repository}@${subject}`;
    const manifest = await own.getManifest(repository, record.digest, signal);
    const layers = manifest === undefined ? [] : partsOf(manifest).layers;
    const log = layers.find(({ mediaType }) => mediaType === LOG_TYPE || mediaType === LOG_GZIP_TYPE);
    if (log === undefined) throw new DinpError('not-found', `what the registry has beside ${image} holds no log.`);
    const bytes = await own.getBlob(repository, log.digest, MAX_LOG, signal);
    const { [RECORD_APP]: app = repository, [RECORD_BUILD]: build = '?' } = record.annotations ?? {};
    const text = log.mediaType === LOG_GZIP_TYPE ? gunzipSync(bytes, { maxOutputLength: MAX_LOG }) : bytes;
    return { log: text, image, app, build };
  }
}

/** When a record was made; 0 where it does not say. */
function when({ annotations }: Descriptor): number {
  return Date.parse(annotations?.[CREATED] ?? '') || 0;
}
