import type { Sqlite } from './database.ts';

/** The operator's environment of each app. Values are secret: they leave only towards a release. */
export class Config {
  readonly #db: Sqlite;

  constructor(db: Sqlite) {
    this.#db = db;
  }

  get(appId: number): Record<string, string> {
    const rows = this.#db
      .prepare<[number], { name: string; value: string }>(
        'SELECT name, value FROM config WHERE app_id = ? ORDER BY name',
      )
      .all(appId);
    return Object.fromEntries(rows.map((row) => [row.name, row.value]));
  }

  /** Sets and unsets in one step; undefined unsets. */
  change(appId: number, values: Record<string, string | undefined>): void {
    this.#db.transaction(() => {
      for (const [name, value] of Object.entries(values)) {
        if (value === undefined) this.#db.prepare('DELETE FROM config WHERE app_id = ? AND name = ?').run(appId, name);
        else
          this.#db
            .prepare('INSERT OR REPLACE INTO config (app_id, name, value) VALUES (?, ?, ?)')
            .run(appId, name, value);
      }
    })();
  }
}
