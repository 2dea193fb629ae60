-- What dinp.yml says of the machines of fleet.
ALTER TABLE releases ADD COLUMN fleet TEXT NOT NULL DEFAULT '{}';
