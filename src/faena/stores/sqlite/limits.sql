-- The second part of version 2: a new file gets it after schema.sql, an old one after upgrade_2.sql.

CREATE UNIQUE INDEX jobs_held_key ON jobs (task, key) WHERE key_held IS NOT NULL;
CREATE INDEX jobs_pending ON jobs (queue, priority DESC, due_at, n) WHERE status = 1 AND lane IS NULL;
CREATE INDEX jobs_lane ON jobs (lane, due_at, n) WHERE status = 1 AND lane IS NOT NULL;
CREATE INDEX jobs_delivered ON jobs (queue, delivered_at, lane, priority DESC, due_at, n) WHERE status = 1;
CREATE INDEX jobs_given ON jobs (queue, delivered_at)
    WHERE status = 1 AND lane IS NOT NULL AND delivered_at IS NOT NULL;

-- The lines of pending jobs that bear gates, or whose task was paused when they were met. A lane is there while it
-- has jobs; `turn` grows with each service (least goes first); `behind` is the gate that stopped it, NULL: none.
CREATE TABLE lanes (
    n INTEGER PRIMARY KEY, queue TEXT NOT NULL, priority INTEGER NOT NULL, task TEXT NOT NULL, gates TEXT NOT NULL,
    turn INTEGER NOT NULL, paused INTEGER NOT NULL, behind TEXT, UNIQUE (queue, priority, task, gates)
);
CREATE INDEX lanes_ready ON lanes (queue, priority DESC, turn, n) WHERE behind IS NULL AND paused = 0;
CREATE INDEX lanes_behind ON lanes (behind, queue, priority, turn, n) WHERE behind IS NOT NULL;

-- The last turn taken at each queue and priority that has lanes, and whether a plain job went last.
CREATE TABLE rounds (
    queue TEXT NOT NULL, priority INTEGER NOT NULL, turn INTEGER NOT NULL, plain INTEGER NOT NULL,
    PRIMARY KEY (queue, priority)
) WITHOUT ROWID;

-- What is counted of each gate: who runs, who was given out to an engine, and all starts there ever were.
CREATE TABLE gates (
    name TEXT PRIMARY KEY, running INTEGER NOT NULL, given INTEGER NOT NULL, started INTEGER NOT NULL,
    last_at REAL NOT NULL, longest REAL NOT NULL, most INTEGER NOT NULL
) WITHOUT ROWID;

-- When they started: one row for all that one claim started, `before` it there had been so many.
CREATE TABLE starts (
    gate TEXT NOT NULL, before INTEGER NOT NULL, at REAL NOT NULL, PRIMARY KEY (gate, before)
) WITHOUT ROWID;

-- The gates (with their rules) that stopped lanes, and when each may open for claims, and for giving jobs out.
-- Infinite: when a running job gives its slot back, or one that was given out is claimed.
CREATE TABLE closed (
    gate TEXT NOT NULL, queue TEXT NOT NULL, priority INTEGER NOT NULL, name TEXT NOT NULL,
    opens_at REAL NOT NULL, gives_at REAL NOT NULL, PRIMARY KEY (gate, queue, priority)
) WITHOUT ROWID;
CREATE INDEX closed_name ON closed (name);
CREATE INDEX closed_opens ON closed (queue, opens_at);
CREATE INDEX closed_gives ON closed (queue, gives_at);

CREATE TABLE pauses (kind TEXT NOT NULL, name TEXT NOT NULL, at REAL NOT NULL, PRIMARY KEY (kind, name)) WITHOUT ROWID;

-- Which job answered a request that may be repeated.
CREATE TABLE answers (
    key TEXT PRIMARY KEY, digest TEXT NOT NULL, job TEXT NOT NULL, until REAL NOT NULL,
    duplicate INTEGER NOT NULL DEFAULT 0   -- the job was there before the request
) WITHOUT ROWID;
CREATE INDEX answers_until ON answers (until);

CREATE TABLE schedules (name TEXT PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID;
