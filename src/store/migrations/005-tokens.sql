-- Deploy tokens: each deploys one app over HTTP. Of the secret only its SHA-256 is here.
CREATE TABLE tokens (
  id         INTEGER PRIMARY KEY,
  app_id     INTEGER NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
  name       TEXT NOT NULL,
  hash       BLOB NOT NULL UNIQUE,
  made_by    TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  expires_at INTEGER,
  used_at    INTEGER,
  UNIQUE (app_id, name)
) STRICT;
