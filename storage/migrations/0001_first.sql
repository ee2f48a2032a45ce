-- The schema of 0.1. Types: BIGINT (instants in microseconds UTC, counts, 0/1), TEXT, BYTEA (exact bytes). SQLite takes the same text
-- with its own words for the types (storage/dialect.py). Payloads are text or bytes, never a JSON type: signed bytes come back as they went in.

CREATE TABLE installation (
    id TEXT NOT NULL PRIMARY KEY, -- stays with the data through backup and restore; part of every token and event id
    created_at BIGINT NOT NULL,
    touches BIGINT NOT NULL DEFAULT 0, -- counts probes: an update to the same value is no write, SQLite sees that nothing changes
    copied_at BIGINT, -- of a backup: when it was taken. What was open then is looked for before anything is bought; then NULL again
    moved_at BIGINT -- when everything in it was moved to another database, which serves since
);

CREATE TABLE projects (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    secret TEXT NOT NULL, -- sealed
    on_ambiguous TEXT NOT NULL, -- what happens to purchases of unknown fate; copied onto each new task
    forgotten BIGINT NOT NULL DEFAULT 0, -- the highest position of its feed that retention took away: a cursor before it has missed something
    budget_amount TEXT, -- NULL: no budget
    budget_currency TEXT,
    budget_period TEXT,
    max_open_tasks BIGINT,
    booking BIGINT NOT NULL DEFAULT 0, -- 1: what its new tasks come to is booked, as budgets need it
    created_at BIGINT NOT NULL
);

CREATE TABLE api_keys (
    id TEXT NOT NULL PRIMARY KEY,
    project_id TEXT NOT NULL REFERENCES projects (id),
    name TEXT NOT NULL,
    digest BYTEA NOT NULL UNIQUE, -- SHA-256 of the key; the key itself is not kept
    prefix TEXT NOT NULL, -- its first characters, for its owner to recognise it by
    scopes TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    last_used_at BIGINT, -- to the minute
    revoked_at BIGINT
);
CREATE INDEX api_keys_by_project ON api_keys (project_id, id);

-- What signed per-task URLs before projects.secret did, and still does beside it for a while.
CREATE TABLE project_secrets (
    project_id TEXT NOT NULL REFERENCES projects (id),
    number BIGINT NOT NULL, -- the highest was replaced last
    sealed TEXT NOT NULL,
    retires_at BIGINT NOT NULL,
    PRIMARY KEY (project_id, number)
) /*sqlite:*/ WITHOUT ROWID /*postgres: */;

-- What the booked tasks of a project come to, as exact decimals. Written by who holds the project's row.
CREATE TABLE books (
    project_id TEXT NOT NULL REFERENCES projects (id),
    slot TEXT NOT NULL, -- core.budget: open, or a month, a currency and a side
    amount TEXT NOT NULL,
    PRIMARY KEY (project_id, slot)
) /*sqlite:*/ WITHOUT ROWID /*postgres: */;

-- What has changed since and is not added to the books yet: whoever records a task waits for no project's row.
CREATE TABLE bookings (
    project_id TEXT NOT NULL,
    task_id TEXT NOT NULL,
    version BIGINT NOT NULL, -- of the task, which brought it
    slot TEXT NOT NULL,
    amount TEXT NOT NULL, -- with its sign
    PRIMARY KEY (project_id, task_id, version, slot)
) /*sqlite:*/ WITHOUT ROWID /*postgres: */;

CREATE TABLE tasks (
    id TEXT NOT NULL PRIMARY KEY,
    project_id TEXT NOT NULL REFERENCES projects (id),
    account TEXT NOT NULL,
    provider TEXT NOT NULL,
    model TEXT NOT NULL,
    status TEXT NOT NULL,
    input TEXT NOT NULL,
    provider_options TEXT NOT NULL,
    fallbacks TEXT NOT NULL, -- who is asked next should this one refuse; the columns of the first take over from the list
    metadata TEXT NOT NULL,
    reference TEXT,
    webhook_endpoint_id TEXT,
    webhook_url TEXT,
    webhook_events TEXT,
    phase TEXT,
    provider_status TEXT,
    provider_task_id TEXT,
    adopted_at BIGINT,
    progress BIGINT,
    outputs TEXT NOT NULL,
    failure TEXT,
    final_at BIGINT,
    late BIGINT NOT NULL,
    charge TEXT NOT NULL,
    cost_unit TEXT,
    cost_estimated TEXT,
    cost_charged TEXT,
    unit_price TEXT,
    submissions BIGINT NOT NULL,
    submission_deadline_at BIGINT,
    resends BIGINT NOT NULL,
    on_ambiguous TEXT NOT NULL,
    permitted_at BIGINT, -- the next intent uses it up
    surplus TEXT NOT NULL, -- jobs bought beside the task's own
    erased_at BIGINT, -- when what it was about was erased at its client's wish; its ledger stays
    traceparent TEXT, -- of the trace its client made it in (W3C)
    booked TEXT, -- how it stands in its project's books (core.budget); NULL: it does not
    streak TEXT,
    streak_count BIGINT NOT NULL,
    streak_since BIGINT,
    streak_last_at BIGINT,
    sequence BIGINT NOT NULL,
    version BIGINT NOT NULL,
    due_at BIGINT, -- when the account's lane must look at it again; NULL: nothing to do
    deadline_at BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    submitted_at BIGINT,
    finished_at BIGINT,
    updated_at BIGINT NOT NULL
);
CREATE INDEX tasks_by_project ON tasks (project_id, id);
-- Two, and what is due is in one of them: purchases take turns by project, everything else goes by time alone (measured: one
-- more index beside a whole one costs a create 8 %, these two 5).
CREATE INDEX tasks_queued ON tasks (account, project_id, due_at) WHERE status = 'queued' AND due_at IS NOT NULL;
CREATE INDEX tasks_due ON tasks (account, status, due_at) WHERE due_at IS NOT NULL AND status <> 'queued';
CREATE INDEX tasks_open ON tasks (account, status) WHERE status IN ('submitting', 'unconfirmed', 'processing');
CREATE INDEX tasks_overdue ON tasks (deadline_at) WHERE finished_at IS NULL;
-- One provider job belongs to one task: a second binding is theft or a reused id.
CREATE UNIQUE INDEX tasks_by_provider_task ON tasks (account, provider_task_id) WHERE provider_task_id IS NOT NULL;
-- A client's own id is held while its task is open, succeeded or not final; other ends free it.
CREATE UNIQUE INDEX tasks_by_reference ON tasks (project_id, reference)
    WHERE reference IS NOT NULL AND (finished_at IS NULL OR status = 'succeeded' OR final_at IS NULL);

CREATE INDEX tasks_of_reference ON tasks (project_id, reference, id) WHERE reference IS NOT NULL;

CREATE TABLE submissions (
    id TEXT NOT NULL PRIMARY KEY,
    task_id TEXT NOT NULL REFERENCES tasks (id),
    number BIGINT NOT NULL,
    account TEXT NOT NULL,
    status TEXT NOT NULL,
    deadline_at BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    settled_at BIGINT,
    provider_task_id TEXT,
    detail TEXT
) /*sqlite:*/ WITHOUT ROWID /*postgres: */;
CREATE UNIQUE INDEX submissions_by_task ON submissions (task_id, number);

CREATE TABLE observations (
    id TEXT NOT NULL,
    task_id TEXT NOT NULL,
    submission_id TEXT,
    account TEXT NOT NULL,
    source TEXT NOT NULL,
    claim TEXT NOT NULL,
    content TEXT NOT NULL,
    raw BYTEA,
    digest BYTEA, -- of a push's bytes: the same push twice is one observation
    seen_at BIGINT NOT NULL,
    verified_at BIGINT,
    version BIGINT, -- of the task after it, of those that changed it: the order of its history
    context TEXT, -- with a version: what decided beside the content, so that the history can be replayed
    PRIMARY KEY (task_id, id)
);
CREATE UNIQUE INDEX observations_once ON observations (submission_id, digest) WHERE digest IS NOT NULL;
-- The doorbell: a push that still asks for an authenticated query.
CREATE INDEX observations_unverified ON observations (account, seen_at) WHERE verified_at IS NULL;

CREATE TABLE callbacks (
    id TEXT NOT NULL PRIMARY KEY, -- of a push whose submission this database does not know
    provider TEXT NOT NULL,
    submission_id TEXT NOT NULL,
    digest BYTEA NOT NULL,
    raw BYTEA NOT NULL,
    received_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX callbacks_once ON callbacks (submission_id, digest);

CREATE TABLE timeline (
    task_id TEXT NOT NULL,
    version BIGINT NOT NULL,
    ordinal BIGINT NOT NULL,
    at BIGINT NOT NULL,
    kind TEXT NOT NULL,
    source TEXT NOT NULL,
    detail TEXT NOT NULL,
    PRIMARY KEY (task_id, version, ordinal)
) /*sqlite:*/ WITHOUT ROWID /*postgres: */;

-- What creating requests were answered, for those who ask again (storage/answers.py).
CREATE TABLE answers (
    id TEXT NOT NULL PRIMARY KEY,
    project_id TEXT NOT NULL REFERENCES projects (id),
    route TEXT NOT NULL,
    asked_as TEXT NOT NULL, -- what a repeat states again: its Idempotency-Key; of an SDK that sends none, its API key and its request
    number BIGINT NOT NULL, -- tells equal requests of an SDK apart; 0 with an Idempotency-Key
    fingerprint TEXT NOT NULL, -- of what was asked, under a secret key: it may hold credentials
    asked_at BIGINT NOT NULL,
    least BIGINT NOT NULL, -- the first and …
    most BIGINT NOT NULL, -- … the last try of an SDK that it answered
    until BIGINT, -- it is still worked on, at most until then
    status BIGINT, -- with everything below: NULL until there is an answer
    headers TEXT,
    body BYTEA, -- exact bytes; NULL where sealed, and once its task was erased
    sealed TEXT, -- the same where it holds a secret
    task_id TEXT,
    keep_until BIGINT NOT NULL
);
CREATE UNIQUE INDEX answers_once ON answers (project_id, route, asked_as, number);
CREATE INDEX answers_of_task ON answers (task_id) WHERE task_id IS NOT NULL;

-- Append-only: who ordered what.
CREATE TABLE audit (
    id TEXT NOT NULL PRIMARY KEY,
    project_id TEXT NOT NULL,
    task_id TEXT,
    endpoint_id TEXT,
    key_id TEXT, -- NULL: a policy that the project had set
    action TEXT NOT NULL,
    detail TEXT NOT NULL,
    at BIGINT NOT NULL
) /*sqlite:*/ WITHOUT ROWID /*postgres: */;
CREATE INDEX audit_by_project ON audit (project_id, id);
CREATE INDEX audit_by_task ON audit (task_id, id) WHERE task_id IS NOT NULL;
CREATE INDEX audit_by_endpoint ON audit (endpoint_id, id) WHERE endpoint_id IS NOT NULL;

CREATE TABLE events (
    position /*sqlite:*/ INTEGER PRIMARY KEY AUTOINCREMENT /*postgres: BIGINT PRIMARY KEY DEFAULT feed_next() */, -- storage/positions.py
    id TEXT NOT NULL UNIQUE,
    project_id TEXT NOT NULL,
    task_id TEXT,
    provider TEXT,
    model TEXT,
    type TEXT NOT NULL,
    sequence BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    traceparent TEXT, -- its task's, beside the body: a delivery is sent with both
    body BYTEA NOT NULL, -- the exact bytes that are signed and sent
    hard BIGINT NOT NULL,
    test BIGINT NOT NULL -- 1: tells nothing that happened; not in the feed
);
CREATE INDEX events_by_project ON events (project_id, position);
CREATE UNIQUE INDEX events_by_task ON events (task_id, sequence) WHERE task_id IS NOT NULL;
-- At most one hard end per task, held by the database and not only by code.
CREATE UNIQUE INDEX events_one_end ON events (task_id) WHERE hard = 1;

CREATE TABLE endpoints (
    id TEXT NOT NULL PRIMARY KEY,
    project_id TEXT NOT NULL REFERENCES projects (id),
    url TEXT NOT NULL,
    status TEXT NOT NULL,
    hidden BIGINT NOT NULL,
    description TEXT,
    events TEXT,
    filter TEXT,
    format TEXT NOT NULL,
    headers TEXT, -- sealed: they may hold credentials
    signatures TEXT NOT NULL,
    max_in_flight BIGINT NOT NULL,
    rate_limit BIGINT,
    retry_schedule TEXT,
    expires_at BIGINT,
    disabled_reason TEXT,
    inactive_since BIGINT,
    health TEXT, -- NULL: nothing has failed since the last success
    tested_at BIGINT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    deleted_at BIGINT
);
CREATE INDEX endpoints_by_project ON endpoints (project_id, id) WHERE deleted_at IS NULL;
-- One hidden endpoint per (project, origin) carries the per-task URLs of that origin.
CREATE UNIQUE INDEX endpoints_hidden ON endpoints (project_id, url) WHERE hidden = 1;
CREATE INDEX endpoints_expiring ON endpoints (expires_at) WHERE expires_at IS NOT NULL AND status <> 'disabled';

CREATE TABLE endpoint_secrets (
    endpoint_id TEXT NOT NULL REFERENCES endpoints (id),
    number BIGINT NOT NULL, -- the highest is the newest
    sealed TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    retires_at BIGINT, -- NULL: the one in force; until then an older one signs too
    PRIMARY KEY (endpoint_id, number)
) /*sqlite:*/ WITHOUT ROWID /*postgres: */;

CREATE TABLE signing_keys (
    id TEXT NOT NULL PRIMARY KEY,
    project_id TEXT NOT NULL REFERENCES projects (id),
    public_key TEXT NOT NULL,
    sealed TEXT NOT NULL, -- the private half
    created_at BIGINT NOT NULL,
    expires_at BIGINT -- NULL: the one in force; until then an older one signs too
) /*sqlite:*/ WITHOUT ROWID /*postgres: */;
CREATE INDEX signing_keys_by_project ON signing_keys (project_id, id);
CREATE UNIQUE INDEX signing_keys_in_force ON signing_keys (project_id) WHERE expires_at IS NULL;

-- What each endpoint was owed, and between which places of its project's feed: what deliveries are held against.
CREATE TABLE subscriptions (
    endpoint_id TEXT NOT NULL REFERENCES endpoints (id),
    since_position BIGINT NOT NULL, -- events behind this one …
    since_open TEXT NOT NULL, -- … and those of transactions that were under way then (storage/subscriptions.py) …
    until_position BIGINT NOT NULL, -- … up to this one; far beyond any while it is in force …
    until_open TEXT NOT NULL, -- … but those that were under way
    project_id TEXT NOT NULL,
    events TEXT,
    filter TEXT,
    expires_at BIGINT,
    PRIMARY KEY (endpoint_id, since_position, since_open)
) /*sqlite:*/ WITHOUT ROWID /*postgres: */;
CREATE INDEX subscriptions_by_project ON subscriptions (project_id, until_position);

CREATE TABLE deliveries (
    id TEXT NOT NULL PRIMARY KEY,
    event_id TEXT NOT NULL,
    endpoint_id TEXT NOT NULL,
    project_id TEXT NOT NULL,
    task_id TEXT,
    event_type TEXT NOT NULL,
    status TEXT NOT NULL,
    attempts BIGINT NOT NULL,
    url TEXT,
    due_at BIGINT,
    spent BIGINT NOT NULL DEFAULT 0, -- attempts made before it was last restarted: the schedule counts from there
    restarted_at BIGINT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
) /*sqlite:*/ WITHOUT ROWID /*postgres: */;
CREATE UNIQUE INDEX deliveries_once ON deliveries (event_id, endpoint_id);
-- Two, and a pending row is in one of them: first attempts are found however many retries are due before them.
CREATE INDEX deliveries_first ON deliveries (endpoint_id, due_at) WHERE status = 'pending' AND attempts = 0;
CREATE INDEX deliveries_again ON deliveries (endpoint_id, due_at) WHERE status = 'pending' AND attempts > 0;
-- Not by a list of words: SQLite would build one for every row that is written (measured: a tenth of publishing).
CREATE INDEX deliveries_failed ON deliveries (project_id, status, endpoint_id, id) WHERE due_at IS NULL AND status <> 'delivered';
-- With the endpoint, so that those of one are walked to without reading the rows of the others.
CREATE INDEX deliveries_by_project ON deliveries (project_id, id, endpoint_id);

CREATE TABLE attempts (
    delivery_id TEXT NOT NULL,
    number BIGINT NOT NULL,
    at BIGINT NOT NULL,
    duration_ms BIGINT,
    status_code BIGINT,
    error_class TEXT,
    response_head TEXT,
    PRIMARY KEY (delivery_id, number)
) /*sqlite:*/ WITHOUT ROWID /*postgres: */;

CREATE TABLE lanes (
    kind TEXT NOT NULL,
    key TEXT NOT NULL,
    epoch BIGINT NOT NULL, -- fences the writes of an owner whose lease lapsed
    owner TEXT,
    until BIGINT NOT NULL,
    next_due_at BIGINT,
    breaker TEXT,
    held_until BIGINT,
    holds TEXT, -- of an account: what its provider asked us to wait with; JSON of service.core.holding
    care TEXT, -- of an account: what a person ordered, and what people were told of it; JSON of service.core.care
    PRIMARY KEY (kind, key)
);
CREATE INDEX lanes_due ON lanes (next_due_at) WHERE next_due_at IS NOT NULL;
-- Heartbeats: a hundred thousand idle lanes cost nothing.
CREATE INDEX lanes_owned ON lanes (owner) WHERE owner IS NOT NULL;

-- Whose turn it is with what one replica does for all.
CREATE TABLE duties (
    name TEXT NOT NULL,
    owner TEXT NOT NULL,
    until BIGINT NOT NULL,
    PRIMARY KEY (name)
);

CREATE TABLE durations (
    account TEXT NOT NULL,
    model TEXT NOT NULL,
    seconds BIGINT NOT NULL, -- of video; 0: of any length
    level TEXT NOT NULL, -- of quality, in the contract's word; empty: any
    spans TEXT NOT NULL, -- core.durations.Window: how long the last jobs took
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (account, model, seconds, level)
) /*sqlite:*/ WITHOUT ROWID /*postgres: */;
