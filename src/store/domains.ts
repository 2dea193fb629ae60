import type { Sqlite } from './database.ts';

/** Extra host names of apps, beside `APP.DOMAIN`. */
export class Domains {
  readonly #db: Sqlite;

  constructor(db: Sqlite) {
    this.#db = db;
  }

  list(appId: number): string[] {
    return this.#db
      .prepare<[number], { name: string }>('SELECT name FROM domains WHERE app_id = ? ORDER BY name')
      .all(appId)
      .map((row) => row.name);
  }

  /** The app that has this name. */
  findOwner(name: string): number | undefined {
    return this.#db.prepare<[string], { app_id: number }>('SELECT app_id FROM domains WHERE name = ?').get(name)
      ?.app_id;
  }

  replace(appId: number, names: string[]): void {
    this.#db.transaction(() => {
      this.#db.prepare('DELETE FROM domains WHERE app_id = ?').run(appId);
      for (const name of names) this.#db.prepare('INSERT INTO domains (name, app_id) VALUES (?, ?)').run(name, appId);
    })();
  }
}
