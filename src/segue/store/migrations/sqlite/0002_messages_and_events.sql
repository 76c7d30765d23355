-- What one run has to tell another: written with the sender's commit, deleted with the receiver's.
CREATE TABLE message (
    n      INTEGER PRIMARY KEY,
    id     TEXT NOT NULL UNIQUE,
    run_id TEXT NOT NULL,
    kind   TEXT NOT NULL,
    at     INTEGER NOT NULL,
    data   BLOB NOT NULL
) STRICT;

-- Events that flows and outside programs have sent. `done`: every step that waited for it was offered it.
CREATE TABLE event (
    n         INTEGER PRIMARY KEY AUTOINCREMENT,
    id        TEXT NOT NULL UNIQUE,
    workspace TEXT NOT NULL,
    name      TEXT NOT NULL,
    at        INTEGER NOT NULL,
    source    TEXT,
    data      BLOB NOT NULL,
    done      INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX event_by_name ON event (workspace, name, at);
CREATE INDEX event_open ON event (n) WHERE done = 0;
CREATE INDEX event_by_time ON event (at) WHERE done = 1;

-- Steps that wait for an event. `since`: how old it may be; `began`: when the wait did.
CREATE TABLE event_wait (
    run_key    INTEGER NOT NULL,
    step       INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    workspace  TEXT NOT NULL,
    name       TEXT NOT NULL,
    since      INTEGER NOT NULL,
    began      INTEGER NOT NULL,
    PRIMARY KEY (run_key, step, generation)
) STRICT, WITHOUT ROWID;
CREATE INDEX event_wait_by_name ON event_wait (workspace, name);
CREATE INDEX event_wait_buffered ON event_wait (run_key) WHERE since < began;

-- What a callback's step calls it by, so that a signal can find it without its token.
ALTER TABLE callback ADD COLUMN correlation TEXT;
CREATE INDEX callback_by_correlation ON callback (correlation) WHERE correlation IS NOT NULL AND state = 'open';

CREATE INDEX flow_version_by_id ON flow_version (flow_id, key);
