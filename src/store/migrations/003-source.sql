-- A build is made from a commit, an upload or an image by address; a note says in the deployer's words what is new.
ALTER TABLE builds ADD COLUMN source TEXT NOT NULL DEFAULT '';
UPDATE builds SET source = json_object('kind', 'commit', 'sha', sha, 'ref', ref);
DROP INDEX builds_by_commit;
ALTER TABLE builds DROP COLUMN sha;
ALTER TABLE builds DROP COLUMN ref;
CREATE INDEX builds_by_commit ON builds (app_id, (source ->> '$.sha'));
ALTER TABLE builds ADD COLUMN note TEXT;
ALTER TABLE releases ADD COLUMN note TEXT;
