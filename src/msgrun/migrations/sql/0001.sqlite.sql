CREATE TABLE msgrun_addresses (
    customer TEXT NOT NULL,
    "key" TEXT NOT NULL,
    address TEXT NOT NULL,
    display_name TEXT,
    CONSTRAINT msgrun_addresses_pkey PRIMARY KEY (customer, "key", address)
);

CREATE TABLE msgrun_clusters (
    name TEXT NOT NULL,
    parent TEXT,
    CONSTRAINT msgrun_clusters_pkey PRIMARY KEY (name)
);

CREATE TABLE msgrun_customers (
    code TEXT NOT NULL,
    name TEXT NOT NULL,
    cluster TEXT,
    suspended BOOLEAN DEFAULT 0 NOT NULL,
    language TEXT,
    timezone TEXT,
    meta TEXT,
    CONSTRAINT msgrun_customers_pkey PRIMARY KEY (code)
);

CREATE TABLE msgrun_documents (
    invoice TEXT NOT NULL,
    transformation TEXT NOT NULL,
    filename TEXT NOT NULL,
    media_type TEXT,
    path TEXT,
    content BLOB,
    CONSTRAINT msgrun_documents_pkey PRIMARY KEY (invoice, transformation, filename)
);

CREATE TABLE msgrun_invoices (
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
    CONSTRAINT msgrun_invoices_pkey PRIMARY KEY (id)
);

CREATE INDEX msgrun_invoices_customer ON msgrun_invoices (customer);

CREATE TABLE msgrun_run (
    id INTEGER NOT NULL,
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
    created_at VARCHAR(27) NOT NULL,
    started_at VARCHAR(27),
    finished_at VARCHAR(27),
    CONSTRAINT msgrun_run_pkey PRIMARY KEY (id),
    CONSTRAINT msgrun_run_status_known CHECK (status IN ('planned', 'running', 'stopping', 'stopped', 'paused', 'waiting', 'finished', 'cancelled')),
    CONSTRAINT msgrun_run_uid_key UNIQUE (uid)
);

CREATE UNIQUE INDEX msgrun_run_one_live ON msgrun_run (definition) WHERE status IN ('planned', 'running', 'stopping');

CREATE TABLE msgrun_server (
    name TEXT NOT NULL,
    next_free_at VARCHAR(27),
    CONSTRAINT msgrun_server_pkey PRIMARY KEY (name)
);

CREATE TABLE msgrun_event (
    id INTEGER NOT NULL,
    run_id INTEGER NOT NULL,
    at VARCHAR(27) NOT NULL,
    actor TEXT NOT NULL,
    kind TEXT NOT NULL,
    detail TEXT,
    CONSTRAINT msgrun_event_pkey PRIMARY KEY (id),
    CONSTRAINT msgrun_event_run_id_fkey FOREIGN KEY(run_id) REFERENCES msgrun_run (id)
);

CREATE INDEX msgrun_event_run_id ON msgrun_event (run_id);

CREATE TABLE msgrun_message (
    id INTEGER NOT NULL,
    run_id INTEGER NOT NULL,
    number INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    customer TEXT NOT NULL,
    recipients TEXT NOT NULL,
    state TEXT NOT NULL,
    reason TEXT,
    detail TEXT,
    message_id TEXT,
    date VARCHAR(27),
    sha256 TEXT,
    size INTEGER,
    attempts INTEGER NOT NULL,
    due_at VARCHAR(27),
    deadline_at VARCHAR(27),
    token INTEGER,
    lease_until VARCHAR(27),
    stage TEXT,
    code INTEGER,
    enhanced TEXT,
    reply TEXT,
    queue_id TEXT,
    refused TEXT,
    sent_at VARCHAR(27),
    updated_at VARCHAR(27) NOT NULL,
    CONSTRAINT msgrun_message_pkey PRIMARY KEY (id),
    CONSTRAINT msgrun_message_run_id_fkey FOREIGN KEY(run_id) REFERENCES msgrun_run (id),
    CONSTRAINT msgrun_message_state_known CHECK (state IN ('pending', 'claimed', 'sending', 'sent', 'deferred', 'rejected', 'in_doubt', 'failed', 'skipped', 'bounced')),
    CONSTRAINT msgrun_message_message_id_key UNIQUE (message_id)
);

CREATE INDEX msgrun_message_by_state ON msgrun_message (run_id, state, number);

CREATE INDEX msgrun_message_customer ON msgrun_message (customer);

CREATE UNIQUE INDEX msgrun_message_of_run ON msgrun_message (run_id, number);

CREATE TABLE msgrun_run_revision (
    run_id INTEGER NOT NULL,
    number INTEGER NOT NULL,
    frozen TEXT NOT NULL,
    created_at VARCHAR(27) NOT NULL,
    CONSTRAINT msgrun_run_revision_pkey PRIMARY KEY (run_id, number),
    CONSTRAINT msgrun_run_revision_run_id_fkey FOREIGN KEY(run_id) REFERENCES msgrun_run (id)
);

CREATE TABLE msgrun_worker (
    id INTEGER NOT NULL,
    run_id INTEGER NOT NULL,
    host TEXT NOT NULL,
    boot_id TEXT NOT NULL,
    pid INTEGER NOT NULL,
    started_at VARCHAR(27) NOT NULL,
    seen_at VARCHAR(27) NOT NULL,
    lease_until VARCHAR(27) NOT NULL,
    drained BOOLEAN NOT NULL,
    ended_at VARCHAR(27),
    CONSTRAINT msgrun_worker_pkey PRIMARY KEY (id),
    CONSTRAINT msgrun_worker_run_id_fkey FOREIGN KEY(run_id) REFERENCES msgrun_run (id)
);

CREATE INDEX msgrun_worker_run_id ON msgrun_worker (run_id);

CREATE TABLE msgrun_attempt (
    id INTEGER NOT NULL,
    message_id INTEGER NOT NULL,
    at VARCHAR(27) NOT NULL,
    verdict TEXT NOT NULL,
    stage TEXT NOT NULL,
    code INTEGER,
    enhanced TEXT,
    reply TEXT,
    CONSTRAINT msgrun_attempt_pkey PRIMARY KEY (id),
    CONSTRAINT msgrun_attempt_message_id_fkey FOREIGN KEY(message_id) REFERENCES msgrun_message (id)
);

CREATE INDEX msgrun_attempt_message_id ON msgrun_attempt (message_id);

CREATE TABLE msgrun_message_invoice (
    message_id INTEGER NOT NULL,
    invoice TEXT NOT NULL,
    definition TEXT NOT NULL,
    generation INTEGER NOT NULL,
    holds BOOLEAN DEFAULT 1 NOT NULL,
    CONSTRAINT msgrun_message_invoice_pkey PRIMARY KEY (message_id, invoice),
    CONSTRAINT msgrun_message_invoice_message_id_fkey FOREIGN KEY(message_id) REFERENCES msgrun_message (id)
);

CREATE UNIQUE INDEX msgrun_message_invoice_guard ON msgrun_message_invoice (definition, invoice, generation) WHERE holds;

CREATE INDEX msgrun_message_invoice_invoice ON msgrun_message_invoice (invoice);
