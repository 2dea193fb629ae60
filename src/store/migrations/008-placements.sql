-- Which host an instance was given, and which it was given before and may still be on.
CREATE TABLE placements (
  instance  TEXT NOT NULL,
  host_id   INTEGER NOT NULL REFERENCES hosts (id) ON DELETE CASCADE,
  app       TEXT NOT NULL,
  release   INTEGER NOT NULL,
  process   TEXT NOT NULL,
  number    INTEGER NOT NULL,
  -- 0: it has moved to another host since.
  wanted    INTEGER NOT NULL DEFAULT 1,
  -- 1: it goes as soon as the host answers.
  removing  INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (instance, host_id)
) STRICT, WITHOUT ROWID;
-- Where the data of a volume is.
CREATE TABLE volume_hosts (
  volume  TEXT PRIMARY KEY,
  host_id INTEGER NOT NULL REFERENCES hosts (id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
-- What dinp.yml says of hosts: names and labels.
ALTER TABLE releases ADD COLUMN hosts TEXT NOT NULL DEFAULT '[]';
