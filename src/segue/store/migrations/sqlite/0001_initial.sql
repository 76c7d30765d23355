-- All times are integer milliseconds since the epoch (UTC).

-- One row a run: who it is (never changes) and its head, a projection of the journal.
CREATE TABLE run (
    key             INTEGER PRIMARY KEY,
    run_id          TEXT NOT NULL UNIQUE,
    workspace       TEXT NOT NULL,
    flow_id         TEXT NOT NULL,
    flow_version    INTEGER NOT NULL,
    "trigger"       TEXT NOT NULL,
    created_at      INTEGER NOT NULL,
    idempotency_key TEXT,
    request_digest  TEXT,
    parent_run_id   TEXT,
    status          TEXT NOT NULL,
    started_at      INTEGER,
    finished_at     INTEGER,
    wake_at         INTEGER,
    recovered       INTEGER NOT NULL DEFAULT 0,
    error           TEXT
) STRICT;

-- The key ends every index (it is the rowid), so that each of these gives its list in order, newest first.
CREATE INDEX run_by_time ON run (workspace, created_at);
CREATE INDEX run_by_flow ON run (workspace, flow_id, created_at);
CREATE INDEX run_by_status ON run (workspace, status, created_at);
CREATE INDEX run_unfinished ON run (key) WHERE status IN ('queued', 'running');
CREATE INDEX run_by_wake_at ON run (wake_at) WHERE wake_at IS NOT NULL;

-- Which run holds a key now. A key is free again after 24 hours; the run keeps it for display.
CREATE TABLE idempotency (
    workspace  TEXT NOT NULL,
    key        TEXT NOT NULL,
    run_key    INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (workspace, key)
) STRICT, WITHOUT ROWID;

-- `data` is a blob: the event itself; or a text: the hash of the payload in `blob` that is the event.
CREATE TABLE journal (
    run_key INTEGER NOT NULL,
    seq     INTEGER NOT NULL,
    kind    INTEGER NOT NULL,
    step    INTEGER NOT NULL,
    at      INTEGER NOT NULL,
    data    ANY NOT NULL CHECK (typeof(data) = 'blob' OR length(data) = 64),
    PRIMARY KEY (run_key, seq)
) STRICT, WITHOUT ROWID;

-- Payloads too large for the journal, stored once. `hash` is the SHA-256 of the plain bytes in hexadecimal, `data` those
-- bytes as a zlib stream, `size` their plain length.
CREATE TABLE blob (
    hash TEXT NOT NULL UNIQUE,
    data BLOB NOT NULL,
    size INTEGER NOT NULL
) STRICT;

CREATE TABLE log_line (
    n       INTEGER PRIMARY KEY,
    run_key INTEGER NOT NULL,
    at      INTEGER NOT NULL,
    level   TEXT NOT NULL,
    step    TEXT NOT NULL,
    message TEXT NOT NULL,
    data    BLOB NOT NULL
) STRICT;
CREATE INDEX log_line_by_run ON log_line (run_key, n);

-- `token_hash` is the SHA-256 of the token; the token itself is kept nowhere.
CREATE TABLE callback (
    token_hash BLOB PRIMARY KEY,
    run_key    INTEGER NOT NULL,
    step       INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    step_path  TEXT NOT NULL,
    expires_at INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    state      TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX callback_by_run ON callback (run_key);

CREATE TABLE flow_version (
    key        INTEGER PRIMARY KEY,
    flow_id    TEXT NOT NULL,
    digest     TEXT NOT NULL,
    version    TEXT,
    model      BLOB NOT NULL,
    source     TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    UNIQUE (flow_id, digest)
) STRICT;

CREATE TABLE setting (
    name  TEXT PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;
