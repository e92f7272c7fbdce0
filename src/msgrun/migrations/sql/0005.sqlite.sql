ALTER TABLE msgrun_run ADD COLUMN purged_at VARCHAR(27);
ALTER TABLE msgrun_message ADD COLUMN purged_at VARCHAR(27);
