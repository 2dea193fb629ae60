import type { App } from '../domain/app.ts';
import { DinpError } from '../domain/errors.ts';
import type { Sqlite } from './database.ts';

interface Row {
  id: number;
  name: string;
  deploy_branch: string | null;
  deploys: number;
  stopped: number;
  target: string | null;
  port: number | null;
  live_release: number | null;
  created_at: number;
}

export class Apps {
  readonly #db: Sqlite;

  constructor(db: Sqlite) {
    this.#db = db;
  }

  create(name: string): App {
    this.#db.prepare('INSERT INTO apps (name, created_at) VALUES (?, ?)').run(name, Date.now());
    return this.find(name)!;
  }

  find(name: string): App | undefined {
    return toApp(this.#db.prepare<[string], Row>('SELECT * FROM apps WHERE name = ?').get(name));
  }

  /** @throws DinpError not-found where it was removed */
  get(name: string): App {
    const app = this.find(name);
    if (app) return app;
    throw new DinpError('not-found', `the app ${name} was removed.`);
  }

  findById(id: number): App | undefined {
    return toApp(this.#db.prepare<[number], Row>('SELECT * FROM apps WHERE id = ?').get(id));
  }

  list(): App[] {
    return this.#db
      .prepare<[], Row>('SELECT * FROM apps ORDER BY name')
      .all()
      .map((row) => toApp(row)!);
  }

  /** The service that is named like its app goes on being that in the app's releases. */
  rename(id: number, name: string): void {
    this.#db.transaction(() => {
      this.#db
        .prepare(
          `UPDATE release_services SET service = @name
           WHERE service = (SELECT name FROM apps WHERE id = @id)
             AND release_id IN (SELECT id FROM releases WHERE app_id = @id)`,
        )
        .run({ id, name });
      this.#db.prepare('UPDATE apps SET name = @name WHERE id = @id').run({ id, name });
    })();
  }

  /** Removes the app and every row that belongs to it. */
  remove(id: number): void {
    this.#db.prepare('DELETE FROM apps WHERE id = ?').run(id);
  }

  setDeployBranch(id: number, branch: string): void {
    this.#db.prepare('UPDATE apps SET deploy_branch = ? WHERE id = ?').run(branch, id);
  }

  setDeploys(id: number, deploys: boolean): void {
    this.#db.prepare('UPDATE apps SET deploys = ? WHERE id = ?').run(Number(deploys), id);
  }

  setStopped(id: number, stopped: boolean): void {
    this.#db.prepare('UPDATE apps SET stopped = ? WHERE id = ?').run(Number(stopped), id);
  }

  setTarget(id: number, target: string | undefined): void {
    this.#db.prepare('UPDATE apps SET target = ? WHERE id = ?').run(target ?? null, id);
  }

  setLiveRelease(id: number, release: number | undefined): void {
    this.#db.prepare('UPDATE apps SET live_release = ? WHERE id = ?').run(release ?? null, id);
  }

  setPort(id: number, port: number): void {
    this.#db.prepare('UPDATE apps SET port = ? WHERE id = ?').run(port, id);
  }
}

function toApp(row: Row | undefined): App | undefined {
  return (
    row && {
      id: row.id,
      name: row.name,
      deployBranch: row.deploy_branch ?? undefined,
      deploys: row.deploys === 1,
      stopped: row.stopped === 1,
      target: row.target ?? undefined,
      port: row.port ?? undefined,
      liveRelease: row.live_release ?? undefined,
      createdAt: row.created_at,
    }
  );
}
