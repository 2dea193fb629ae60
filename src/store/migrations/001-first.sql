CREATE TABLE meta (
  name  TEXT PRIMARY KEY,
  value TEXT NOT NULL
) STRICT;

CREATE TABLE apps (
  id            INTEGER PRIMARY KEY AUTOINCREMENT,
  name          TEXT NOT NULL UNIQUE,
  deploy_branch TEXT,
  deploys       INTEGER NOT NULL DEFAULT 1,
  stopped       INTEGER NOT NULL DEFAULT 0,
  target        TEXT,
  port          INTEGER UNIQUE,
  live_release  INTEGER,
  created_at    INTEGER NOT NULL
) STRICT;

CREATE TABLE keys (
  id          INTEGER PRIMARY KEY,
  name        TEXT NOT NULL UNIQUE,
  fingerprint TEXT NOT NULL UNIQUE,
  public_key  TEXT NOT NULL,
  role        TEXT NOT NULL CHECK (role IN ('admin', 'deployer')),
  created_at  INTEGER NOT NULL
) STRICT;

CREATE TABLE key_apps (
  key_id INTEGER NOT NULL REFERENCES keys (id) ON DELETE CASCADE,
  app_id INTEGER NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
  PRIMARY KEY (key_id, app_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE builds (
  id            INTEGER PRIMARY KEY AUTOINCREMENT,
  app_id        INTEGER NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
  number        INTEGER NOT NULL,
  sha           TEXT NOT NULL,
  ref           TEXT NOT NULL,
  state         TEXT NOT NULL,
  stage         TEXT,
  no_cache      INTEGER NOT NULL DEFAULT 0,
  pushed_by     TEXT NOT NULL,
  reason        TEXT,
  superseded_by INTEGER,
  release       INTEGER,
  unwatched     INTEGER NOT NULL DEFAULT 0,
  created_at    INTEGER NOT NULL,
  started_at    INTEGER,
  finished_at   INTEGER,
  UNIQUE (app_id, number)
) STRICT;
CREATE INDEX builds_unfinished ON builds (state) WHERE state IN ('waiting', 'running');
CREATE INDEX builds_by_commit ON builds (app_id, sha);

CREATE TABLE releases (
  id          INTEGER PRIMARY KEY AUTOINCREMENT,
  app_id      INTEGER NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
  number      INTEGER NOT NULL,
  state       TEXT NOT NULL,
  cause       TEXT NOT NULL,
  source      TEXT NOT NULL,
  from_number INTEGER,
  build_id    INTEGER,
  config      TEXT NOT NULL,
  made_by     TEXT NOT NULL,
  created_at  INTEGER NOT NULL,
  UNIQUE (app_id, number)
) STRICT;

CREATE TABLE release_services (
  release_id      INTEGER NOT NULL REFERENCES releases (id) ON DELETE CASCADE,
  service         TEXT NOT NULL,
  commit_sha      TEXT NOT NULL,
  repository      TEXT NOT NULL,
  digest          TEXT NOT NULL,
  content_key     TEXT NOT NULL,
  processes       TEXT NOT NULL,
  env             TEXT NOT NULL,
  release_command TEXT,
  PRIMARY KEY (release_id, service)
) STRICT, WITHOUT ROWID;

CREATE TABLE config (
  app_id INTEGER NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
  name   TEXT NOT NULL,
  value  TEXT NOT NULL,
  PRIMARY KEY (app_id, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE formation (
  app_id    INTEGER NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
  process   TEXT NOT NULL,
  instances INTEGER NOT NULL CHECK (instances >= 0),
  PRIMARY KEY (app_id, process)
) STRICT, WITHOUT ROWID;

-- Host ports that instances hold; a row lives as long as its instance may.
CREATE TABLE instance_ports (
  port     INTEGER PRIMARY KEY,
  app_id   INTEGER NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
  instance TEXT NOT NULL UNIQUE
) STRICT;

CREATE TABLE domains (
  name   TEXT PRIMARY KEY,
  app_id INTEGER NOT NULL REFERENCES apps (id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
