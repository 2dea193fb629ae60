import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import type { Sqlite } from './database.ts';

/** What lets a machine deploy one app over HTTP; the secret itself is known to its holder alone. */
export interface Token {
  id: number;
  appId: number;
  app: string;
  /** Unique within the app. */
  name: string;
  /** Who made it. */
  by: string;
  /** Times in milliseconds since the epoch. */
  createdAt: number;
  /** undefined: never. */
  expiresAt: number | undefined;
  /** undefined: not yet. */
  usedAt: number | undefined;
}

interface Row {
  id: number;
  app_id: number;
  app: string;
  name: string;
  hash: Buffer;
  made_by: string;
  created_at: number;
  expires_at: number | null;
  used_at: number | null;
}

const SELECT = 'SELECT t.*, a.name AS app FROM tokens t JOIN apps a ON a.id = t.app_id';
const SECRET = /^dinp_[A-Za-z0-9_-]{32}$/;
/** The time of the last use is noted no more often: each note is a write to disk. */
const USE_NOTED_MS = 60_000;

export class Tokens {
  readonly #db: Sqlite;

  constructor(db: Sqlite) {
    this.#db = db;
  }

  /** @returns the new token and its secret, `dinp_` and 32 letters (192 random bits), which is stored nowhere */
  create(token: { appId: number; name: string; by: string; expiresAt: number | undefined }): {
    token: Token;
    secret: string;
  } {
    const secret = `dinp_${randomBytes(24).toString('base64url')}`;
    this.#db
      .prepare('INSERT INTO tokens (app_id, name, hash, made_by, created_at, expires_at) VALUES (?, ?, ?, ?, ?, ?)')
      .run(token.appId, token.name, hashOf(secret), token.by, Date.now(), token.expiresAt ?? null);
    return { token: this.find(token.appId, token.name)!, secret };
  }

  find(appId: number, name: string): Token | undefined {
    return toToken(
      this.#db.prepare<[number, string], Row>(`${SELECT} WHERE t.app_id = ? AND t.name = ?`).get(appId, name),
    );
  }

  /** Whose secret this is, unless it has expired; notes that it was used. */
  authenticate(secret: string): Token | undefined {
    if (!SECRET.test(secret)) return undefined;
    const hash = hashOf(secret);
    const row = this.#db.prepare<[Buffer], Row>(`${SELECT} WHERE t.hash = ?`).get(hash);
    if (!row || !timingSafeEqual(row.hash, hash)) return undefined;
    const now = Date.now();
    if (row.expires_at !== null && row.expires_at <= now) return undefined;
    if (now - (row.used_at ?? 0) > USE_NOTED_MS)
      this.#db.prepare('UPDATE tokens SET used_at = ? WHERE id = ?').run(now, row.id);
    return toToken(row);
  }

  /** Of one app, or all, by app and name. */
  list(appId?: number): Token[] {
    const where = appId === undefined ? '' : 'WHERE t.app_id = ?';
    return this.#db
      .prepare<number[], Row>(`${SELECT} ${where} ORDER BY a.name, t.name`)
      .all(...(appId === undefined ? [] : [appId]))
      .map((row) => toToken(row)!);
  }

  remove(id: number): void {
    this.#db.prepare('DELETE FROM tokens WHERE id = ?').run(id);
  }
}

/** A secret of 192 random bits needs no slow hash: there is nothing to guess. */
function hashOf(secret: string): Buffer {
  return createHash('sha256').update(secret).digest();
}

function toToken(row: Row | undefined): Token | undefined {
  return (
    row && {
      id: row.id,
      appId: row.app_id,
      app: row.app,
      name: row.name,
      by: row.made_by,
      createdAt: row.created_at,
      expiresAt: row.expires_at ?? undefined,
      usedAt: row.used_at ?? undefined,
    }
  );
}
