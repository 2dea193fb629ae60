-- A rename or destroy under way: what it touches outside of this database takes several steps, and a server that
-- starts goes on with those that a dead one left.
CREATE TABLE changes (
  app_id INTEGER PRIMARY KEY REFERENCES apps (id) ON DELETE CASCADE,
  change TEXT NOT NULL
) STRICT;
