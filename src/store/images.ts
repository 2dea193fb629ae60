import type { ImageRef } from '../domain/image-ref.ts';
import type { Sqlite } from './database.ts';

interface Row {
  build_id: number;
  app_id: number;
  repository: string;
  digest: string;
  content_key: string;
  recipe: string;
  tags: string;
  made_at: number;
  recorded: number;
}

/** An image that a build made or reused. */
export interface MadeImage {
  buildId: number;
  appId: number;
  image: ImageRef;
  contentKey: string;
  /** How it was made: `dockerfile`, `war over tomcat10`, `copy`. */
  recipe: string;
  /** All tags that the build may have given it. */
  tags: string[];
  /** Milliseconds since the epoch. */
  madeAt: number;
  /** Whether the build's log and provenance are beside it in the registry. */
  recorded: boolean;
}

/** Which builds made which images; a row stays until the image is gone from the registry, even without build and app. */
export class Images {
  readonly #db: Sqlite;

  constructor(db: Sqlite) {
    this.#db = db;
  }

  /** Doing it again (an interrupted build that starts over) changes nothing. */
  add(made: Omit<MadeImage, 'madeAt' | 'recorded'>): void {
    this.#db
      .prepare(
        `INSERT INTO images (build_id, app_id, repository, digest, content_key, recipe, tags, made_at)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
      )
      .run(
        made.buildId,
        made.appId,
        made.image.repository,
        made.image.digest,
        made.contentKey,
        made.recipe,
        JSON.stringify(made.tags),
        Date.now(),
      );
  }

  /** Oldest build first. */
  list(): MadeImage[] {
    return this.#all('ORDER BY build_id');
  }

  listOfBuild(buildId: number): MadeImage[] {
    return this.#all('WHERE build_id = ? ORDER BY repository', buildId);
  }

  /** Builds that made one image, oldest first. */
  listOfImage(image: ImageRef): MadeImage[] {
    return this.#all('WHERE repository = ? AND digest = ? ORDER BY build_id', image.repository, image.digest);
  }

  /** Images of builds that are over, without the build's log beside them; oldest first. */
  listUnrecorded(): MadeImage[] {
    return this.#all(
      `WHERE recorded = 0 AND build_id IN (SELECT id FROM builds WHERE state NOT IN ('waiting', 'running'))
       ORDER BY build_id`,
    );
  }

  setRecorded(made: MadeImage): void {
    this.#db
      .prepare('UPDATE images SET recorded = 1 WHERE build_id = ? AND repository = ? AND digest = ?')
      .run(made.buildId, made.image.repository, made.image.digest);
  }

  /** Forgets an image that is gone. */
  remove(image: ImageRef): void {
    this.#db.prepare('DELETE FROM images WHERE repository = ? AND digest = ?').run(image.repository, image.digest);
  }

  #all(where: string, ...values: (string | number)[]): MadeImage[] {
    return this.#db
      .prepare<(string | number)[], Row>(`SELECT * FROM images ${where}`)
      .all(...values)
      .map(toMade);
  }
}

function toMade(row: Row): MadeImage {
  return {
    buildId: row.build_id,
    appId: row.app_id,
    image: { repository: row.repository, digest: row.digest },
    contentKey: row.content_key,
    recipe: row.recipe,
    tags: (JSON.parse(row.tags) as (string | null)[]).filter((tag) => tag !== null),
    madeAt: row.made_at,
    recorded: row.recorded === 1,
  };
}
