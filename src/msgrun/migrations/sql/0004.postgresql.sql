CREATE TABLE msgrun.schedule (
    name TEXT NOT NULL,
    cron TEXT NOT NULL,
    timezone TEXT NOT NULL,
    since TIMESTAMP WITH TIME ZONE NOT NULL,
    looked_at TIMESTAMP WITH TIME ZONE NOT NULL,
    paused_at TIMESTAMP WITH TIME ZONE,
    paused_by TEXT,
    CONSTRAINT schedule_pkey PRIMARY KEY (name)
);
CREATE TABLE msgrun.slot (
    id BIGSERIAL NOT NULL,
    schedule TEXT NOT NULL,
    slot TIMESTAMP WITH TIME ZONE NOT NULL,
    state TEXT NOT NULL,
    run_id BIGINT,
    tries INTEGER NOT NULL,
    taken_at TIMESTAMP WITH TIME ZONE NOT NULL,
    taken_by TEXT NOT NULL,
    host TEXT NOT NULL,
    boot_id TEXT NOT NULL,
    pid INTEGER NOT NULL,
    due_at TIMESTAMP WITH TIME ZONE,
    code INTEGER,
    detail TEXT,
    ended_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT slot_pkey PRIMARY KEY (id),
    CONSTRAINT slot_schedule_key UNIQUE (schedule, slot),
    CONSTRAINT slot_run_id_fkey FOREIGN KEY(run_id) REFERENCES msgrun.run (id),
    CONSTRAINT slot_state_known CHECK (state IN ('taken', 'waiting', 'started', 'ended', 'missed')),
    CONSTRAINT slot_run_id_key UNIQUE (run_id)
);
CREATE TABLE msgrun.news (
    schedule TEXT NOT NULL,
    slot TIMESTAMP WITH TIME ZONE NOT NULL,
    kind TEXT NOT NULL,
    told_at TIMESTAMP WITH TIME ZONE NOT NULL,
    problem TEXT,
    CONSTRAINT news_pkey PRIMARY KEY (schedule, slot, kind)
);
