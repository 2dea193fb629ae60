import type { Build, BuildState, Stage } from '../domain/build.ts';
import { DinpError } from '../domain/errors.ts';
import type { Source } from '../domain/source.ts';
import type { Sqlite } from './database.ts';

interface Row {
  id: number;
  app_id: number;
  app: string;
  number: number;
  source: string;
  note: string | null;
  state: BuildState;
  stage: Stage | null;
  stages: string;
  no_cache: number;
  pushed_by: string;
  reason: string | null;
  superseded_by_number: number | null;
  release: number | null;
  unwatched: number;
  created_at: number;
  started_at: number | null;
  finished_at: number | null;
}

export interface NewBuild {
  appId: number;
  source: Source;
  note?: string | undefined;
  noCache: boolean;
  by: string;
}

const SELECT = `SELECT b.*, a.name AS app, s.number AS superseded_by_number
  FROM builds b JOIN apps a ON a.id = b.app_id LEFT JOIN builds s ON s.id = b.superseded_by`;

export class Builds {
  readonly #db: Sqlite;

  constructor(db: Sqlite) {
    this.#db = db;
  }

  /** Records a waiting build; it is durable when this returns. */
  create(build: NewBuild): Build {
    const { lastInsertRowid } = this.#db
      .prepare(
        `INSERT INTO builds (app_id, number, source, note, state, no_cache, pushed_by, created_at)
         VALUES (@appId, (SELECT coalesce(max(number), 0) + 1 FROM builds WHERE app_id = @appId), @source, @note, 'waiting', @noCache, @by, @now)`,
      )
      .run({
        appId: build.appId,
        source: JSON.stringify(build.source),
        note: build.note ?? null,
        noCache: Number(build.noCache),
        by: build.by,
        now: Date.now(),
      });
    return this.get(Number(lastInsertRowid));
  }

  /** @throws DinpError not-found where its app, and it with that, was removed */
  get(id: number): Build {
    const build = toBuild(this.#db.prepare<[number], Row>(`${SELECT} WHERE b.id = ?`).get(id));
    if (build) return build;
    throw new DinpError('not-found', 'the app of this build was removed.');
  }

  find(appId: number, number: number): Build | undefined {
    return toBuild(
      this.#db.prepare<[number, number], Row>(`${SELECT} WHERE b.app_id = ? AND b.number = ?`).get(appId, number),
    );
  }

  /** The newest build of the app, of one commit where that is given. */
  findLatest(appId: number, sha?: string): Build | undefined {
    return toBuild(
      sha === undefined
        ? this.#db.prepare<[number], Row>(`${SELECT} WHERE b.app_id = ? ORDER BY b.id DESC LIMIT 1`).get(appId)
        : this.#db
            .prepare<[number, string], Row>(
              `${SELECT} WHERE b.app_id = ? AND b.source ->> '$.sha' = ? ORDER BY b.id DESC LIMIT 1`,
            )
            .get(appId, sha),
    );
  }

  /** The newest build of a commit, whatever was uploaded since; none that was overtaken before it was recorded. */
  findLatestPush(appId: number): Build | undefined {
    return toBuild(
      this.#db
        .prepare<[number], Row>(
          `${SELECT} WHERE b.app_id = ? AND b.source ->> '$.kind' = 'commit'
             AND (b.superseded_by IS NULL OR b.superseded_by > b.id) ORDER BY b.id DESC LIMIT 1`,
        )
        .get(appId),
    );
  }

  /** Newest first. */
  list(appId: number, limit: number): Build[] {
    return this.#all('WHERE b.app_id = ? ORDER BY b.id DESC LIMIT ?', appId, limit);
  }

  /** Waiting and running builds of all apps, oldest first. */
  listUnfinished(): Build[] {
    return this.#all("WHERE b.state IN ('waiting', 'running') ORDER BY b.id");
  }

  /** Builds that ended while nobody of the pusher's watched, oldest first. */
  listUnwatched(appId: number): Build[] {
    return this.#all(
      "WHERE b.app_id = ? AND b.unwatched = 1 AND b.state NOT IN ('waiting', 'running') ORDER BY b.id",
      appId,
    );
  }

  start(id: number): void {
    this.#db.prepare("UPDATE builds SET state = 'running', started_at = ? WHERE id = ?").run(Date.now(), id);
  }

  /** Back to waiting, after the server's death interrupted it. */
  requeue(id: number): void {
    this.#db
      .prepare("UPDATE builds SET state = 'waiting', stage = NULL, stages = '[]', started_at = NULL WHERE id = ?")
      .run(id);
  }

  setStage(id: number, stage: Stage): void {
    this.#db
      .prepare(
        `UPDATE builds SET stage = @stage, stages = json_insert(stages, '$[#]', json_object('stage', @stage, 'at', @now))
         WHERE id = @id`,
      )
      .run({ id, stage, now: Date.now() });
  }

  setRelease(id: number, release: number): void {
    this.#db.prepare('UPDATE builds SET release = ? WHERE id = ?').run(release, id);
  }

  setUnwatched(id: number, unwatched: boolean): void {
    this.#db.prepare('UPDATE builds SET unwatched = ? WHERE id = ?').run(Number(unwatched), id);
  }

  /** @param end.supersededBy id of the build that took its place */
  finish(id: number, end: { state: BuildState; reason?: string | undefined; supersededBy?: number | undefined }): void {
    this.#db
      .prepare('UPDATE builds SET state = ?, reason = ?, superseded_by = ?, finished_at = ? WHERE id = ?')
      .run(end.state, end.reason ?? null, end.supersededBy ?? null, Date.now(), id);
  }

  #all(where: string, ...values: (string | number)[]): Build[] {
    return this.#db
      .prepare<(string | number)[], Row>(`${SELECT} ${where}`)
      .all(...values)
      .map((row) => toBuild(row)!);
  }
}

function toBuild(row: Row | undefined): Build | undefined {
  return (
    row && {
      id: row.id,
      appId: row.app_id,
      app: row.app,
      number: row.number,
      source: JSON.parse(row.source) as Source,
      note: row.note ?? undefined,
      state: row.state,
      stage: row.stage ?? undefined,
      stages: JSON.parse(row.stages) as Build['stages'],
      noCache: row.no_cache === 1,
      by: row.pushed_by,
      reason: row.reason ?? undefined,
      supersededBy: row.superseded_by_number ?? undefined,
      release: row.release ?? undefined,
      unwatched: row.unwatched === 1,
      createdAt: row.created_at,
      startedAt: row.started_at ?? undefined,
      finishedAt: row.finished_at ?? undefined,
    }
  );
}
