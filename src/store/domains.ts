import type { Sqlite } from './database.ts';

/** A host name of an app beside `APP.DOMAIN`. */
export interface Domain {
  name: string;
  appId: number;
  /** true: by `dinp domains add`; false: by the dinp.yml of the live release alone. */
  added: boolean;
}

/** Who has which host name beside `APP.DOMAIN`: those of dinp.yml are written with the release that becomes live. */
export class Domains {
  readonly #db: Sqlite;

  constructor(db: Sqlite) {
    this.#db = db;
  }

  /** The app that has this name. */
  findOwner(name: string): number | undefined {
    return this.#db.prepare<[string], { app_id: number }>('SELECT app_id FROM domains WHERE name = ?').get(name)
      ?.app_id;
  }

  /** By name. */
  list(appId: number): Domain[] {
    return this.#db
      .prepare<[number], { name: string; added: number }>(
        'SELECT name, added FROM domains WHERE app_id = ? ORDER BY name',
      )
      .all(appId)
      .map(({ name, added }) => ({ name, appId, added: added === 1 }));
  }

  /** Gives an app names that no other app has. */
  add(appId: number, names: string[]): void {
    const insert = this.#db.prepare(
      `INSERT INTO domains (name, app_id, added) VALUES (?, ?, 1)
       ON CONFLICT (name) DO UPDATE SET added = 1 WHERE app_id = excluded.app_id`,
    );
    this.#db.transaction(() => {
      for (const name of names) insert.run(name, appId);
    })();
  }

  /**
   * Takes names away that were added.
   * @param kept those that dinp.yml has as well, which stay for its sake
   */
  remove(appId: number, names: string[], kept: string[] = []): void {
    this.#db.transaction(() => {
      for (const name of names) {
        const sql = kept.includes(name)
          ? 'UPDATE domains SET added = 0 WHERE name = ? AND app_id = ?'
          : 'DELETE FROM domains WHERE name = ? AND app_id = ?';
        this.#db.prepare(sql).run(name, appId);
      }
    })();
  }
}
