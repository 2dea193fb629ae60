import type { Sqlite } from './database.ts';

/** How many instances of each process the operator asked for; processes nobody scaled are absent. */
export class Formation {
  readonly #db: Sqlite;

  constructor(db: Sqlite) {
    this.#db = db;
  }

  get(appId: number): Record<string, number> {
    const rows = this.#db
      .prepare<[number], { process: string; instances: number }>(
        'SELECT process, instances FROM formation WHERE app_id = ?',
      )
      .all(appId);
    return Object.fromEntries(rows.map((row) => [row.process, row.instances]));
  }

  set(appId: number, formation: Record<string, number>): void {
    this.#db.transaction(() => {
      for (const [process, instances] of Object.entries(formation)) {
        this.#db
          .prepare('INSERT OR REPLACE INTO formation (app_id, process, instances) VALUES (?, ?, ?)')
          .run(appId, process, instances);
      }
    })();
  }
}
