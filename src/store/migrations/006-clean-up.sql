-- What dinp.yml says of clean-up, and when a build entered which stage.
ALTER TABLE releases ADD COLUMN keep TEXT NOT NULL DEFAULT '{}';
ALTER TABLE builds ADD COLUMN stages TEXT NOT NULL DEFAULT '[]';
-- Images that builds made or reused, until clean-up has removed them from the registry. They outlive the rows of their
-- app and build: nothing else tells what a removed app left there.
CREATE TABLE images (
  build_id    INTEGER NOT NULL,
  app_id      INTEGER NOT NULL,
  repository  TEXT NOT NULL,
  digest      TEXT NOT NULL,
  content_key TEXT NOT NULL,
  recipe      TEXT NOT NULL,
  -- All that the build may have named it by.
  tags        TEXT NOT NULL,
  made_at     INTEGER NOT NULL,
  -- Whether the build's log and provenance are beside it in the registry.
  recorded    INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (build_id, repository, digest)
) STRICT, WITHOUT ROWID;
CREATE INDEX images_by_digest ON images (repository, digest);
INSERT OR IGNORE INTO images (build_id, app_id, repository, digest, content_key, recipe, tags, made_at)
SELECT b.id, b.app_id, s.repository, s.digest, s.content_key, 'unknown',
       json_array(b.source ->> '$.sha', (b.source ->> '$.sha') || '-' || substr(s.content_key, 1, 8), 'b' || b.number,
                  'key-' || s.content_key, lower(replace(replace(b.source ->> '$.ref', 'refs/heads/', ''), '/', '-'))),
       b.created_at
FROM release_services s
JOIN releases r ON r.id = s.release_id AND r.cause = 'deploy'
JOIN builds b ON b.id = r.build_id
WHERE b.source ->> '$.kind' = 'commit';
