import type { App } from '../domain/app.ts';
import type { FleetOptions } from '../domain/fleet-options.ts';
import type { ImageRef } from '../domain/image-ref.ts';
import type { KeepRules } from '../domain/keep.ts';
import type { Process } from '../domain/process.ts';
import type { Release, ReleaseCause, ReleaseService, ReleaseState } from '../domain/release.ts';
import type { Source } from '../domain/source.ts';
import type { Sqlite } from './database.ts';

interface Row {
  id: number;
  app_id: number;
  app: string;
  number: number;
  state: ReleaseState;
  cause: ReleaseCause;
  source: string;
  note: string | null;
  from_number: number | null;
  build_id: number | null;
  target: string;
  domains: string;
  keep: string;
  hosts: string;
  fleet: string;
  config: string;
  made_by: string;
  created_at: number;
}

interface ServiceRow {
  service: string;
  commit_sha: string;
  repository: string;
  digest: string;
  content_key: string;
  processes: string;
  env: string;
  release_command: string | null;
}

export type NewRelease = Omit<
  Release,
  'id' | 'app' | 'number' | 'state' | 'createdAt' | 'note' | 'keep' | 'hosts' | 'fleet'
> & {
  note?: string | undefined;
  keep?: Partial<KeepRules>;
  hosts?: string[];
  fleet?: FleetOptions;
};

const SELECT = 'SELECT r.*, a.name AS app FROM releases r JOIN apps a ON a.id = r.app_id';

export class Releases {
  readonly #db: Sqlite;

  constructor(db: Sqlite) {
    this.#db = db;
  }

  /** Records a release under the app's next number, state pending. */
  create(release: NewRelease): Release {
    return this.#db.transaction(() => {
      const { lastInsertRowid } = this.#db
        .prepare(
          `INSERT INTO releases (app_id, number, state, cause, source, note, from_number, build_id, target, domains, keep, hosts, fleet, config, made_by, created_at)
           VALUES (@appId, (SELECT coalesce(max(number), 0) + 1 FROM releases WHERE app_id = @appId),
                   'pending', @cause, @source, @note, @fromNumber, @buildId, @target, @domains, @keep, @hosts, @fleet, @config, @by, @now)`,
        )
        .run({
          appId: release.appId,
          cause: release.cause,
          source: JSON.stringify(release.source),
          note: release.note ?? null,
          fromNumber: release.fromNumber ?? null,
          buildId: release.buildId ?? null,
          target: release.target,
          domains: JSON.stringify(release.domains),
          keep: JSON.stringify(release.keep ?? {}),
          hosts: JSON.stringify(release.hosts ?? []),
          fleet: JSON.stringify(release.fleet ?? {}),
          config: JSON.stringify(release.config),
          by: release.by,
          now: Date.now(),
        });
      for (const service of release.services) this.#addService(Number(lastInsertRowid), service);
      return this.#toRelease(this.#db.prepare<[number], Row>(`${SELECT} WHERE r.id = ?`).get(Number(lastInsertRowid)))!;
    })();
  }

  find(appId: number, number: number): Release | undefined {
    return this.#toRelease(
      this.#db.prepare<[number, number], Row>(`${SELECT} WHERE r.app_id = ? AND r.number = ?`).get(appId, number),
    );
  }

  /** The release that an app, as it was read, has live. */
  findLive(app: Pick<App, 'id' | 'liveRelease'>): Release | undefined {
    return app.liveRelease === undefined ? undefined : this.find(app.id, app.liveRelease);
  }

  /** Newest first. */
  list(appId: number, limit: number): Release[] {
    return this.#db
      .prepare<[number, number], Row>(`${SELECT} WHERE r.app_id = ? ORDER BY r.number DESC LIMIT ?`)
      .all(appId, limit)
      .map((row) => this.#toRelease(row)!);
  }

  /** Names of the targets that releases of the app were made for. */
  targets(appId: number): string[] {
    return this.#db
      .prepare<[number], { target: string }>('SELECT DISTINCT target FROM releases WHERE app_id = ?')
      .all(appId)
      .map((row) => row.target);
  }

  /** Releases of all apps that an image belongs to and that are not gone, oldest first. */
  listUsing(image: ImageRef): Release[] {
    return this.#db
      .prepare<[string, string], Row>(
        `${SELECT} WHERE r.state <> 'gone' AND r.id IN
           (SELECT release_id FROM release_services WHERE repository = ? AND digest = ?) ORDER BY r.id`,
      )
      .all(image.repository, image.digest)
      .map((row) => this.#toRelease(row)!);
  }

  /** Releases whose rollout has not come to an end; those of a dead server, at start. */
  listPending(): Release[] {
    return this.#db
      .prepare<[], Row>(`${SELECT} WHERE r.state = 'pending' ORDER BY r.id`)
      .all()
      .map((row) => this.#toRelease(row)!);
  }

  /** The release becomes the app's live one, with its host names, and the one before it a past one, in one step. */
  makeLive(release: Release): void {
    this.#db.transaction(() => {
      this.#db.prepare("UPDATE releases SET state = 'past' WHERE app_id = ? AND state = 'live'").run(release.appId);
      this.#db.prepare("UPDATE releases SET state = 'live' WHERE id = ?").run(release.id);
      this.#db.prepare('DELETE FROM domains WHERE app_id = ? AND added = 0').run(release.appId);
      for (const name of release.domains)
        this.#db.prepare('INSERT OR IGNORE INTO domains (name, app_id) VALUES (?, ?)').run(name, release.appId);
      this.#db.prepare('UPDATE apps SET live_release = ? WHERE id = ?').run(release.number, release.appId);
    })();
  }

  fail(release: Release): void {
    this.#db.prepare("UPDATE releases SET state = 'failed' WHERE id = ? AND state = 'pending'").run(release.id);
  }

  /** The release can never run again: its images are about to be removed. Its config values, which are secret, go with them. */
  setGone(release: Pick<Release, 'id'>): void {
    this.#db
      .prepare("UPDATE releases SET state = 'gone', config = '{}' WHERE id = ? AND state IN ('past', 'failed')")
      .run(release.id);
  }

  #addService(releaseId: number, service: ReleaseService): void {
    this.#db
      .prepare(
        `INSERT INTO release_services
           (release_id, service, commit_sha, repository, digest, content_key, processes, env, release_command)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
      )
      .run(
        releaseId,
        service.service,
        // Nothing takes the place of a commit where there was none.
        service.commit ?? '',
        service.image.repository,
        service.image.digest,
        service.contentKey,
        JSON.stringify(service.processes),
        JSON.stringify(service.env),
        service.releaseCommand === undefined ? null : JSON.stringify(service.releaseCommand),
      );
  }

  #toRelease(row: Row | undefined): Release | undefined {
    if (!row) return undefined;
    const services = this.#db
      .prepare<[number], ServiceRow>('SELECT * FROM release_services WHERE release_id = ? ORDER BY service')
      .all(row.id);
    return {
      id: row.id,
      appId: row.app_id,
      app: row.app,
      number: row.number,
      state: row.state,
      cause: row.cause,
      source: JSON.parse(row.source) as Source,
      note: row.note ?? undefined,
      fromNumber: row.from_number ?? undefined,
      buildId: row.build_id ?? undefined,
      target: row.target,
      domains: JSON.parse(row.domains) as string[],
      keep: JSON.parse(row.keep) as Partial<KeepRules>,
      hosts: JSON.parse(row.hosts) as string[],
      fleet: JSON.parse(row.fleet) as FleetOptions,
      services: services.map(toService),
      config: JSON.parse(row.config) as Record<string, string>,
      by: row.made_by,
      createdAt: row.created_at,
    };
  }
}

function toService(row: ServiceRow): ReleaseService {
  return {
    service: row.service,
    commit: row.commit_sha === '' ? undefined : row.commit_sha,
    image: { repository: row.repository, digest: row.digest },
    contentKey: row.content_key,
    processes: (JSON.parse(row.processes) as Process[]).map((process) => ({
      ...process,
      command: process.command,
      port: process.port,
    })),
    env: JSON.parse(row.env) as Record<string, string>,
    releaseCommand: row.release_command === null ? undefined : (JSON.parse(row.release_command) as string[]),
  };
}
