import type { Sqlite } from './database.ts';

/** Who has which host name beside `APP.DOMAIN`; written with the release that becomes live. */
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
}
