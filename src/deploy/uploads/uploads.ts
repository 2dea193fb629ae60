import { randomBytes } from 'node:crypto';
import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
} from 'node:fs';
import { join } from 'node:path';
import type { App } from '../../domain/app.ts';
import { DinpError } from '../../domain/errors.ts';
import { type Received, type ReceiveLimits, receiveFile } from './received-file.ts';

/** What a received file that is not whole, or not yet taken, is called. */
const RECEIVING = 'receiving';
const SHA256 = /^[0-9a-f]{64}$/;

/** An app, as far as its folder is named after it: an id, which outlives a rename. */
type Owner = Pick<App, 'id'>;

export interface KeptUpload {
  sha256: string;
  /** Bytes. */
  size: number;
  /** When it was last asked for, milliseconds since the epoch. */
  usedAt: number;
}

/**
 * Uploaded artifacts, each once under its SHA-256 in its app's folder. A file is there whole or not at all: it is received
 * beside the others and moved when the last byte is on disk.
 */
export class Uploads {
  readonly #folder: string;
  readonly #limits: ReceiveLimits;

  constructor(folder: string, limits: ReceiveLimits) {
    this.#folder = folder;
    this.#limits = limits;
    mkdirSync(this.#receiving, { recursive: true, mode: 0o700 });
  }

  get maxSize(): number {
    return this.#limits.maxSize;
  }

  /**
   * Takes in a file that belongs to nobody yet; it is removed when the result is disposed, unless it was kept.
   * @param options.sha256 what it must have, 64 hex digits
   * @throws DinpError refused, timeout, canceled or unavailable; then nothing is left
   */
  async receive(
    stream: AsyncIterable<Uint8Array>,
    options: { signal: AbortSignal; sha256?: string | undefined },
  ): Promise<Received> {
    return await receiveFile(this.newPath(), stream, { ...this.#limits, ...options });
  }

  /** Folder with room for what somebody unpacks. */
  get scratch(): string {
    return this.#receiving;
  }

  /** A path for a file to be received. */
  newPath(): string {
    return join(this.#receiving, randomBytes(12).toString('hex'));
  }

  /**
   * Makes a received file an app's own; durable when this returns. Nothing else runs meanwhile, so that a caller which
   * records a use of it at once can be sure that no clean-up came between.
   */
  keep(app: Owner, received: Received): void {
    const folder = this.#folderOf(app);
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    renameSync(received.path, join(folder, received.sha256));
    syncFolder(folder);
    syncFolder(this.#folder);
  }

  /** Where a kept file lies. @throws DinpError not-found when it was removed */
  path(app: Owner, sha256: string): string {
    const path = this.find(app, sha256);
    if (path !== undefined) return path;
    throw new DinpError('not-found', 'the uploaded file is no longer there: it was removed to make room.', {
      hint: 'Upload it again.',
    });
  }

  /** Where a kept file lies; undefined where it does not. It counts as used now. */
  find(app: Owner, sha256: string): string | undefined {
    const path = this.#pathOf(app, sha256);
    if (!existsSync(path)) return undefined;
    utimesSync(path, new Date(), new Date());
    return path;
  }

  /** What is kept of an app, the most recently used first. */
  list(app: Owner): KeptUpload[] {
    return filesIn(this.#folderOf(app))
      .filter((name) => SHA256.test(name))
      .map((sha256) => {
        const { size, mtimeMs } = statSync(this.#pathOf(app, sha256));
        return { sha256, size, usedAt: mtimeMs };
      })
      .sort((a, b) => b.usedAt - a.usedAt);
  }

  /** Removes one file of an app; for what no release, no build and no running build needs. */
  remove(app: Owner, sha256: string): void {
    rmSync(this.#pathOf(app, sha256), { force: true });
  }

  /** Removes all files of an app that goes. */
  removeAll(app: Owner): void {
    rmSync(this.#folderOf(app), { recursive: true, force: true });
  }

  /**
   * Removes what a dead server left: half-received files, and folders of apps that are no more.
   * @returns what was removed
   */
  sweep(apps: readonly Owner[]): string[] {
    const known = new Set(apps.map(({ id }) => String(id)));
    const halves = filesIn(this.#receiving).map((name) => join(this.#receiving, name));
    const orphans = filesIn(this.#folder)
      .filter((name) => /^\d+$/.test(name) && !known.has(name))
      .map((name) => join(this.#folder, name));
    for (const path of [...halves, ...orphans]) rmSync(path, { recursive: true, force: true });
    return [...halves, ...orphans];
  }

  get #receiving(): string {
    return join(this.#folder, RECEIVING);
  }

  #folderOf({ id }: Owner): string {
    return join(this.#folder, String(id));
  }

  #pathOf(app: Owner, sha256: string): string {
    if (!SHA256.test(sha256)) throw new Error(`no SHA-256: ${sha256}`);
    return join(this.#folderOf(app), sha256);
  }
}

export function filesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}

function syncFolder(folder: string): void {
  const fd = openSync(folder, 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
