ALTER TABLE msgrun_message ADD COLUMN context TEXT;
ALTER TABLE msgrun_message ADD COLUMN doubted_at VARCHAR(27);
ALTER TABLE msgrun_server ADD COLUMN closed_until VARCHAR(27);
