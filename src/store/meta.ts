import { randomBytes } from 'node:crypto';
import type { Sqlite } from './database.ts';

/** The id of this server, made once: it marks containers, units and images as ours where an engine is shared. */
export function ensureServerId(db: Sqlite): string {
  db.prepare("INSERT OR IGNORE INTO meta (name, value) VALUES ('server-id', ?)").run(randomBytes(6).toString('hex'));
  return db.prepare<[], { value: string }>("SELECT value FROM meta WHERE name = 'server-id'").get()!.value;
}
