-- Secrets and connections of a workspace, encrypted. `sealed` is what `segue.access.vault` gives: bytes 2 to 9 name the
-- key of the key ring that they need.

-- Keys that values in journals, events and stored results are sealed with; so that changing the key ring's key changes
-- these few rows, and no journal. The workspace '' has the server's own: what callback tokens are made with.
CREATE TABLE data_key (
    id         TEXT PRIMARY KEY,
    workspace  TEXT NOT NULL,
    sealed     BLOB NOT NULL,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX data_key_by_workspace ON data_key (workspace, created_at);

-- `version` counts the values that it had; only the last one is kept.
CREATE TABLE secret (
    id         TEXT PRIMARY KEY,
    workspace  TEXT NOT NULL,
    name       TEXT NOT NULL,
    note       TEXT NOT NULL DEFAULT '',
    version    INTEGER NOT NULL,
    sealed     BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    updated_by TEXT NOT NULL,
    used_at    INTEGER,
    UNIQUE (workspace, name)
) STRICT, WITHOUT ROWID;

-- `fields` is a JSON object of what may be seen, `sealed` one of what may not; `secret_fields` is a JSON list of the
-- names in it. `origin` is where its secret fields may be sent (scheme, host and port), '' for anywhere.
CREATE TABLE connection (
    id            TEXT PRIMARY KEY,
    workspace     TEXT NOT NULL,
    name          TEXT NOT NULL,
    adapter       TEXT NOT NULL,
    version       INTEGER NOT NULL,
    fields        TEXT NOT NULL,
    secret_fields TEXT NOT NULL,
    sealed        BLOB NOT NULL,
    origin        TEXT NOT NULL,
    status        TEXT NOT NULL CHECK (status IN ('unchecked', 'ok', 'failing')),
    checked_at    INTEGER,
    check_message TEXT,
    created_at    INTEGER NOT NULL,
    updated_at    INTEGER NOT NULL,
    updated_by    TEXT NOT NULL,
    used_at       INTEGER,
    UNIQUE (workspace, name)
) STRICT, WITHOUT ROWID;
