import type { Sqlite } from './database.ts';

/** What is being done to an app in several steps. */
export type Change =
  | { kind: 'rename' /** Its name before. */; from: string }
  | { kind: 'destroy' /** Whether the data of its volumes goes, too. */; volumes: boolean };

/** Renames and destroys that have begun and not ended, at most one an app. */
export class Changes {
  readonly #db: Sqlite;

  constructor(db: Sqlite) {
    this.#db = db;
  }

  begin(appId: number, change: Change): void {
    this.#db.prepare('INSERT INTO changes (app_id, change) VALUES (?, ?)').run(appId, JSON.stringify(change));
  }

  find(appId: number): Change | undefined {
    const row = this.#db
      .prepare<[number], { change: string }>('SELECT change FROM changes WHERE app_id = ?')
      .get(appId);
    return row && (JSON.parse(row.change) as Change);
  }

  end(appId: number): void {
    this.#db.prepare('DELETE FROM changes WHERE app_id = ?').run(appId);
  }
}
