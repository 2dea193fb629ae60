-- Which target runs a release: an app may move from one to another, and what it leaves behind must be found.
ALTER TABLE releases ADD COLUMN target TEXT NOT NULL DEFAULT 'docker';
-- A rollback brings the host names of its release back as well.
ALTER TABLE releases ADD COLUMN domains TEXT NOT NULL DEFAULT '[]';
