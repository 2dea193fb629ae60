import type { Key, Role } from '../domain/identity.ts';
import type { Sqlite } from './database.ts';

interface Row {
  id: number;
  name: string;
  fingerprint: string;
  public_key: string;
  role: Role;
  created_at: number;
}

export type NewKey = Pick<Key, 'name' | 'fingerprint' | 'publicKey' | 'role' | 'apps'>;

export class Keys {
  readonly #db: Sqlite;

  constructor(db: Sqlite) {
    this.#db = db;
  }

  /** Stores a key; the apps of a deployer must exist. */
  add(key: NewKey): Key {
    return this.#db.transaction(() => {
      const { lastInsertRowid } = this.#db
        .prepare('INSERT INTO keys (name, fingerprint, public_key, role, created_at) VALUES (?, ?, ?, ?, ?)')
        .run(key.name, key.fingerprint, key.publicKey, key.role, Date.now());
      for (const app of key.apps) {
        this.#db
          .prepare('INSERT INTO key_apps (key_id, app_id) SELECT ?, id FROM apps WHERE name = ?')
          .run(lastInsertRowid, app);
      }
      return this.find(key.name)!;
    })();
  }

  /** Lets a deployer's key use one more app. */
  grant(keyId: number, appId: number): void {
    this.#db.prepare('INSERT OR IGNORE INTO key_apps (key_id, app_id) VALUES (?, ?)').run(keyId, appId);
  }

  find(name: string): Key | undefined {
    return this.#toKey(this.#db.prepare<[string], Row>('SELECT * FROM keys WHERE name = ?').get(name));
  }

  findByFingerprint(fingerprint: string): Key | undefined {
    return this.#toKey(this.#db.prepare<[string], Row>('SELECT * FROM keys WHERE fingerprint = ?').get(fingerprint));
  }

  list(): Key[] {
    return this.#db
      .prepare<[], Row>('SELECT * FROM keys ORDER BY name')
      .all()
      .map((row) => this.#toKey(row)!);
  }

  remove(id: number): void {
    this.#db.prepare('DELETE FROM keys WHERE id = ?').run(id);
  }

  #toKey(row: Row | undefined): Key | undefined {
    if (!row) return undefined;
    const apps = this.#db
      .prepare<[number], { name: string }>(
        'SELECT a.name FROM key_apps k JOIN apps a ON a.id = k.app_id WHERE k.key_id = ? ORDER BY a.name',
      )
      .all(row.id);
    return {
      id: row.id,
      name: row.name,
      fingerprint: row.fingerprint,
      publicKey: row.public_key,
      role: row.role,
      apps: apps.map((app) => app.name),
      createdAt: row.created_at,
    };
  }
}
