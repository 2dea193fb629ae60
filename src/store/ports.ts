import type { Sqlite } from './database.ts';

/** Which instance holds which port of the host. */
export class InstancePorts {
  readonly #db: Sqlite;

  constructor(db: Sqlite) {
    this.#db = db;
  }

  find(instance: string): number | undefined {
    return this.#db
      .prepare<[string], { port: number }>('SELECT port FROM instance_ports WHERE instance = ?')
      .get(instance)?.port;
  }

  taken(): Set<number> {
    return new Set(
      this.#db
        .prepare<[], { port: number }>('SELECT port FROM instance_ports')
        .all()
        .map((row) => row.port),
    );
  }

  take(appId: number, instance: string, port: number): void {
    this.#db.prepare('INSERT INTO instance_ports (port, app_id, instance) VALUES (?, ?, ?)').run(port, appId, instance);
  }

  release(instances: string[]): void {
    this.#db.transaction(() => {
      for (const instance of instances) this.#db.prepare('DELETE FROM instance_ports WHERE instance = ?').run(instance);
    })();
  }
}
