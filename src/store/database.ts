import { chmodSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { DinpError } from '../domain/errors.ts';

export type Sqlite = Database.Database;

const MIGRATIONS = join(import.meta.dirname, 'migrations');

/**
 * Opens the server's database (created where absent, mode 0600: it holds config values), with the settings under
 * which a power cut or kill -9 loses no committed row, and brings its schema up to date.
 * @throws DinpError config when the file is from a newer dinp
 */
export function openDatabase(file: string): Sqlite {
  const db = new Database(file);
  chmodSync(file, 0o600);
  db.pragma('journal_mode = WAL');
  db.pragma('synchronous = FULL');
  db.pragma('foreign_keys = ON');
  db.pragma('busy_timeout = 5000');
  migrate(db);
  return db;
}

/** Applies the numbered migrations that the database has not seen, each in a transaction of its own. */
function migrate(db: Sqlite): void {
  const files = readdirSync(MIGRATIONS)
    .filter((name) => /^\d{3}-.*\.sql$/.test(name))
    .sort();
  const done = db.pragma('user_version', { simple: true }) as number;
  if (done > files.length) {
    throw new DinpError(
      'config',
      `the database ${db.name} was written by a newer dinp (schema ${done}, this one knows ${files.length}).`,
      {
        hint: 'Install that version again, or restore a backup from before the upgrade.',
      },
    );
  }
  files.slice(done).forEach((name, index) => {
    db.transaction(() => {
      db.exec(readFileSync(join(MIGRATIONS, name), 'utf8'));
      db.pragma(`user_version = ${done + index + 1}`);
    })();
  });
}
