-- Faena's embedded store, version 2, with what limits.sql adds. Statuses are numbered as in rows.py:
-- 0 scheduled, 1 pending, 2 processing, 3 completed, 4 failed, 5 cancelled.

CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

CREATE TABLE jobs (
    n INTEGER PRIMARY KEY,            -- the order of arrival; cursors and payloads refer to it
    id TEXT NOT NULL,
    task TEXT NOT NULL,
    queue TEXT NOT NULL,
    topic TEXT,
    user TEXT,
    status INTEGER NOT NULL,
    attempt INTEGER NOT NULL DEFAULT 0,
    max_attempts INTEGER NOT NULL,
    crashes INTEGER NOT NULL DEFAULT 0,
    token INTEGER NOT NULL DEFAULT 0,
    seq INTEGER NOT NULL,
    progress REAL NOT NULL DEFAULT 0,
    cancel_requested INTEGER NOT NULL DEFAULT 0,
    reported INTEGER NOT NULL DEFAULT 0,   -- the number of the attempt's last report
    last_step TEXT,                        -- the outcome that ended the last attempt, to recognise a repeated one
    kept_from INTEGER NOT NULL DEFAULT 1,  -- the seq of the first event in `events`; older ones lie in `history`
    priority INTEGER NOT NULL,
    due_at REAL NOT NULL,
    lease_until REAL,
    started_at REAL,
    finished_at REAL,
    expires_at REAL,
    delivered_at REAL,
    worker TEXT,
    message TEXT,
    error BLOB,
    checkpoint BLOB,
    result BLOB,
    created_at REAL NOT NULL,
    timeout REAL,
    origin TEXT,
    key TEXT,
    key_held REAL,                         -- NULL: it does not hold its key; else until when it does after its end
    key_bound REAL,                        -- when the key is free even if the job still lives
    kept_until REAL,                       -- it is not pruned before that: its key is kept, or it answers a request
    gates TEXT,                            -- NULL: none; else as gates.py writes them
    lane INTEGER,                          -- the lane in which it is pending; NULL: the plain line, or not pending
    args BLOB,                             -- NULL: too large to be rewritten with the row, see `bodies`
    events TEXT NOT NULL                   -- the latest events, JSON objects joined by commas
);

CREATE UNIQUE INDEX jobs_id ON jobs (id);
CREATE INDEX jobs_scheduled ON jobs (due_at) WHERE status = 0;
CREATE INDEX jobs_processing ON jobs (lease_until) WHERE status = 2;
CREATE INDEX jobs_expiring ON jobs (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX jobs_of_status ON jobs (status, n);
CREATE INDEX jobs_of_task ON jobs (task, n);
CREATE INDEX jobs_of_queue ON jobs (queue, n);
CREATE INDEX jobs_of_user ON jobs (user, n) WHERE user IS NOT NULL;
CREATE INDEX jobs_of_origin ON jobs (origin, n) WHERE origin IS NOT NULL;

CREATE TABLE bodies (job INTEGER PRIMARY KEY, args BLOB NOT NULL);

-- Older events of jobs that tell much, in runs: `events` holds those up to `last`.
CREATE TABLE history (
    job INTEGER NOT NULL, last INTEGER NOT NULL, events TEXT NOT NULL, PRIMARY KEY (job, last)
) WITHOUT ROWID;

-- The event log of all jobs: one row a transaction, JSON objects joined by commas.
CREATE TABLE feed (position INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, told BLOB NOT NULL);

CREATE TABLE counts (
    queue TEXT NOT NULL, task TEXT NOT NULL, status INTEGER NOT NULL, count INTEGER NOT NULL,
    PRIMARY KEY (queue, task, status)
) WITHOUT ROWID;

-- Which ids a claim took, so that a repeated call is given the same (rule 9).
CREATE TABLE requests (id TEXT PRIMARY KEY, at REAL NOT NULL, jobs TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX requests_at ON requests (at);

-- How far each queue's claims had come in each second: who is behind was overtaken.
CREATE TABLE turns (
    queue TEXT NOT NULL, priority INTEGER NOT NULL, second INTEGER NOT NULL, due_at REAL NOT NULL,
    PRIMARY KEY (queue, priority, second)
) WITHOUT ROWID;

CREATE TABLE workers (id TEXT PRIMARY KEY, expires_at REAL NOT NULL, info BLOB NOT NULL) WITHOUT ROWID;
