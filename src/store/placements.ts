import type { Sqlite } from './database.ts';

/** An instance and a host that it was given. */
export interface Placement {
  instance: string;
  hostId: number;
  app: string;
  release: number;
  process: string;
  /** 1, 2, … within the process. */
  index: number;
  /** false: it has moved to another host since, and may be left here. */
  wanted: boolean;
  /** true: it goes as soon as the host answers. */
  removing: boolean;
}

interface Row {
  instance: string;
  host_id: number;
  app: string;
  release: number;
  process: string;
  number: number;
  wanted: number;
  removing: number;
}

/** Which instance is on which host, and where the data of volumes is. */
export class Placements {
  readonly #db: Sqlite;

  constructor(db: Sqlite) {
    this.#db = db;
  }

  /** The host that an instance should be on. */
  find(instance: string): Placement | undefined {
    const row = this.#db
      .prepare<[string], Row>('SELECT * FROM placements WHERE instance = ? AND wanted = 1 AND removing = 0')
      .get(instance);
    return row && toPlacement(row);
  }

  /** All hosts that an instance may be on. */
  ofInstance(instance: string): Placement[] {
    return this.#db
      .prepare<[string], Row>('SELECT * FROM placements WHERE instance = ?')
      .all(instance)
      .map(toPlacement);
  }

  onHost(hostId: number): Placement[] {
    return this.#db
      .prepare<[number], Row>('SELECT * FROM placements WHERE host_id = ? ORDER BY app, instance')
      .all(hostId)
      .map(toPlacement);
  }

  /** Gives an instance a host; one that it had before is remembered until it was removed from there. */
  put(placement: Omit<Placement, 'wanted' | 'removing'>): void {
    this.#db.transaction(() => {
      this.#db.prepare('UPDATE placements SET wanted = 0 WHERE instance = ?').run(placement.instance);
      this.#db
        .prepare(
          `INSERT INTO placements (instance, host_id, app, release, process, number) VALUES (?, ?, ?, ?, ?, ?)
           ON CONFLICT DO UPDATE SET wanted = 1, removing = 0`,
        )
        .run(
          placement.instance,
          placement.hostId,
          placement.app,
          placement.release,
          placement.process,
          placement.index,
        );
    })();
  }

  setRemoving(instance: string, hostId: number): void {
    this.#db.prepare('UPDATE placements SET removing = 1 WHERE instance = ? AND host_id = ?').run(instance, hostId);
  }

  remove(instance: string, hostId: number): void {
    this.#db.prepare('DELETE FROM placements WHERE instance = ? AND host_id = ?').run(instance, hostId);
  }

  /** Forgets places of an app's instances, but for these, and those that are to be removed from a host yet. */
  forget(app: string, keep: readonly string[]): void {
    this.#db
      .prepare(
        `DELETE FROM placements WHERE app = ? AND removing = 0
         AND instance NOT IN (SELECT value FROM json_each(?))`,
      )
      .run(app, JSON.stringify(keep));
  }

  /** Id of the host that has a volume's data. */
  volumeHost(volume: string): number | undefined {
    return this.#db
      .prepare<[string], { host_id: number }>('SELECT host_id FROM volume_hosts WHERE volume = ?')
      .get(volume)?.host_id;
  }

  putVolume(volume: string, hostId: number): void {
    this.#db.prepare('INSERT OR REPLACE INTO volume_hosts (volume, host_id) VALUES (?, ?)').run(volume, hostId);
  }

  removeVolume(volume: string): void {
    this.#db.prepare('DELETE FROM volume_hosts WHERE volume = ?').run(volume);
  }
}

function toPlacement(row: Row): Placement {
  return {
    instance: row.instance,
    hostId: row.host_id,
    app: row.app,
    release: row.release,
    process: row.process,
    index: row.number,
    wanted: row.wanted === 1,
    removing: row.removing === 1,
  };
}
