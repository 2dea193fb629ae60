-- Machines that run instances and are reached over SSH.
CREATE TABLE hosts (
  id            INTEGER PRIMARY KEY AUTOINCREMENT,
  name          TEXT NOT NULL UNIQUE,
  ssh_user      TEXT NOT NULL,
  ssh_host      TEXT NOT NULL,
  ssh_port      INTEGER NOT NULL,
  -- The host key that it must show.
  key_type      TEXT NOT NULL,
  fingerprint   TEXT NOT NULL,
  -- Its own IP address that instances are bound to and the router reaches.
  address       TEXT NOT NULL,
  labels        TEXT NOT NULL,
  -- Absolute path of the docker CLI there.
  docker        TEXT NOT NULL,
  -- Port of its loopback address that leads to our registry.
  registry_port INTEGER NOT NULL,
  drained       INTEGER NOT NULL DEFAULT 0,
  created_at    INTEGER NOT NULL
) STRICT;
