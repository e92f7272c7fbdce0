CREATE TABLE msgrun.addresses (
    customer TEXT NOT NULL,
    key TEXT NOT NULL,
    address TEXT NOT NULL,
    display_name TEXT,
    CONSTRAINT addresses_pkey PRIMARY KEY (customer, key, address)
);

CREATE TABLE msgrun.clusters (
    name TEXT NOT NULL,
    parent TEXT,
    CONSTRAINT clusters_pkey PRIMARY KEY (name)
);

CREATE TABLE msgrun.customers (
    code TEXT NOT NULL,
    name TEXT NOT NULL,
    cluster TEXT,
    suspended BOOLEAN DEFAULT false NOT NULL,
    language TEXT,
    timezone TEXT,
    meta TEXT,
    CONSTRAINT customers_pkey PRIMARY KEY (code)
);

CREATE TABLE msgrun.documents (
    invoice TEXT NOT NULL,
    transformation TEXT NOT NULL,
    filename TEXT NOT NULL,
    media_type TEXT,
    path TEXT,
    content BYTEA,
    CONSTRAINT documents_pkey PRIMARY KEY (invoice, transformation, filename)
);

CREATE TABLE msgrun.invoices (
    id TEXT NOT NULL,
    customer TEXT NOT NULL,
    number TEXT,
    status TEXT NOT NULL,
    type TEXT,
    date TEXT,
    period_start TEXT,
    period_end TEXT,
    currency TEXT,
    total TEXT,
    meta TEXT,
    CONSTRAINT invoices_pkey PRIMARY KEY (id)
);

CREATE INDEX invoices_customer ON msgrun.invoices (customer);

CREATE TABLE msgrun.run (
    id BIGSERIAL NOT NULL,
    uid TEXT NOT NULL,
    definition TEXT NOT NULL,
    status TEXT NOT NULL,
    reason TEXT,
    detail TEXT,
    cluster TEXT,
    children BOOLEAN NOT NULL,
    period TEXT,
    period_start DATE,
    period_end DATE,
    customers TEXT NOT NULL,
    message_limit INTEGER,
    redirect_to TEXT,
    bcc TEXT NOT NULL,
    resend BOOLEAN NOT NULL,
    schedule TEXT,
    slot TEXT,
    created_by TEXT NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    started_at TIMESTAMP WITH TIME ZONE,
    finished_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT run_pkey PRIMARY KEY (id),
    CONSTRAINT run_status_known CHECK (status IN ('planned', 'running', 'stopping', 'stopped', 'paused', 'waiting', 'finished', 'cancelled')),
    CONSTRAINT run_uid_key UNIQUE (uid)
);

CREATE UNIQUE INDEX run_one_live ON msgrun.run (definition) WHERE status IN ('planned', 'running', 'stopping');

CREATE TABLE msgrun.server (
    name TEXT NOT NULL,
    next_free_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT server_pkey PRIMARY KEY (name)
);

CREATE TABLE msgrun.event (
    id BIGSERIAL NOT NULL,
    run_id BIGINT NOT NULL,
    at TIMESTAMP WITH TIME ZONE NOT NULL,
    actor TEXT NOT NULL,
    kind TEXT NOT NULL,
    detail TEXT,
    CONSTRAINT event_pkey PRIMARY KEY (id),
    CONSTRAINT event_run_id_fkey FOREIGN KEY(run_id) REFERENCES msgrun.run (id)
);

CREATE INDEX event_run_id ON msgrun.event (run_id);

CREATE TABLE msgrun.message (
    id BIGSERIAL NOT NULL,
    run_id BIGINT NOT NULL,
    number INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    customer TEXT NOT NULL,
    recipients TEXT NOT NULL,
    state TEXT NOT NULL,
    reason TEXT,
    detail TEXT,
    message_id TEXT,
    date TIMESTAMP WITH TIME ZONE,
    sha256 TEXT,
    size INTEGER,
    attempts INTEGER NOT NULL,
    due_at TIMESTAMP WITH TIME ZONE,
    deadline_at TIMESTAMP WITH TIME ZONE,
    token BIGINT,
    lease_until TIMESTAMP WITH TIME ZONE,
    stage TEXT,
    code INTEGER,
    enhanced TEXT,
    reply TEXT,
    queue_id TEXT,
    refused TEXT,
    sent_at TIMESTAMP WITH TIME ZONE,
    updated_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT message_pkey PRIMARY KEY (id),
    CONSTRAINT message_run_id_fkey FOREIGN KEY(run_id) REFERENCES msgrun.run (id),
    CONSTRAINT message_state_known CHECK (state IN ('pending', 'claimed', 'sending', 'sent', 'deferred', 'rejected', 'in_doubt', 'failed', 'skipped', 'bounced')),
    CONSTRAINT message_message_id_key UNIQUE (message_id)
);

CREATE INDEX message_by_state ON msgrun.message (run_id, state, number);

CREATE INDEX message_customer ON msgrun.message (customer);

CREATE UNIQUE INDEX message_of_run ON msgrun.message (run_id, number);

CREATE TABLE msgrun.run_revision (
    run_id BIGINT NOT NULL,
    number INTEGER NOT NULL,
    frozen TEXT NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT run_revision_pkey PRIMARY KEY (run_id, number),
    CONSTRAINT run_revision_run_id_fkey FOREIGN KEY(run_id) REFERENCES msgrun.run (id)
);

CREATE TABLE msgrun.worker (
    id BIGSERIAL NOT NULL,
    run_id BIGINT NOT NULL,
    host TEXT NOT NULL,
    boot_id TEXT NOT NULL,
    pid INTEGER NOT NULL,
    started_at TIMESTAMP WITH TIME ZONE NOT NULL,
    seen_at TIMESTAMP WITH TIME ZONE NOT NULL,
    lease_until TIMESTAMP WITH TIME ZONE NOT NULL,
    drained BOOLEAN NOT NULL,
    ended_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT worker_pkey PRIMARY KEY (id),
    CONSTRAINT worker_run_id_fkey FOREIGN KEY(run_id) REFERENCES msgrun.run (id)
);

CREATE INDEX worker_run_id ON msgrun.worker (run_id);

CREATE TABLE msgrun.attempt (
    id BIGSERIAL NOT NULL,
    message_id BIGINT NOT NULL,
    at TIMESTAMP WITH TIME ZONE NOT NULL,
    verdict TEXT NOT NULL,
    stage TEXT NOT NULL,
    code INTEGER,
    enhanced TEXT,
    reply TEXT,
    CONSTRAINT attempt_pkey PRIMARY KEY (id),
    CONSTRAINT attempt_message_id_fkey FOREIGN KEY(message_id) REFERENCES msgrun.message (id)
);

CREATE INDEX attempt_message_id ON msgrun.attempt (message_id);

CREATE TABLE msgrun.message_invoice (
    message_id BIGINT NOT NULL,
    invoice TEXT NOT NULL,
    definition TEXT NOT NULL,
    generation INTEGER NOT NULL,
    holds BOOLEAN DEFAULT true NOT NULL,
    CONSTRAINT message_invoice_pkey PRIMARY KEY (message_id, invoice),
    CONSTRAINT message_invoice_message_id_fkey FOREIGN KEY(message_id) REFERENCES msgrun.message (id)
);

CREATE UNIQUE INDEX message_invoice_guard ON msgrun.message_invoice (definition, invoice, generation) WHERE holds;

CREATE INDEX message_invoice_invoice ON msgrun.message_invoice (invoice);
