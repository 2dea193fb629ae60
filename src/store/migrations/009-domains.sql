-- Host names that an operator added; the others come and go with the dinp.yml of the live release.
ALTER TABLE domains ADD COLUMN added INTEGER NOT NULL DEFAULT 0;
CREATE INDEX domains_by_app ON domains (app_id);
