ALTER TABLE msgrun_run ADD COLUMN distributed BOOLEAN DEFAULT 0 NOT NULL;
CREATE TABLE msgrun_worker_new (
    id INTEGER NOT NULL,
    run_id INTEGER,
    host TEXT NOT NULL,
    boot_id TEXT NOT NULL,
    pid INTEGER NOT NULL,
    started_at VARCHAR(27) NOT NULL,
    seen_at VARCHAR(27) NOT NULL,
    lease_until VARCHAR(27) NOT NULL,
    drained BOOLEAN NOT NULL,
    ended_at VARCHAR(27),
    standing BOOLEAN DEFAULT 0 NOT NULL,
    sent INTEGER DEFAULT 0 NOT NULL,
    per_minute INTEGER DEFAULT 0 NOT NULL,
    CONSTRAINT msgrun_worker_pkey PRIMARY KEY (id),
    CONSTRAINT msgrun_worker_run_id_fkey FOREIGN KEY(run_id) REFERENCES msgrun_run (id)
);
INSERT INTO msgrun_worker_new
    SELECT id, run_id, host, boot_id, pid, started_at, seen_at, lease_until, drained, ended_at, 0, 0, 0
    FROM msgrun_worker;
DROP TABLE msgrun_worker;
ALTER TABLE msgrun_worker_new RENAME TO msgrun_worker;
CREATE INDEX msgrun_worker_run_id ON msgrun_worker (run_id);
