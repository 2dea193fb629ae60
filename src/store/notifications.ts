import type { Sqlite } from './database.ts';

/** An event that was not told yet. */
export interface Notification {
  id: number;
  /** `deploy.failed`. */
  event: string;
  /** JSON. */
  body: string;
  /** Milliseconds since the epoch. */
  createdAt: number;
}

interface Row {
  id: number;
  event: string;
  body: string;
  created_at: number;
}

/** Events that wait for the operator's webhook, in the order in which they happened. */
export class Notifications {
  readonly #db: Sqlite;

  constructor(db: Sqlite) {
    this.#db = db;
  }

  /** @param most so many stay at most: the oldest go. @returns how many went */
  add(notification: Omit<Notification, 'id'>, most: number): number {
    const { event, body, createdAt } = notification;
    return this.#db.transaction(() => {
      this.#db
        .prepare('INSERT INTO notifications (event, body, created_at) VALUES (?, ?, ?)')
        .run(event, body, createdAt);
      return this.#db
        .prepare('DELETE FROM notifications WHERE id NOT IN (SELECT id FROM notifications ORDER BY id DESC LIMIT ?)')
        .run(most).changes;
    })();
  }

  oldest(): Notification | undefined {
    const row = this.#db.prepare<[], Row>('SELECT * FROM notifications ORDER BY id LIMIT 1').get();
    return row && { id: row.id, event: row.event, body: row.body, createdAt: row.created_at };
  }

  remove(id: number): void {
    this.#db.prepare('DELETE FROM notifications WHERE id = ?').run(id);
  }
}
