import { createHash, randomBytes } from 'node:crypto';
import { createReadStream, existsSync, mkdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { App } from '../../domain/app.ts';
import { DinpError } from '../../domain/errors.ts';
import { appendStream, checkSum, type Received, type ReceiveLimits } from './received-file.ts';
import { filesIn } from './uploads.ts';

const ID = /^[0-9a-f]{32}$/;
/** Uploads in pieces that an app may have under way. */
const MAX_PER_APP = 4;
const MAX_AGE_MS = 24 * 3_600_000;

type Owner = Pick<App, 'id'>;

/**
 * Uploads that come in pieces, so that a cut connection costs only the piece under way: begun, appended to at the end
 * that is reached, and taken when all is there. They outlive a restart of the server, and are forgotten after a day.
 */
export class PartialUploads {
  readonly #folder: string;
  readonly #limits: ReceiveLimits;
  readonly #busy = new Set<string>();

  constructor(folder: string, limits: ReceiveLimits) {
    this.#folder = folder;
    this.#limits = limits;
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    this.sweep();
  }

  /** Begins one. @returns its id @throws DinpError refused where too many are under way */
  begin(app: Owner): string {
    this.sweep();
    const under = filesIn(this.#folder).filter((name) => name.startsWith(`${app.id}-`));
    if (under.length >= MAX_PER_APP) {
      throw new DinpError('refused', `${under.length} uploads in pieces are under way already.`, {
        hint: 'Finish them, or abandon one with DELETE; each is forgotten a day after its last piece.',
      });
    }
    const id = randomBytes(16).toString('hex');
    writeFileSync(this.#path(app, id), '', { flag: 'wx', mode: 0o600 });
    return id;
  }

  /** How many bytes are there. @throws DinpError not-found */
  offset(app: Owner, id: string): number {
    return statSync(this.#find(app, id)).size;
  }

  /**
   * Adds bytes at the end; what came before a failure stays.
   * @param offset where the sender thinks that the end is
   * @returns how many bytes are there now
   * @throws DinpError not-found; exists when the end is elsewhere or another piece is under way; what receiving throws
   */
  async append(
    app: Owner,
    id: string,
    piece: { offset: number; stream: AsyncIterable<Uint8Array>; signal: AbortSignal },
  ): Promise<number> {
    const path = this.#find(app, id);
    return await this.#alone(id, async () => {
      const size = statSync(path).size;
      if (piece.offset !== size) {
        throw new DinpError('exists', `the upload has ${size} bytes, and this piece begins at ${piece.offset}.`, {
          hint: 'Ask for Upload-Offset with HEAD, and send from there.',
        });
      }
      const options = { ...this.#limits, signal: piece.signal, startAt: size, flags: 'r+' as const };
      return await appendStream(path, piece.stream, options);
    });
  }

  /**
   * Takes an upload that has come to its end.
   * @param to path that it is moved to
   * @throws DinpError not-found; exists when a piece is under way; refused when it is empty or has another checksum, and stays
   */
  async take(app: Owner, id: string, to: string, sha256: string | undefined): Promise<Received> {
    const path = this.#find(app, id);
    return await this.#alone(id, async () => {
      const { size } = statSync(path);
      if (size === 0) throw new DinpError('refused', 'nothing came: it is empty.');
      const hash = createHash('sha256');
      for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer);
      const found = hash.digest('hex');
      checkSum(found, sha256);
      await rename(path, to);
      return { path: to, size, sha256: found, [Symbol.asyncDispose]: () => rm(to, { force: true }) };
    });
  }

  /** Forgets one. @throws DinpError not-found */
  abandon(app: Owner, id: string): void {
    rmSync(this.#find(app, id), { force: true });
  }

  /** Removes those that nobody went on with for a day. */
  sweep(): void {
    for (const name of filesIn(this.#folder)) {
      const path = join(this.#folder, name);
      if (Date.now() - statSync(path).mtimeMs > MAX_AGE_MS) rmSync(path, { force: true });
    }
  }

  /** One request at a time may change an upload: two would write into each other. */
  async #alone<T>(id: string, work: () => Promise<T>): Promise<T> {
    if (this.#busy.has(id)) {
      throw new DinpError('exists', 'another request is sending to this upload.', { hint: 'Wait until it has ended.' });
    }
    this.#busy.add(id);
    try {
      return await work();
    } finally {
      this.#busy.delete(id);
    }
  }

  #find(app: Owner, id: string): string {
    const path = ID.test(id) ? this.#path(app, id) : undefined;
    if (path !== undefined && existsSync(path)) return path;
    throw new DinpError('not-found', 'there is no such upload; it may have been forgotten, or taken already.');
  }

  #path({ id: appId }: Owner, id: string): string {
    return join(this.#folder, `${appId}-${id}`);
  }
}
