CREATE TABLE msgrun_schedule (
    name TEXT NOT NULL,
    cron TEXT NOT NULL,
    timezone TEXT NOT NULL,
    since VARCHAR(27) NOT NULL,
    looked_at VARCHAR(27) NOT NULL,
    paused_at VARCHAR(27),
    paused_by TEXT,
    CONSTRAINT msgrun_schedule_pkey PRIMARY KEY (name)
);
CREATE TABLE msgrun_slot (
    id INTEGER NOT NULL,
    schedule TEXT NOT NULL,
    slot VARCHAR(27) NOT NULL,
    state TEXT NOT NULL,
    run_id INTEGER,
    tries INTEGER NOT NULL,
    taken_at VARCHAR(27) NOT NULL,
    taken_by TEXT NOT NULL,
    host TEXT NOT NULL,
    boot_id TEXT NOT NULL,
    pid INTEGER NOT NULL,
    due_at VARCHAR(27),
    code INTEGER,
    detail TEXT,
    ended_at VARCHAR(27),
    CONSTRAINT msgrun_slot_pkey PRIMARY KEY (id),
    CONSTRAINT msgrun_slot_schedule_key UNIQUE (schedule, slot),
    CONSTRAINT msgrun_slot_run_id_fkey FOREIGN KEY(run_id) REFERENCES msgrun_run (id),
    CONSTRAINT msgrun_slot_state_known CHECK (state IN ('taken', 'waiting', 'started', 'ended', 'missed')),
    CONSTRAINT msgrun_slot_run_id_key UNIQUE (run_id)
);
CREATE TABLE msgrun_news (
    schedule TEXT NOT NULL,
    slot VARCHAR(27) NOT NULL,
    kind TEXT NOT NULL,
    told_at VARCHAR(27) NOT NULL,
    problem TEXT,
    CONSTRAINT msgrun_news_pkey PRIMARY KEY (schedule, slot, kind)
);
